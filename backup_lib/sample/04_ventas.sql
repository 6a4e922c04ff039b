-- Tickets (partidos por mes), sus renglones, pagos (partidos por medio), cortes de caja y carritos.

SET LOCAL ROLE pos_dueno;

-- Compartida por todas las particiones; avanza de 1 en 1 y guarda 20 por sesión, así que deja huecos.
CREATE SEQUENCE ventas.venta_id AS bigint CACHE 20;

CREATE TABLE ventas.ventas (
    id bigint NOT NULL DEFAULT nextval('ventas.venta_id'),
    fecha date NOT NULL,
    tienda_id smallint NOT NULL,
    caja smallint NOT NULL,
    cajero_id integer NOT NULL,
    cliente_id integer,
    vendida_en timestamptz NOT NULL,
    estado ventas.estado_venta NOT NULL DEFAULT 'en espera',
    canal varchar(12) NOT NULL DEFAULT 'mostrador',
    subtotal numeric(12, 2) NOT NULL,
    iva numeric(12, 2) NOT NULL,
    total numeric(12, 2) GENERATED ALWAYS AS (subtotal + iva) STORED,
    notas text,
    PRIMARY KEY (fecha, id),
    CONSTRAINT ventas_canal_conocido CHECK (canal IN ('mostrador', 'teléfono', 'en línea')),
    CONSTRAINT ventas_importes_sanos CHECK (subtotal BETWEEN 0 AND 999999 AND iva >= 0)
) PARTITION BY RANGE (fecha);
ALTER SEQUENCE ventas.venta_id OWNED BY ventas.ventas.id;
COMMENT ON TABLE ventas.ventas IS 'Un ticket; partida por mes de la fecha contable';
COMMENT ON COLUMN ventas.ventas.fecha IS 'Día contable en la tienda, no en UTC';

CREATE TABLE ventas.ventas_2025_01 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE ventas.ventas_2025_02 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
CREATE TABLE ventas.ventas_2025_03 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-03-01') TO ('2025-04-01');
CREATE TABLE ventas.ventas_2025_04 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-04-01') TO ('2025-05-01');
CREATE TABLE ventas.ventas_2025_05 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-05-01') TO ('2025-06-01');
CREATE TABLE ventas.ventas_2025_06 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-06-01') TO ('2025-07-01');
CREATE TABLE ventas.ventas_2025_07 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-07-01') TO ('2025-08-01');
CREATE TABLE ventas.ventas_2025_08 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-08-01') TO ('2025-09-01');
CREATE TABLE ventas.ventas_2025_09 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-09-01') TO ('2025-10-01');
CREATE TABLE ventas.ventas_2025_10 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-10-01') TO ('2025-11-01');
CREATE TABLE ventas.ventas_2025_11 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-11-01') TO ('2025-12-01');
CREATE TABLE ventas.ventas_2025_12 PARTITION OF ventas.ventas FOR VALUES FROM ('2025-12-01') TO ('2026-01-01');
CREATE TABLE ventas.ventas_otras PARTITION OF ventas.ventas DEFAULT;
COMMENT ON TABLE ventas.ventas_otras IS 'Lo que cae fuera de los meses abiertos: pruebas y relojes mal puestos';

CREATE TABLE ventas.partidas (
    fecha date NOT NULL,
    venta_id bigint NOT NULL,
    renglon smallint NOT NULL CHECK (renglon > 0),
    producto_id integer NOT NULL,
    cantidad numeric(10, 3) NOT NULL CHECK (cantidad > 0),
    precio_unitario catalogo.dinero NOT NULL,
    descuento numeric(5, 2) NOT NULL DEFAULT 0 CHECK (descuento BETWEEN 0 AND 100),
    importe numeric(12, 2) GENERATED ALWAYS AS (round(cantidad * precio_unitario * (1 - descuento / 100), 2)) STORED
);
COMMENT ON TABLE ventas.partidas IS 'Renglones del ticket';

CREATE TABLE ventas.pagos (
    id bigint NOT NULL,
    medio ventas.medio_pago NOT NULL,
    fecha date NOT NULL,
    venta_id bigint NOT NULL,
    importe catalogo.dinero NOT NULL,
    recibido catalogo.dinero,
    cambio numeric(12, 2) GENERATED ALWAYS AS (recibido - importe) STORED,
    autorizacion varchar(12),
    datos jsonb,
    PRIMARY KEY (id, medio)
) PARTITION BY LIST (medio);
CREATE SEQUENCE ventas.pago_id AS bigint OWNED BY ventas.pagos.id;
ALTER TABLE ventas.pagos ALTER COLUMN id SET DEFAULT nextval('ventas.pago_id');

CREATE TABLE ventas.pagos_efectivo PARTITION OF ventas.pagos FOR VALUES IN ('efectivo');
CREATE TABLE ventas.pagos_plastico PARTITION OF ventas.pagos FOR VALUES IN ('tarjeta', 'vale de despensa');
CREATE TABLE ventas.pagos_otros PARTITION OF ventas.pagos DEFAULT;

-- Dos cortes de la misma caja no pueden encimarse.
CREATE TABLE ventas.cortes_caja (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tienda_id smallint NOT NULL REFERENCES catalogo.tiendas,
    caja smallint NOT NULL,
    turno tstzrange NOT NULL,
    contado numeric(12, 2) NOT NULL,
    esperado numeric(12, 2) NOT NULL,
    diferencia numeric(12, 2) GENERATED ALWAYS AS (contado - esperado) STORED,
    denominaciones integer[][],
    EXCLUDE USING gist (tienda_id WITH =, caja WITH =, turno WITH &&)
);
COMMENT ON COLUMN ventas.cortes_caja.denominaciones IS 'Pares {denominación, piezas}';

-- Todavía nadie ha devuelto nada: una tabla vacía también se respalda.
CREATE TABLE ventas.devoluciones (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fecha date NOT NULL,
    venta_id bigint NOT NULL,
    motivo text NOT NULL,
    autorizo integer REFERENCES catalogo.empleados
);

-- Carritos en línea: si se pierden no pasa nada, por eso no van al WAL.
CREATE UNLOGGED TABLE ventas.carritos (
    id uuid PRIMARY KEY,
    cliente_id integer,
    contenido jsonb NOT NULL,
    visto_desde inet,
    caduca timestamptz NOT NULL
);

-- Folios de factura: bajan desde el último autorizado y pueden dar la vuelta.
CREATE SEQUENCE ventas.folio_factura AS integer INCREMENT BY -1 MINVALUE 1 MAXVALUE 99999 START WITH 99999 CYCLE;
COMMENT ON SEQUENCE ventas.folio_factura IS 'Folios autorizados, en orden descendente';

RESET ROLE;
