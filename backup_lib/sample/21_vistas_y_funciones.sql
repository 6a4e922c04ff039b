-- Vistas, vistas materializadas, reglas y las funciones que leen tablas.

SET LOCAL ROLE pos_dueno;

CREATE VIEW ventas.ventas_cobradas WITH (security_barrier) AS
    SELECT fecha, id, tienda_id, caja, total, canal
    FROM ventas.ventas
    WHERE estado = 'cobrada' AND canal IN ('mostrador', 'teléfono');

CREATE VIEW ventas.tickets AS
    SELECT v.fecha, v.id, t.clave AS tienda, e.nombre AS cajero,
        coalesce(c.nombre || ' ' || c.apellidos, 'público en general') AS cliente,
        v.total, count(p.*) AS renglones, array_agg(p.producto_id ORDER BY p.renglon) AS productos
    FROM ventas.ventas AS v
    JOIN catalogo.tiendas AS t ON t.id = v.tienda_id
    JOIN catalogo.empleados AS e ON e.id = v.cajero_id
    LEFT JOIN catalogo.clientes AS c ON c.id = v.cliente_id
    LEFT JOIN ventas.partidas AS p ON p.fecha = v.fecha AND p.venta_id = v.id
    GROUP BY v.fecha, v.id, t.clave, e.nombre, c.nombre, c.apellidos;
COMMENT ON VIEW ventas.tickets IS 'Un renglón por ticket, para imprimir';

-- Agrupa por la llave primaria y usa otras columnas: la vista depende de la llave misma.
CREATE VIEW catalogo.productos_vendidos AS
    SELECT pr.id, pr.nombre, pr.precio, sum(pa.cantidad) AS vendidos
    FROM catalogo.productos AS pr
    LEFT JOIN ventas.partidas AS pa ON pa.producto_id = pr.id
    GROUP BY pr.id;

CREATE RECURSIVE VIEW catalogo.arbol_categorias (id, nivel, camino) AS
    SELECT id, 1, nombre FROM catalogo.categorias WHERE padre_id IS NULL
    UNION ALL
    SELECT c.id, nivel + 1, camino || ' › ' || c.nombre
    FROM catalogo.categorias AS c JOIN arbol_categorias AS a ON a.id = c.padre_id;

CREATE VIEW catalogo.directorio AS
    SELECT quien, tipo, tienda_id
    FROM (
        SELECT nombre AS quien, 'empleado' AS tipo, tienda_id FROM catalogo.empleados
        UNION ALL
        SELECT nombre, 'proveedor', NULL FROM catalogo.proveedores
    ) AS personas;

CREATE VIEW catalogo.ofertas AS
    SELECT id, producto_id, tienda_id, precio, vigencia, motivo, cancelado
    FROM catalogo.precios_especiales
    WHERE motivo NOT IN ('Buen Fin', 'Fiestas patrias')
    WITH CASCADED CHECK OPTION;

-- Reglas: borrar una oferta es cancelarla, y los folios del sistema viejo no se borran.
CREATE RULE cancelar_en_vez_de_borrar AS ON DELETE TO catalogo.ofertas
    DO INSTEAD UPDATE catalogo.precios_especiales SET cancelado = true WHERE id = old.id;
CREATE RULE "no; se borra" AS ON DELETE TO "Sistema viejo; 1998"."Artículos y Precios" DO INSTEAD NOTHING;
COMMENT ON RULE cancelar_en_vez_de_borrar ON catalogo.ofertas IS 'Para que quede en la bitácora';

-- Vistas materializadas: una lee de otra, y la tercera está sin llenar.
CREATE MATERIALIZED VIEW ventas.resumen_diario AS
    SELECT fecha, tienda_id, count(*) AS tickets, sum(total) AS total, sum(iva) AS iva
    FROM ventas.ventas
    WHERE estado = 'cobrada'
    GROUP BY fecha, tienda_id
    ORDER BY fecha, tienda_id;
CREATE UNIQUE INDEX resumen_diario_llave ON ventas.resumen_diario (fecha, tienda_id);

CREATE MATERIALIZED VIEW ventas.resumen_mensual AS
    SELECT date_trunc('month', fecha::timestamp)::date AS mes, sum(tickets) AS tickets, sum(total) AS total
    FROM ventas.resumen_diario
    GROUP BY 1
    ORDER BY 1;

CREATE MATERIALIZED VIEW ventas.resumen_anual AS
    SELECT extract(year FROM fecha) AS "año", sum(total) AS total FROM ventas.resumen_diario GROUP BY 1
    WITH NO DATA;
COMMENT ON MATERIALIZED VIEW ventas.resumen_anual IS 'Se llena hasta enero';

-- Funciones ---------------------------------------------------------------------------------------------

CREATE FUNCTION catalogo.precio_vigente(producto integer, tienda smallint, dia date) RETURNS numeric
    LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT coalesce(min(especial.precio), producto_base.precio)::numeric
    FROM catalogo.productos AS producto_base
    LEFT JOIN catalogo.precios_especiales AS especial
        ON especial.producto_id = producto_base.id AND especial.tienda_id = tienda
        AND especial.vigencia @> dia AND NOT especial.cancelado
        AND especial.motivo IN ('Buen Fin', 'Día de Muertos', 'Fiestas patrias')
    WHERE producto_base.id = producto
    GROUP BY producto_base.id;
END;
COMMENT ON FUNCTION catalogo.precio_vigente(integer, smallint, date) IS 'El especial más bajo de ese día, o el de lista';

CREATE FUNCTION catalogo.buscar(frase text, cuantos integer DEFAULT 10)
    RETURNS TABLE (id integer, nombre text, relevancia real)
    LANGUAGE sql STABLE ROWS 10
AS $$
    SELECT p.id, p.nombre, ts_rank(p.busqueda, q)
    FROM catalogo.productos AS p, plainto_tsquery('catalogo.espanol', frase) AS q
    WHERE p.busqueda @@ q
    ORDER BY 3 DESC, 1
    LIMIT cuantos
$$;

-- Dos funciones de igual nombre y otros argumentos.
CREATE FUNCTION ventas.total_del_dia(dia date) RETURNS numeric
    LANGUAGE sql STABLE
AS $$ SELECT coalesce(sum(total), 0) FROM ventas.resumen_diario WHERE fecha = dia $$;

CREATE FUNCTION ventas.total_del_dia(dia date, VARIADIC tiendas smallint[]) RETURNS numeric
    LANGUAGE sql STABLE
AS $$ SELECT coalesce(sum(total), 0) FROM ventas.resumen_diario WHERE fecha = dia AND tienda_id = ANY (tiendas) $$;

CREATE PROCEDURE ventas.cerrar_dia(dia date, INOUT pendientes integer DEFAULT NULL)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $procedimiento$
BEGIN
    UPDATE ventas.ventas SET estado = 'cancelada', notas = concat_ws(E'\n', notas, $$cancelada al 'cierre'$$)
    WHERE fecha = dia AND estado = 'en espera';
    GET DIAGNOSTICS pendientes = ROW_COUNT;
    REFRESH MATERIALIZED VIEW ventas.resumen_diario;
END
$procedimiento$;
COMMENT ON PROCEDURE ventas.cerrar_dia(date, integer) IS 'Cancela lo que quedó en espera y rehace el resumen';

RESET ROLE;
