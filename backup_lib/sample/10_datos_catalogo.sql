-- Datos de los catálogos. Todo sale de aritmética y de md5: ni random() ni now(), así que cada carga es idéntica.
--
-- pg_temp.filas(n) son n filas por la escala pedida, y nunca tan pocas que falte algún caso raro;
-- pg_temp.azar(tema, n, tope), un número de 0 a tope - 1 que parece al azar pero siempre es el mismo;
-- pg_temp.uno_de(opciones, tema, n), una de las opciones elegida igual.

CREATE FUNCTION pg_temp.filas(n integer) RETURNS integer
    LANGUAGE sql STABLE
    RETURN greatest(120, round(n * current_setting('pos.escala')::numeric))::integer;

CREATE FUNCTION pg_temp.azar(tema text, n bigint, tope integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    RETURN ('x' || substr(md5(tema || n::text), 1, 7))::bit(28)::integer % tope;

CREATE FUNCTION pg_temp.uno_de(opciones text[], tema text, n bigint) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN opciones[1 + ('x' || substr(md5(tema || n::text), 1, 7))::bit(28)::integer % cardinality(opciones)];

-- Objetos grandes: logotipo (SVG), una foto de más de 1 MB, un contrato de texto y uno vacío que alguien dejó así

SELECT lo_from_bytea(730001, convert_to(
    E'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 60">\n'
    '  <title>Abarrotes Doña Lucha</title>\n'
    '  <circle cx="30" cy="30" r="28" fill="#c0392b"/>\n'
    '  <text x="30" y="38" font-size="24" text-anchor="middle" fill="#fff">DL</text>\n'
    '</svg>\n', 'UTF8'));
SELECT lo_from_bytea(730002, (
    SELECT '\x89504e470d0a1a0a'::bytea || string_agg(decode(md5('foto' || i), 'hex'), ''::bytea ORDER BY i)
    FROM generate_series(1, 75000) AS i));
SELECT lo_from_bytea(730003, convert_to(repeat(E'Cláusula única: el precio incluye IVA.\r\n', 400), 'UTF8'));
SELECT lo_from_bytea(730004, ''::bytea);

ALTER LARGE OBJECT 730001 OWNER TO pos_dueno;
ALTER LARGE OBJECT 730002 OWNER TO pos_dueno;
ALTER LARGE OBJECT 730003 OWNER TO pos_dueno;
ALTER LARGE OBJECT 730004 OWNER TO pos_auditor;
COMMENT ON LARGE OBJECT 730001 IS 'Logotipo';
COMMENT ON LARGE OBJECT 730002 IS 'Fachada de la matriz';

-- Tiendas y personal ------------------------------------------------------------------------------------

INSERT INTO catalogo.tiendas
    (clave, nombre, domicilio, ubicacion, horario, region, abierta_desde, cajas, gerente_id, logo)
VALUES
    ('COY', 'Matriz Coyoacán',
     ROW('Av. Miguel Ángel de Quevedo', '1120', 'Barrio La Concepción', '04020', 'Ciudad de México', 'frente al «mercadito»'),
     '(-99.1617,19.3467)', '{[07:00,22:00)}', 'centro', '1987-05-10', 4, 1, 730001),
    ('PUE', 'Puebla Analco',
     ROW('Calle 5 Oriente', '812-B', 'Analco', '72500', 'Puebla', NULL),
     '(-98.1905,19.0404)', '{[07:30,21:30)}', 'centro', '1994-02-01', 3, 2, 730001),
    ('MID', 'Mérida Centro',
     ROW('Calle 60', '491', 'Centro', '97000', 'Mérida', E'entre 57 y 59,\naltos'),
     '(-89.6237,20.9702)', '{[08:00,14:00),[17:00,22:00)}', 'sureste', '2001-11-20', 3, 3, 730001),
    ('OAX', 'Oaxaca Jalatlaco',
     ROW('Aldama', 's/n', 'Jalatlaco', '68080', 'Oaxaca', ''),
     '(-96.7167,17.0654)', '{[08:00,15:00),[16:30,21:00)}', 'sureste', '2005-07-16', 2, 4, NULL),
    ('GDL', 'Guadalajara Santa Tere',
     ROW('Manuel Acuña', '1340', 'Santa Teresita', '44600', 'Guadalajara', 'a un lado de la "tortería"'),
     '(-103.3661,20.6847)', '{[07:00,22:30)}', 'occidente', '2009-03-02', 4, 5, 730001),
    ('TEP', 'Tepic Peñita',
     ROW('Av. México', '77', 'La Peñita', '63167', 'Tepic', NULL),
     NULL, '{[08:00,21:00)}', 'occidente', '2013-08-30', 2, 6, NULL),
    ('TIJ', 'Tijuana Playas',
     ROW('Paseo Ensenada', '2015', 'Playas de Tijuana', '22500', 'Tijuana', 'bajando el puente \\ derecha'),
     '(-117.1223,32.5331)', '{[06:00,24:00)}', 'frontera', '2018-12-12', 3, 7, NULL),
    ('NLD', 'Nuevo Laredo Ñandú',
     ROW('Guerrero', '3301', 'Juárez', '88209', 'Nuevo Laredo', NULL),
     '(-99.5066,27.4763)', '{}', 'frontera', '2024-06-01', 2, NULL, NULL);

SELECT setval('catalogo.tiendas_id_seq', 11);

INSERT INTO catalogo.empleados (id, tienda_id, jefe_id, nombre, puesto, correo, telefonos, contrato, sueldo, huella, foto)
SELECT
    n,
    1 + (n - 1) % 8,
    CASE WHEN n > 8 THEN 1 + (n - 1) % 8 END,
    pg_temp.uno_de('{María José,Íñigo,Guadalupe,Ramón,Xóchitl,Ángel,Begoña,Óscar,Citlali,Úrsula}', 'nombre', n)
        || ' ' || pg_temp.uno_de('{Muñoz,Peña,Hernández,Núñez,López,Güémez,Ibáñez,Sánchez,Chi,Tuyub}', 'paterno', n)
        || ' ' || pg_temp.uno_de('{Ordóñez,García,Martínez,Acuña,Pérez,Yáñez,Cruz,Canché,"O''Farrill",Castañeda}', 'materno', n),
    (CASE
        WHEN n <= 8 THEN 'gerente'
        WHEN n <= 16 THEN 'subgerente'
        WHEN n % 7 = 0 THEN 'carnicero'
        WHEN n % 5 = 0 THEN 'almacenista'
        ELSE 'cajero'
    END)::catalogo.puesto,
    CASE WHEN n % 6 <> 0 THEN 'Empleado' || n || '@Abarrotes-Lucha.MX' END,
    CASE n % 4
        WHEN 0 THEN '{}'
        WHEN 1 THEN ARRAY['55' || 10000000 + n * 7919]
        ELSE ARRAY['55' || 10000000 + n * 7919, NULL, 'ext. "' || n || '"']
    END,
    daterange(date '2015-01-01' + n * 29, CASE WHEN n % 9 = 0 THEN date '2025-10-31' END),
    CASE WHEN n % 11 <> 0 THEN
        ROW(9000 + (n * 137) % 8000, CASE WHEN n % 8 = 7 THEN 'USD' ELSE 'MXN' END)::catalogo.importe
    END,
    CASE n % 3 WHEN 0 THEN decode(md5('huella' || n) || '000a0d5c', 'hex') WHEN 1 THEN ''::bytea END,
    CASE n WHEN 1 THEN 730002::oid END
FROM generate_series(1, 120) AS n;
SELECT setval('catalogo.empleados_id_seq', 131);
SET CONSTRAINTS ALL IMMEDIATE; -- ya hay gerentes: la llave circular se cumple

-- Proveedores, categorías y productos -------------------------------------------------------------------

INSERT INTO catalogo.proveedores (id, nombre, contacto, credito)
SELECT
    100 + (n - 1) * 10,
    pg_temp.uno_de('{Distribuidora,Abarrotera,Comercializadora,Granos y Semillas,"Lácteos",ñandutí}', 'giro', n)
        || ' ' || pg_temp.uno_de('{del Bajío,La Ñapa,Peña e Hijos,San Martín,"Tres \"Estrellas\"",del Sureste}', 'razon', n)
        || ' ' || n,
    CASE n % 4
        WHEN 0 THEN NULL
        WHEN 1 THEN format('{"tel":  "55%s", "tel": "repetido",  "notas": "línea 1\nlínea 2"}', 20000000 + n)
        ELSE format('{ "correo" : "ventas%s@proveedor.example", "días" : [1, 3, 5] }', n)
    END::json,
    CASE n % 3 WHEN 0 THEN interval '0' WHEN 1 THEN interval '1 mon 15 days' ELSE interval '-2 days +03:00:00' END
FROM generate_series(1, 60) AS n;
SELECT setval('catalogo.proveedores_id_seq', 790);

INSERT INTO catalogo.categorias (id, ruta, nombre, padre_id, orden)
VALUES
    (1, 'abarrotes', 'Abarrotes', NULL, 1),
    (2, 'abarrotes.granos', 'Granos y semillas', 1, 1),
    (3, 'abarrotes.enlatados', 'Enlatados', 1, 2),
    (4, 'abarrotes.enlatados.chiles', 'Chiles y salsas', 3, 1),
    (5, 'frescos', 'Frescos', NULL, 2),
    (6, 'frescos.lacteos', 'Lácteos', 5, 1),
    (7, 'frescos.carnes', 'Carnes frías', 5, 2),
    (8, 'bebidas', 'Bebidas', NULL, 3),
    (9, 'bebidas.cafe', 'Café y té', 8, 1),
    (10, 'hogar', 'Hogar y limpieza', NULL, 5),
    (12, 'hogar.pinatas', 'Piñatas y fiesta', 10, 1);
SELECT setval('catalogo.categorias_id_seq', 15, false);

INSERT INTO catalogo.productos (
    id, codigo, nombre, descripcion, categoria_id, proveedor_id, unidad, precio, costo, iva, atributos, etiquetas,
    actualizado_en
)
OVERRIDING SYSTEM VALUE
SELECT
    n,
    lpad((7501000000000 + n * 7919)::text, 13, '0'),
    concat_ws(' ', base.nombre,
        pg_temp.uno_de('{La Ñapa,El Güero,Peña & Hijos,Doña Lucha,"D''Elena","Tres \"Estrellas\""}', 'marca', n),
        pg_temp.uno_de('{250 g,500 g,1 kg,1 l,6 pzas,750 g}', 'medida', n), n),
    CASE n % 5
        WHEN 0 THEN NULL
        WHEN 1 THEN ''
        WHEN 2 THEN E'Consérvese en lugar fresco.\nHecho en México.'
        ELSE 'Presentación familiar; precio sujeto a cambio'
    END,
    base.categoria_id,
    -- El del producto 33 ya no existe: por eso la llave al proveedor es NOT VALID.
    CASE WHEN n = 33 THEN 99999 WHEN n % 10 <> 0 THEN 100 + 10 * pg_temp.azar('proveedor', n, 60) END,
    base.unidad,
    base.piso + pg_temp.azar('precio', n, 9000) / 100.0,
    base.piso * 0.7,
    base.iva,
    jsonb_build_object(
        'color', pg_temp.uno_de('{rojo,verde,añil,café,""}', 'color', n),
        'caducidad_dias', CASE WHEN n % 4 = 0 THEN NULL ELSE pg_temp.azar('caducidad', n, 720) END,
        'sellos', to_jsonb(
            (ARRAY['EXCESO CALORÍAS', 'EXCESO SODIO', 'EXCESO AZÚCARES'])[1:pg_temp.azar('sellos', n, 4)]),
        'medidas', jsonb_build_object('alto', n % 37 + 0.50, 'peso', round(n / 7.0, 4))),
    (ARRAY['oferta', 'sin gluten', 'de la región', 'ñ', ''])[1 + n % 5 : 1 + n % 5 + n % 3],
    timestamptz '2025-01-01 00:00:00-06' + pg_temp.azar('actualizado', n, 31536000) * interval '1 second'
FROM generate_series(1, pg_temp.filas(1200)) AS n,
    LATERAL (
        SELECT * FROM (VALUES
            (0, 'Frijol negro', 2, 'kg', 22.50, 'cero'),
            (1, 'Jalapeños en escabeche', 4, 'pza', 18.00, 'cero'),
            (2, 'Café de olla', 9, 'pza', 64.90, 'cero'),
            (3, 'Piñata de siete picos', 12, 'pza', 180.00, 'general'),
            (4, 'Queso añejo', 6, 'kg', 145.00, 'cero'),
            (5, 'Agua de jamaica', 8, 'l', 12.00, 'frontera'),
            (6, 'Jabón de pasta', 10, 'caja', 95.00, 'general'),
            (7, 'Jamón de pierna', 7, 'kg', 120.00, 'exento')
        ) AS lista (residuo, nombre, categoria_id, unidad, piso, iva)
        WHERE residuo = n % 8
    ) AS base
ORDER BY n;
SELECT setval('catalogo.productos_id_seq', pg_temp.filas(1200) + 37);

INSERT INTO catalogo.precios_especiales (producto_id, tienda_id, precio, vigencia, motivo, cancelado)
SELECT
    1 + n % pg_temp.filas(1200),
    1 + n / pg_temp.filas(1200) % 8,
    9.90 + pg_temp.azar('oferta', n, 400) / 10.0,
    CASE n % 3
        WHEN 0 THEN daterange('2025-09-01', '2025-09-16', '[]')
        WHEN 1 THEN daterange('2025-12-01', NULL)
        ELSE daterange(date '2025-02-01' + n % 200, date '2025-02-15' + n % 200)
    END,
    pg_temp.uno_de('{Buen Fin,Día de Muertos,Fiestas patrias,NULL}', 'motivo', n),
    n % 17 = 0
FROM generate_series(0, 2 * pg_temp.filas(1200) - 1) AS n
ORDER BY n;

SELECT setval('catalogo.precios_especiales_id_seq', 1 + 5 * (2 * pg_temp.filas(1200) + 8));

-- Clientes ----------------------------------------------------------------------------------------------

INSERT INTO catalogo.clientes
    (nombre, apellidos, correo, telefono, rfc, nacimiento, domicilios, puntos, credito, preferencias, alta)
SELECT
    pg_temp.uno_de('{Lucía,José Ángel,Ximena,Iñaki,Concepción,Raúl,Zoé,Martín,Nicté-Ha,Álvaro}', 'cliente', n),
    CASE WHEN n % 50 = 0 THEN ''
        ELSE pg_temp.uno_de('{Zúñiga,Treviño,Ávila,Cabañas,Magaña,"D''Acosta",Ek,Briseño}', 'apellido', n) END,
    CASE WHEN n % 3 = 0 THEN 'cliente.' || n || '@correo.example' END,
    CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE '+52 55 ' || 10000000 + pg_temp.azar('tel', n, 89999999) END,
    -- Uno de cada cien viene mal del sistema viejo: por eso la revisión del RFC es NOT VALID.
    CASE WHEN n % 100 = 0 THEN 'SIN RFC'
        WHEN n % 5 = 0 THEN 'XAXX' || lpad((n % 1000000)::text, 6, '0') || 'AB' || n % 10 END,
    CASE WHEN n % 7 = 0 THEN NULL ELSE date '1945-01-01' + pg_temp.azar('nacio', n, 22000) END,
    CASE n % 6
        WHEN 0 THEN NULL
        WHEN 1 THEN '{}'
        ELSE ARRAY[ROW(
            'Calle ' || n % 90, n % 300, 'Col. "Año de Juárez"', lpad((n % 7000 * 13)::text, 5, '0'), 'Mérida',
            E'portón\\reja, ' || n
        )::catalogo.domicilio]
    END,
    pg_temp.azar('puntos', n, 5000),
    CASE WHEN n % 20 = 0 THEN pg_temp.azar('credito', n, 900000) / 100.0 ELSE 0 END,
    CASE n % 4
        WHEN 0 THEN NULL
        WHEN 1 THEN 'null'::jsonb
        WHEN 2 THEN '{}'::jsonb
        ELSE jsonb_build_object('aviso', n % 8 = 3, 'idioma', 'es-MX', '☕', n % 3)
    END,
    timestamptz '2019-03-01 09:00:00.123456-06' + pg_temp.azar('alta', n, 180000000) * interval '1 second'
FROM generate_series(1, pg_temp.filas(6000)) AS n
ORDER BY n;
-- Los últimos registros se borraron: la secuencia va más adelante que los datos.
SELECT setval('catalogo.clientes_id_seq', 1000 + pg_temp.filas(6000) + 250);
