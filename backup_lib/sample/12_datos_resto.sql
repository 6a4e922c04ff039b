-- Existencias, movimientos, soporte, bitácora y el sistema viejo.

INSERT INTO inventario.existencias (tienda_id, producto_id, cantidad, apartado, minimo, anaquel, contado_el)
SELECT
    tienda,
    producto,
    pg_temp.azar('existencia', tienda * 100000 + producto, 500000) / 1000.0,
    CASE WHEN producto % 9 = 0 THEN 1.5 ELSE 0 END,
    5 + producto % 4,
    CASE WHEN producto % 13 <> 0 THEN chr(65 + producto % 26) || '-' || tienda END,
    CASE producto % 31 WHEN 0 THEN '-infinity' ELSE date '2025-11-01' + producto % 60 END
FROM generate_series(1, 8) AS tienda, generate_series(1, pg_temp.filas(1200)) AS producto
ORDER BY tienda, producto;

INSERT INTO inventario.movimientos (id, producto_id, tienda_id, tipo, cantidad, costo_promedio, ocurrido_en, detalle)
SELECT
    1 + (n - 1) * 3,
    1 + pg_temp.azar('movido', n, pg_temp.filas(1200)),
    1 + n % 8,
    pg_temp.uno_de('{compra,venta,venta,traspaso,merma,ajuste}', 'tipo', n)::inventario.tipo_movimiento,
    (pg_temp.azar('movidos', n, 40000) - 20000) / 1000.0,
    CASE n % 40 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN NULL ELSE round(n / 7.0, 10) END,
    timestamp '2025-01-01 06:00:00' + n * interval '31 minutes',
    CASE WHEN n % 8 = 0 THEN
        jsonb_build_object('de', n % 8 + 1, 'a', (n + 3) % 8 + 1, 'motivo', E'piñata rota\t"caída"')
    END
FROM generate_series(1, pg_temp.filas(16000)) AS n
ORDER BY n;
SELECT setval('inventario.movimiento_id', 1 + 3 * (pg_temp.filas(16000) + 99));

-- Soporte: aparatos, lecturas y recados -----------------------------------------------------------------

INSERT INTO soporte.equipos (id, tienda_id, serie, ip, red, mac, banderas, instalado, garantia)
SELECT md5('equipo' || n)::uuid, 1 + n % 8, 'TPV-' || n, inet '192.168.10.0/24' + n, '192.168.10.0/24',
    ('08:00:2b:01:02:' || lpad(to_hex(n), 2, '0'))::macaddr, (n % 16)::bit(4), date '2020-01-01' + n * 30, interval '3 years'
FROM generate_series(1, 24) AS n;

INSERT INTO soporte.impresoras (id, tienda_id, serie, ip, red, mac, instalado, garantia, papel_mm)
SELECT md5('impresora' || n)::uuid, 1 + n % 8, 'IMP-' || n, NULL, NULL, NULL, date '2021-06-15' + n,
    interval '1 year 2 mons 3 days 04:05:06.789', CASE WHEN n % 3 = 0 THEN 58 ELSE 80 END
FROM generate_series(1, 16) AS n;

INSERT INTO soporte.basculas (id, tienda_id, serie, ip, red, mac, instalado, garantia, alcance, calibrada_en)
SELECT md5('báscula' || n)::uuid, 1 + n, 'BÁS-' || n, inet 'fe80::1' + n, 'fe80::/10', 'ff:ff:ff:00:00:00', 'infinity',
    interval '1 year 6 mons', numrange(0.005, CASE WHEN n % 2 = 0 THEN 30 END, '(]'),
    CASE WHEN n = 7 THEN '-infinity' ELSE timestamptz '2025-03-04 05:06:07.000001-06' END
FROM generate_series(0, 7) AS n;

INSERT INTO soporte.lecturas (equipo_id, leida_en, temperatura, voltaje, peso, encendido, trama)
SELECT
    md5('equipo' || 1 + n % 24)::uuid,
    timestamptz '2025-06-01 00:00:00-06' + n * interval '7 minutes 0.5 seconds',
    CASE n % 60
        WHEN 0 THEN 'NaN'
        WHEN 1 THEN 'Infinity'
        WHEN 2 THEN '-Infinity'
        WHEN 3 THEN '-0'
        WHEN 4 THEN NULL
        ELSE 20 + pg_temp.azar('grados', n, 100000) / 7919::double precision
    END,
    117 + pg_temp.azar('volts', n, 2000) / 300::real,
    CASE n % 70 WHEN 0 THEN 'NaN' ELSE pg_temp.azar('peso', n, 30000) / 1000.0 END,
    make_interval(days => n % 90, secs => n % 86400 + 0.25),
    CASE n % 5
        WHEN 0 THEN NULL
        WHEN 1 THEN '\x'::bytea
        ELSE decode(substr(md5('trama' || n), 1, 2 * (n % 16)) || '5c2e0a09', 'hex')
    END
