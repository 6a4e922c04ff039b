-- Permisos, seguridad por renglón, publicación y ajustes de la base.

SET LOCAL ROLE pos_dueno;

-- Seguridad por renglón: la caja dice de qué tienda es con «SET pos.tienda = 3» -------------------------

ALTER TABLE ventas.ventas ENABLE ROW LEVEL SECURITY;
CREATE POLICY cajero_su_tienda ON ventas.ventas TO pos_cajero
    USING (tienda_id = nullif(current_setting('pos.tienda', true), '')::smallint)
    WITH CHECK (
        tienda_id = nullif(current_setting('pos.tienda', true), '')::smallint AND canal IN ('mostrador', 'teléfono')
    );
CREATE POLICY web_lo_suyo ON ventas.ventas FOR INSERT TO pos_web WITH CHECK (canal = 'en línea');
CREATE POLICY lectura_total ON ventas.ventas FOR SELECT TO pos_gerente, pos_auditor USING (true);
CREATE POLICY "nada cancelado; nunca" ON ventas.ventas AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (estado <> 'cancelada');
COMMENT ON POLICY cajero_su_tienda ON ventas.ventas IS 'Sin «pos.tienda» no se ve nada';

-- FORCE obliga también al dueño. No va en tablas de las que lea una vista materializada del mismo dueño: al
-- restaurar se rellena como él con row_security = off, y PostgreSQL se niega.
ALTER TABLE catalogo.clientes ENABLE ROW LEVEL SECURITY;
ALTER TABLE catalogo.clientes FORCE ROW LEVEL SECURITY;
CREATE POLICY dueno ON catalogo.clientes TO pos_dueno USING (true);
CREATE POLICY auditor ON catalogo.clientes FOR SELECT TO pos_auditor USING (true);
CREATE POLICY mostrador ON catalogo.clientes FOR SELECT TO pos_cajero
    USING (credito = 0 OR puntos BETWEEN 1 AND 99999 AND id > 0);

-- Permisos ----------------------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA extensiones TO PUBLIC;
GRANT USAGE ON SCHEMA catalogo, ventas, inventario TO pos_cajero, pos_auditor, pos_web;
GRANT USAGE, CREATE ON SCHEMA soporte TO pos_gerente WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "Sistema viejo; 1998" TO "pos_Supervisión; turno ""A""";

GRANT SELECT ON ALL TABLES IN SCHEMA catalogo, ventas, inventario, soporte, "Sistema viejo; 1998" TO pos_auditor;
GRANT SELECT ON catalogo.tiendas, catalogo.productos, catalogo.categorias, catalogo.ofertas TO pos_cajero, pos_web;
GRANT SELECT, INSERT, UPDATE ON ventas.ventas, ventas.partidas, ventas.pagos TO pos_cajero;
GRANT SELECT (id, nombre, apellidos, puntos), UPDATE (telefono, puntos) ON catalogo.clientes TO pos_cajero;
GRANT SELECT (id, nombre, "puesto", tienda_id) ON catalogo.empleados TO PUBLIC;
GRANT ALL ON ventas.carritos TO pos_web;
GRANT SELECT, UPDATE ON inventario.existencias TO pos_cajero;
GRANT SELECT ON "Sistema viejo; 1998"."Lista de precios" TO "pos_Supervisión; turno ""A""" WITH GRANT OPTION;
GRANT INSERT ON ventas.devoluciones TO pos_gerente WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE ventas.venta_id, ventas.pago_id TO pos_cajero, pos_web;
GRANT SELECT ON LARGE OBJECT 730001 TO PUBLIC;

REVOKE ALL ON FUNCTION catalogo.en_pesos(catalogo.importe) FROM PUBLIC;
REVOKE ALL ON PROCEDURE ventas.cerrar_dia(date, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION catalogo.en_pesos(catalogo.importe) TO pos_gerente;
GRANT EXECUTE ON PROCEDURE ventas.cerrar_dia(date, integer) TO pos_gerente;
REVOKE USAGE ON TYPE catalogo.importe FROM PUBLIC;
GRANT USAGE ON DOMAIN catalogo.dinero TO pos_web;

ALTER DEFAULT PRIVILEGES IN SCHEMA ventas GRANT SELECT ON TABLES TO pos_auditor;
ALTER DEFAULT PRIVILEGES IN SCHEMA ventas GRANT USAGE ON SEQUENCES TO pos_cajero;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SET LOCAL ROLE pos_auditor;
GRANT SELECT ON ALL TABLES IN SCHEMA auditoria TO pos_gerente;
REVOKE UPDATE, DELETE, TRUNCATE ON auditoria.bitacora FROM pos_auditor;
RESET ROLE;

-- Lo que se replica a la tienda en línea ----------------------------------------------------------------

CREATE PUBLICATION tienda_en_linea FOR TABLE catalogo.productos, catalogo.categorias, inventario.existencias
    WITH (publish = 'insert, update');
ALTER PUBLICATION tienda_en_linea OWNER TO pos_dueno;
COMMENT ON PUBLICATION tienda_en_linea IS 'Catálogo y existencias, sin borrados';

-- Ajustes de la base, y de un rol en ella; no van en un respaldo sin --create ---------------------------

DO $$
DECLARE
    base text := current_database();
BEGIN
    EXECUTE format('ALTER DATABASE %I OWNER TO pos_dueno', base);
    EXECUTE format('COMMENT ON DATABASE %I IS %L', base, 'Abarrotes Doña Lucha: base de ejemplo de pgdrill');
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', base);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO pos_cajero, pos_auditor, pos_web', base);
    EXECUTE format('ALTER DATABASE %I SET timezone = %L', base, 'America/Mexico_City');
    EXECUTE format('ALTER DATABASE %I SET default_text_search_config = %L', base, 'pg_catalog.spanish');
    EXECUTE format('ALTER DATABASE %I SET search_path = catalogo, ventas, inventario, extensiones', base);
    EXECUTE format('ALTER ROLE pos_cajero IN DATABASE %I SET statement_timeout = %L', base, '30s');
    EXECUTE format('ALTER ROLE pos_auditor IN DATABASE %I SET work_mem = %L', base, '64MB');
END
$$;
