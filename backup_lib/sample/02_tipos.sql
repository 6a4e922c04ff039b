-- Esquemas, extensiones, tipos, dominios y las funciones que no dependen de ninguna tabla.

CREATE SCHEMA extensiones AUTHORIZATION pos_dueno;
CREATE SCHEMA catalogo AUTHORIZATION pos_dueno;
CREATE SCHEMA ventas AUTHORIZATION pos_dueno;
CREATE SCHEMA inventario AUTHORIZATION pos_dueno;
CREATE SCHEMA soporte AUTHORIZATION pos_dueno;
CREATE SCHEMA auditoria AUTHORIZATION pos_auditor;
CREATE SCHEMA "Sistema viejo; 1998" AUTHORIZATION pos_dueno;

COMMENT ON SCHEMA extensiones IS 'Lo que instalan las extensiones, lejos de lo nuestro';
COMMENT ON SCHEMA catalogo IS 'Tiendas, personal, productos, precios y clientes';
COMMENT ON SCHEMA ventas IS 'Tickets, pagos y cortes de caja';
COMMENT ON SCHEMA inventario IS 'Existencias y sus movimientos';
COMMENT ON SCHEMA soporte IS 'Equipos de las cajas y lo que reportan';
COMMENT ON SCHEMA auditoria IS 'Quién cambió qué, y cuándo';
COMMENT ON SCHEMA "Sistema viejo; 1998" IS
    E'Importado del sistema anterior tal como venía:\nnombres con espacios, "comillas", ñ y emoji';

CREATE EXTENSION btree_gist SCHEMA extensiones;
CREATE EXTENSION citext SCHEMA extensiones;
CREATE EXTENSION ltree SCHEMA extensiones;
CREATE EXTENSION pg_trgm SCHEMA extensiones;
CREATE EXTENSION unaccent SCHEMA extensiones;

SET LOCAL ROLE pos_dueno;

-- Enumerados --------------------------------------------------------------------------------------------

CREATE TYPE catalogo.puesto AS ENUM ('cajero', 'almacenista', 'carnicero', 'subgerente', 'gerente');
CREATE TYPE ventas.estado_venta AS ENUM ('en espera', 'cobrada', 'cancelada', 'devuelta');
CREATE TYPE ventas.medio_pago AS ENUM ('efectivo', 'tarjeta', 'vale de despensa', 'transferencia', 'puntos', 'crédito');
CREATE TYPE inventario.tipo_movimiento AS ENUM ('compra', 'venta', 'traspaso', 'merma', 'ajuste');

-- Compuestos y rangos -----------------------------------------------------------------------------------

CREATE TYPE catalogo.domicilio AS (
    calle text,
    numero varchar(12),
    colonia text,
    cp char(5),
    ciudad text,
    referencias text
);
COMMENT ON COLUMN catalogo.domicilio.referencias IS 'Como las dicta el cliente: «portón verde, frente al Oxxo»';

CREATE TYPE catalogo.importe AS (monto numeric(14, 2), moneda char(3));

-- Una tienda puede cerrar a la hora de la comida: su horario es un multirango.
CREATE TYPE catalogo.rango_hora AS RANGE (SUBTYPE = time, MULTIRANGE_TYPE_NAME = catalogo.horario);

-- Dominios ----------------------------------------------------------------------------------------------

CREATE DOMAIN catalogo.dinero AS numeric(12, 2)
    CONSTRAINT dinero_no_negativo CHECK (VALUE >= 0);

CREATE DOMAIN catalogo.correo AS extensiones.citext
    CONSTRAINT correo_con_arroba CHECK (VALUE::text ~ '^[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}$');

CREATE DOMAIN catalogo.codigo_barras AS char(13) COLLATE "C"
    CONSTRAINT codigo_barras_ean13 CHECK (VALUE ~ '^[0-9]{13}$');

CREATE DOMAIN catalogo.tasa_iva AS varchar(8) DEFAULT 'general' NOT NULL
    CONSTRAINT tasa_iva_conocida CHECK (VALUE IN ('general', 'frontera', 'cero', 'exento'));

COMMENT ON DOMAIN catalogo.tasa_iva IS 'General 16 %, región fronteriza 8 %, tasa cero, exento';

-- Colación y búsqueda de texto --------------------------------------------------------------------------

CREATE COLLATION catalogo.por_bytes (PROVIDER = libc, LOCALE = 'C');
COMMENT ON COLLATION catalogo.por_bytes IS 'Ordena por bytes: igual en cualquier máquina';

-- «jalapeño», «JALAPENO» y «jalapeños» son la misma búsqueda.
CREATE TEXT SEARCH CONFIGURATION catalogo.espanol (COPY = pg_catalog.spanish);
ALTER TEXT SEARCH CONFIGURATION catalogo.espanol
    ALTER MAPPING FOR hword, hword_part, word WITH extensiones.unaccent, spanish_stem;
COMMENT ON TEXT SEARCH CONFIGURATION catalogo.espanol IS 'Español sin acentos';

-- Funciones inmutables: índices y columnas generadas se apoyan en ellas, así que nombran su esquema ------

CREATE FUNCTION catalogo.sin_acentos(texto text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(extensiones.unaccent('extensiones.unaccent'::regdictionary, texto));

CREATE FUNCTION catalogo.porcentaje_iva(tasa varchar) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE tasa WHEN 'general' THEN 16 WHEN 'frontera' THEN 8 ELSE 0 END;

CREATE FUNCTION catalogo.en_pesos(importe catalogo.importe) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    -- Tipos de cambio pactados para el año; una tabla haría de ésta una función que no es inmutable.
    RETURN round(
        importe.monto * CASE importe.moneda WHEN 'MXN' THEN 1 WHEN 'USD' THEN 18.75 WHEN 'GTQ' THEN 2.44 END, 2);
END
$$;
COMMENT ON FUNCTION catalogo.en_pesos(catalogo.importe) IS 'NULL si la moneda no está pactada';

CREATE CAST (catalogo.importe AS numeric) WITH FUNCTION catalogo.en_pesos(catalogo.importe) AS ASSIGNMENT;

CREATE FUNCTION catalogo.mismo_texto(a text, b text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN catalogo.sin_acentos(a) = catalogo.sin_acentos(b);

CREATE OPERATOR catalogo.=~= (
    LEFTARG = text, RIGHTARG = text, FUNCTION = catalogo.mismo_texto, COMMUTATOR = OPERATOR(catalogo.=~=)
);
COMMENT ON OPERATOR catalogo.=~= (text, text) IS 'Iguales sin contar acentos ni mayúsculas';

-- Descuentos encadenados: 10 % y luego 5 % no son 15 %.
CREATE AGGREGATE catalogo.factor_compuesto(numeric) (
    SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', COMBINEFUNC = numeric_mul, PARALLEL = SAFE
);
COMMENT ON AGGREGATE catalogo.factor_compuesto(numeric) IS 'Producto de los factores';

RESET ROLE;