FROM generate_series(1, pg_temp.filas(4000)) AS n
ORDER BY n;

INSERT INTO soporte.recados (asunto, texto, adjunto, escrito_en, busqueda)
SELECT asunto, texto, adjunto, timestamptz '2025-08-01 10:00:00-06' + n * interval '1 hour',
    -- Del asunto y no del texto: si un emoji es palabra o no, depende del locale de la base.
    to_tsvector('catalogo.espanol', coalesce(asunto, ''))
FROM (VALUES
    (1, 'Fin de archivo', E'Lo que sigue es texto, no el fin de los datos:\n\\.\ny aquí continúa', NULL),
    (2, 'Nulos', '\N', 730003::oid),
    (3, '', NULL, NULL),
    (4, NULL, '', 730004),
    (5, 'Tabuladores', E'uno\tdos\t\ttres\\tcuatro\r\nfin de renglón de Windows\x0b\f\b', NULL),
    (6, 'Comandos',
        E'\\! echo hola\n\\connect otra\n-- Name: falsa; Type: TABLE; Schema: public; Owner: nadie\nCOPY falsa FROM stdin;\n', NULL),
    (7, 'Comillas', $x$'simples' "dobles" `invertidas` $$pesos$$ E'\\' ; -- comentario /* y otro */$x$, NULL),
    (8, 'Unicode', E'Ñandú, pingüino, ½ kilo, 👩🏽‍🍳, e\u0301 no es é, \u00a0espacio duro', NULL),
    (9, 'Largo', repeat('abarrotes ', 20000), NULL),
    (10, 'Incompresible', (SELECT string_agg(md5('recado' || i), '' ORDER BY i) FROM generate_series(1, 3000) AS i), NULL)
) AS recado (n, asunto, texto, adjunto);
SELECT setval('soporte.recados_id_seq', 42);

-- Bitácora ----------------------------------------------------------------------------------------------

INSERT INTO auditoria.bitacora (id, ocurrido_en, tabla, operacion, usuario, origen, antes, despues)
SELECT
    n,
    timestamptz '2025-01-01 00:00:00-06' + n * (interval '31500000 seconds' / pg_temp.filas(6000)),
    pg_temp.uno_de('{catalogo.productos,catalogo.clientes,ventas.ventas}', 'tabla', n),
    pg_temp.uno_de('{I,U,D}', 'operacion', n)::"char",
    pg_temp.uno_de('{pos_cajero,pos_gerente,"pos_Supervisión; turno \"A\""}', 'usuario', n),
    CASE WHEN n % 4 <> 0 THEN inet '10.1.0.0/16' + n END,
    CASE WHEN pg_temp.azar('operacion', n, 3) > 0 THEN jsonb_build_object('id', n, 'precio', n % 900 + 0.90) END,
    CASE WHEN pg_temp.azar('operacion', n, 3) < 2 THEN
        jsonb_build_object('id', n, 'precio', n % 900 + 1.90, 'nota', NULL)
    END
FROM generate_series(1, pg_temp.filas(6000)) AS n
ORDER BY n;
SELECT setval('auditoria.bitacora_id', pg_temp.filas(6000) + 1000);

-- Sistema viejo -----------------------------------------------------------------------------------------

INSERT INTO "Sistema viejo; 1998"."Artículos y Precios"
SELECT n, 'Artículo nº ' || n, n + 0.95, CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END
FROM generate_series(1, 90) AS n;

INSERT INTO "Sistema viejo; 1998"."Pedidos ""urgentes"""
SELECT n, 1990 + n % 9, 'C:\POS\datos\' || n || E'.dbf\x1a', CASE WHEN n % 2 = 0 THEN '''' || n || '''' END
FROM generate_series(1, 40) AS n;
-- Sin llave primaria, y con un renglón repetido tal cual.
INSERT INTO "Sistema viejo; 1998"."Pedidos ""urgentes"""
SELECT * FROM "Sistema viejo; 1998"."Pedidos ""urgentes""" WHERE "select" = 7;

INSERT INTO "Sistema viejo; 1998"."☕ Cafetería" (bebida, tamaño)
VALUES ('café de olla', 'G'), ('champurrado', 'Ñ'), ('té de manzanilla', ' ');
SELECT setval('"Sistema viejo; 1998"."☕ Cafetería_🧾_seq"', 1999);

INSERT INTO "Sistema viejo; 1998".existencias_contadas_a_mano_en_el_inventario_de_diciembre_de_98
SELECT n, CASE WHEN n % 8 <> 0 THEN n * 3 % 50 END, NULLIF(repeat('x', n % 4), '') FROM generate_series(1, 90) AS n;
