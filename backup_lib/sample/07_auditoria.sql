-- Bitácora de cambios: es de otro dueño y se parte por trimestre, en instantes y no en fechas.

SET LOCAL ROLE pos_auditor;

CREATE SEQUENCE auditoria.bitacora_id AS bigint;

CREATE TABLE auditoria.bitacora (
    id bigint NOT NULL DEFAULT nextval('auditoria.bitacora_id'),
    ocurrido_en timestamptz NOT NULL,
    tabla text NOT NULL,
    operacion "char" NOT NULL CHECK (operacion IN ('I', 'U', 'D')),
    usuario name NOT NULL,
    origen inet,
    antes jsonb,
    despues jsonb,
    PRIMARY KEY (ocurrido_en, id)
) PARTITION BY RANGE (ocurrido_en);
ALTER SEQUENCE auditoria.bitacora_id OWNED BY auditoria.bitacora.id;

CREATE TABLE auditoria."bitacora 2025-T1" PARTITION OF auditoria.bitacora
    FOR VALUES FROM (MINVALUE) TO ('2025-04-01 00:00:00-06');
CREATE TABLE auditoria."bitacora 2025-T2" PARTITION OF auditoria.bitacora
    FOR VALUES FROM ('2025-04-01 00:00:00-06') TO ('2025-07-01 00:00:00-06');
CREATE TABLE auditoria."bitacora 2025-T3" PARTITION OF auditoria.bitacora
    FOR VALUES FROM ('2025-07-01 00:00:00-06') TO ('2025-10-01 00:00:00-06');
CREATE TABLE auditoria."bitacora 2025-T4" PARTITION OF auditoria.bitacora
    FOR VALUES FROM ('2025-10-01 00:00:00-06') TO (MAXVALUE);

CREATE TABLE auditoria.objetos_borrados (
    borrado_en timestamptz NOT NULL,
    usuario name NOT NULL,
    identidad text NOT NULL
);
COMMENT ON TABLE auditoria.objetos_borrados IS 'La llena un disparador de eventos cuando alguien hace DROP TABLE';

RESET ROLE;
