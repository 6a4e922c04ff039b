-- Equipos de las cajas (herencia clásica), sus lecturas y los recados que deja el personal.

SET LOCAL ROLE pos_dueno;

CREATE TABLE soporte.equipos (
    id uuid PRIMARY KEY,
    tienda_id smallint NOT NULL REFERENCES catalogo.tiendas,
    serie text NOT NULL,
    ip inet,
    red cidr,
    mac macaddr,
    banderas bit varying(16) NOT NULL DEFAULT B'0',
    instalado date NOT NULL,
    garantia interval NOT NULL
);

-- Las hijas heredan las columnas y las revisiones, pero no la llave ni los índices de la madre.
CREATE TABLE soporte.impresoras (
    papel_mm smallint NOT NULL DEFAULT 80 CHECK (papel_mm IN (58, 80)),
    PRIMARY KEY (id)
) INHERITS (soporte.equipos);

CREATE TABLE soporte.basculas (
    alcance numrange NOT NULL,
    calibrada_en timestamptz,
    PRIMARY KEY (id)
) INHERITS (soporte.equipos);
ALTER TABLE soporte.basculas ALTER COLUMN garantia SET DEFAULT interval '1 year 6 mons';

CREATE TABLE soporte.lecturas (
    equipo_id uuid NOT NULL,
    leida_en timestamptz NOT NULL,
    temperatura double precision,
    voltaje real,
    peso numeric,
    encendido interval,
    trama bytea,
    PRIMARY KEY (equipo_id, leida_en)
);
COMMENT ON TABLE soporte.lecturas IS 'Un sensor descompuesto reporta NaN o infinito, y así se guarda';

CREATE TABLE soporte.recados (
    id serial PRIMARY KEY,
    asunto varchar(80),
    texto text,
    adjunto oid,
    escrito_en timestamptz NOT NULL,
    busqueda tsvector
);
COMMENT ON COLUMN soporte.recados.texto IS E'Texto libre: renglones, \ttabuladores y \\barras\\';

RESET ROLE;
