-- Roles del punto de venta.
--
-- Pertenecen al clúster y no a la base: se crean sólo los que falten, y nadie inicia sesión con ellos.
-- El candado evita que dos cargas simultáneas, en bases distintas, creen el mismo rol a la vez.

LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;

DO $$
DECLARE
    rol text;
BEGIN
    FOREACH rol IN ARRAY ARRAY[
        'pos_dueno', 'pos_gerente', 'pos_cajero', 'pos_auditor', 'pos_web', 'pos_Supervisión; turno "A"'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = rol) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', rol);
        END IF;
    END LOOP;
END
$$;

-- El gerente puede todo lo que puede un cajero; el supervisor de turno, también.
GRANT pos_cajero TO pos_gerente, "pos_Supervisión; turno ""A""";

-- El auditor mira, no toca, en cualquier base del clúster.
ALTER ROLE pos_auditor SET default_transaction_read_only = on;

COMMENT ON ROLE pos_dueno IS 'Dueño de los objetos del punto de venta';
COMMENT ON ROLE pos_cajero IS 'Cobra; sólo ve las ventas de su tienda';
COMMENT ON ROLE pos_auditor IS 'Lee todo, incluida la bitácora';
