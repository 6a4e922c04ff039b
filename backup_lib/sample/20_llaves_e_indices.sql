-- Llaves e índices de las tablas grandes: se crean con los datos ya puestos, que es lo rápido.

SET LOCAL ROLE pos_dueno;

-- Llaves ------------------------------------------------------------------------------------------------

ALTER TABLE ventas.ventas
    ADD CONSTRAINT ventas_tienda_fk FOREIGN KEY (tienda_id) REFERENCES catalogo.tiendas,
    ADD CONSTRAINT ventas_cajero_fk FOREIGN KEY (cajero_id) REFERENCES catalogo.empleados,
    ADD CONSTRAINT ventas_cliente_fk FOREIGN KEY (cliente_id) REFERENCES catalogo.clientes ON DELETE SET NULL;
ALTER TABLE ventas.partidas
    ADD PRIMARY KEY (fecha, venta_id, renglon),
    ADD CONSTRAINT partidas_venta_fk FOREIGN KEY (fecha, venta_id) REFERENCES ventas.ventas ON DELETE CASCADE,
    ADD CONSTRAINT partidas_producto_fk FOREIGN KEY (producto_id) REFERENCES catalogo.productos;
ALTER TABLE ventas.pagos
    ADD CONSTRAINT pagos_venta_fk FOREIGN KEY (fecha, venta_id) REFERENCES ventas.ventas
    DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ventas.devoluciones
    ADD FOREIGN KEY (fecha, venta_id) REFERENCES ventas.ventas MATCH FULL ON UPDATE CASCADE ON DELETE RESTRICT;

-- Se exigen a lo nuevo; lo viejo aún no cumple, y así tiene que volver del respaldo.
ALTER TABLE catalogo.productos
    ADD CONSTRAINT productos_proveedor_fk FOREIGN KEY (proveedor_id) REFERENCES catalogo.proveedores NOT VALID;
ALTER TABLE catalogo.clientes
    ADD CONSTRAINT clientes_rfc_valido CHECK (rfc ~ '^[A-ZÑ&]{3,4}[0-9]{6}[A-Z0-9]{3}$') NOT VALID;

-- Índices -----------------------------------------------------------------------------------------------

CREATE INDEX ventas_por_tienda ON ventas.ventas (tienda_id, vendida_en DESC NULLS LAST) INCLUDE (total);
CREATE INDEX ventas_por_cliente ON ventas.ventas (cliente_id) WHERE cliente_id IS NOT NULL;
CREATE INDEX ventas_remotas ON ventas.ventas (vendida_en) WHERE canal IN ('teléfono', 'en línea');
CREATE INDEX ventas_recorrido ON ventas.ventas USING brin (vendida_en) WITH (pages_per_range = 32);
CREATE INDEX partidas_por_producto ON ventas.partidas (producto_id);
CREATE INDEX pagos_por_venta ON ventas.pagos (venta_id, fecha);
CREATE INDEX pagos_por_autorizacion ON ventas.pagos USING hash (autorizacion);

CREATE INDEX productos_por_nombre ON catalogo.productos (catalogo.sin_acentos(nombre) text_pattern_ops);
CREATE INDEX productos_parecidos ON catalogo.productos USING gin (nombre extensiones.gin_trgm_ops);
CREATE INDEX productos_busqueda ON catalogo.productos USING gin (busqueda) WITH (fastupdate = off);
CREATE INDEX productos_atributos ON catalogo.productos USING gin (atributos jsonb_path_ops);
CREATE INDEX productos_etiquetas ON catalogo.productos USING gin (etiquetas);
CREATE INDEX productos_color ON catalogo.productos ((atributos ->> 'color'), (atributos -> 'caducidad_dias') DESC);
CREATE INDEX categorias_ruta ON catalogo.categorias USING gist (ruta);
CREATE INDEX tiendas_ubicacion ON catalogo.tiendas USING gist (ubicacion);
CREATE UNIQUE INDEX clientes_correo_unico ON catalogo.clientes (correo) WHERE correo IS NOT NULL;
CREATE INDEX clientes_apellidos ON catalogo.clientes (apellidos COLLATE catalogo.por_bytes, nombre);
CREATE UNIQUE INDEX equipos_serie ON soporte.equipos (upper(serie));
CREATE INDEX equipos_red ON soporte.equipos USING spgist (ip);
CREATE INDEX recados_busqueda ON soporte.recados USING gin (busqueda);

COMMENT ON INDEX catalogo.productos_parecidos IS 'Para corregir lo que se teclea con prisa en la caja';
COMMENT ON CONSTRAINT clientes_rfc_valido ON catalogo.clientes IS 'NOT VALID: hay clientes del sistema viejo sin RFC';

ALTER TABLE ventas.partidas CLUSTER ON partidas_pkey;
ALTER TABLE catalogo.productos REPLICA IDENTITY USING INDEX productos_codigo_key;
ALTER TABLE catalogo.categorias REPLICA IDENTITY FULL;
ALTER INDEX catalogo.productos_color ALTER COLUMN 1 SET STATISTICS 400;

CREATE STATISTICS ventas.partidas_correlacion (ndistinct, dependencies) ON fecha, venta_id FROM ventas.partidas;
CREATE STATISTICS catalogo.productos_tipo (mcv) ON (unidad IN ('kg', 'l')), categoria_id FROM catalogo.productos;
ALTER STATISTICS catalogo.productos_tipo SET STATISTICS 200;
COMMENT ON STATISTICS ventas.partidas_correlacion IS 'El ticket determina la fecha';

RESET ROLE;
