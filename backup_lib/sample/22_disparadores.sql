-- Disparadores: por renglón, por instrucción, diferido, apagado, sobre una vista y de eventos.

SET LOCAL ROLE pos_auditor;

CREATE FUNCTION auditoria.anotar() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO auditoria.bitacora (ocurrido_en, tabla, operacion, usuario, origen, antes, despues)
    VALUES (
        clock_timestamp(), format('%I.%I', tg_table_schema, tg_table_name), left(tg_op, 1)::"char", session_user,
        inet_client_addr(),
        CASE WHEN tg_op <> 'INSERT' THEN to_jsonb(old) END,
        CASE WHEN tg_op <> 'DELETE' THEN to_jsonb(new) END
    );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION auditoria.anotar() IS 'Corre como su dueño: quien cobra no puede escribir en la bitácora por su cuenta';

CREATE FUNCTION auditoria.anotar_borrados() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO auditoria.objetos_borrados (borrado_en, usuario, identidad)
    SELECT clock_timestamp(), session_user, object_identity
    FROM pg_event_trigger_dropped_objects()
    WHERE original AND NOT is_temporary;
END
$$;

GRANT USAGE ON SCHEMA auditoria TO pos_dueno;

SET LOCAL ROLE pos_dueno;

CREATE FUNCTION catalogo.marcar_actualizacion() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    new.actualizado_en := clock_timestamp();
    RETURN new;
END
$$;

CREATE FUNCTION ventas.descontar_existencias() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE inventario.existencias AS e
    SET cantidad = e.cantidad - vendido.cantidad
    FROM (
        SELECT v.tienda_id, n.producto_id, sum(n.cantidad) AS cantidad
        FROM nuevas AS n JOIN ventas.ventas AS v ON v.fecha = n.fecha AND v.id = n.venta_id
        GROUP BY v.tienda_id, n.producto_id
    ) AS vendido
    WHERE e.tienda_id = vendido.tienda_id AND e.producto_id = vendido.producto_id;
    RETURN NULL;
END
$$;

CREATE FUNCTION ventas.revisar_corte() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    IF abs(new.diferencia) > 500 THEN
        RAISE EXCEPTION 'el corte % no cuadra', new.id USING HINT = 'cuente otra vez la caja';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION catalogo.dar_de_alta_oferta() RETURNS trigger
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO catalogo.precios_especiales (producto_id, tienda_id, precio, vigencia, motivo)
    VALUES (new.producto_id, new.tienda_id, new.precio, new.vigencia, new.motivo);
    RETURN new;
END
$$;

CREATE TRIGGER marcar_actualizacion BEFORE UPDATE ON catalogo.productos
    FOR EACH ROW EXECUTE FUNCTION catalogo.marcar_actualizacion();

CREATE TRIGGER anotar_precio AFTER UPDATE OF precio, costo ON catalogo.productos
    FOR EACH ROW WHEN (old.precio IS DISTINCT FROM new.precio AND new.unidad IN ('pza', 'kg', 'caja'))
    EXECUTE FUNCTION auditoria.anotar();

CREATE TRIGGER anotar_venta AFTER UPDATE OR DELETE ON ventas.ventas
    FOR EACH ROW EXECUTE FUNCTION auditoria.anotar();

CREATE TRIGGER descontar_existencias AFTER INSERT ON ventas.partidas
    REFERENCING NEW TABLE AS nuevas
    FOR EACH STATEMENT EXECUTE FUNCTION ventas.descontar_existencias();

CREATE CONSTRAINT TRIGGER revisar_corte AFTER INSERT OR UPDATE ON ventas.cortes_caja
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION ventas.revisar_corte();

CREATE TRIGGER dar_de_alta INSTEAD OF INSERT ON catalogo.ofertas
    FOR EACH ROW EXECUTE FUNCTION catalogo.dar_de_alta_oferta();

CREATE TRIGGER "índice de búsqueda" BEFORE INSERT OR UPDATE ON soporte.recados
    FOR EACH ROW EXECUTE FUNCTION
    tsvector_update_trigger('busqueda', 'catalogo.espanol', 'asunto');

-- Se apagó cuando el proveedor del CRM cerró; nadie lo ha quitado.
CREATE TRIGGER avisar_al_crm AFTER INSERT OR UPDATE ON catalogo.clientes
    FOR EACH ROW EXECUTE FUNCTION auditoria.anotar('crm', 'https://crm.example/?a=1&b=''2''');
ALTER TABLE catalogo.clientes DISABLE TRIGGER avisar_al_crm;
COMMENT ON TRIGGER avisar_al_crm ON catalogo.clientes IS 'Apagado desde 2023';

RESET ROLE;

-- Los disparadores de eventos son de un superusuario.
CREATE EVENT TRIGGER anotar_borrados ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA')
    EXECUTE FUNCTION auditoria.anotar_borrados();
COMMENT ON EVENT TRIGGER anotar_borrados IS 'Las tablas borradas quedan en auditoria.objetos_borrados';
