-- Existencias por tienda y sus movimientos, partidos por hash del producto.

SET LOCAL ROLE pos_dueno;

CREATE TABLE inventario.existencias (
    tienda_id smallint NOT NULL REFERENCES catalogo.tiendas,
    producto_id integer NOT NULL REFERENCES catalogo.productos,
    cantidad numeric(12, 3) NOT NULL,
    apartado numeric(12, 3) NOT NULL DEFAULT 0,
    minimo numeric(12, 3) NOT NULL DEFAULT 5,
    disponible numeric(12, 3) GENERATED ALWAYS AS (cantidad - apartado) STORED,
    anaquel varchar(8),
    contado_el date NOT NULL,
    PRIMARY KEY (tienda_id, producto_id) INCLUDE (cantidad)
);
COMMENT ON COLUMN inventario.existencias.contado_el IS '-infinity: nunca se ha contado';

CREATE SEQUENCE inventario.movimiento_id AS bigint INCREMENT BY 3;

CREATE TABLE inventario.movimientos (
    id bigint NOT NULL DEFAULT nextval('inventario.movimiento_id'),
    producto_id integer NOT NULL REFERENCES catalogo.productos,
    tienda_id smallint NOT NULL,
    tipo inventario.tipo_movimiento NOT NULL,
    cantidad numeric(12, 3) NOT NULL,
    costo_promedio numeric,
    ocurrido_en timestamp NOT NULL,
    detalle jsonb,
    PRIMARY KEY (producto_id, id)
) PARTITION BY HASH (producto_id);
ALTER SEQUENCE inventario.movimiento_id OWNED BY inventario.movimientos.id;
COMMENT ON COLUMN inventario.movimientos.costo_promedio IS 'NaN: el proveedor no dio factura';

CREATE TABLE inventario.movimientos_0 PARTITION OF inventario.movimientos FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE inventario.movimientos_1 PARTITION OF inventario.movimientos FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE inventario.movimientos_2 PARTITION OF inventario.movimientos FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE inventario.movimientos_3 PARTITION OF inventario.movimientos FOR VALUES WITH (MODULUS 4, REMAINDER 3);

RESET ROLE;
