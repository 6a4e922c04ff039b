-- Un año de tickets: primero los renglones, y de ellos salen los totales y los pagos, para que todo cuadre.

CREATE TEMPORARY TABLE renglon ON COMMIT DROP AS
SELECT
    n AS venta_id,
    -- Los tres primeros son de una prueba anterior al primer mes abierto.
    CASE WHEN n <= 3 THEN date '2024-12-30'
        ELSE date '2025-01-01' + (n::bigint * 365 / (pg_temp.filas(46000) + 1))::integer END AS fecha,
    r AS renglon,
    p.id AS producto_id,
    CASE WHEN p.a_granel THEN 0.100 + pg_temp.azar('granel', n * 10 + r, 3000) / 1000.0
         ELSE 1 + pg_temp.azar('piezas', n * 10 + r, 4) END::numeric(10, 3) AS cantidad,
    p.precio AS precio_unitario,
    CASE WHEN pg_temp.azar('promo', n * 10 + r, 10) = 0 THEN 12.5 ELSE 0 END AS descuento,
    catalogo.porcentaje_iva(p.iva) AS tasa
FROM generate_series(1, pg_temp.filas(46000)) AS n
    CROSS JOIN generate_series(1, 1 + pg_temp.azar('renglones', n, 5)) AS r
    JOIN catalogo.productos AS p ON p.id = 1 + pg_temp.azar('producto', n * 10 + r, pg_temp.filas(1200));

INSERT INTO ventas.partidas (fecha, venta_id, renglon, producto_id, cantidad, precio_unitario, descuento)
SELECT fecha, venta_id, renglon, producto_id, cantidad, precio_unitario, descuento
FROM pg_temp.renglon
ORDER BY venta_id, renglon;

INSERT INTO ventas.ventas
    (id, fecha, tienda_id, caja, cajero_id, cliente_id, vendida_en, estado, canal, subtotal, iva, notas)
SELECT
    n,
    fecha,
    tienda_id,
    1 + pg_temp.azar('caja', n, 3),
    tienda_id + 8 * (2 + pg_temp.azar('cajero', n, 12)),
    CASE WHEN n % 4 = 0 THEN 1000 + pg_temp.azar('quien', n, pg_temp.filas(6000)) END,
    -- La hora local de la tienda, en tiempo del centro.
    (fecha + time '08:00' + pg_temp.azar('hora', n, 46000) * interval '1 second') AT TIME ZONE interval '-06:00',
    (CASE WHEN n % 97 = 0 THEN 'cancelada' WHEN n % 103 = 0 THEN 'en espera' ELSE 'cobrada' END)::ventas.estado_venta,
    CASE n % 10 WHEN 1 THEN 'teléfono' WHEN 2 THEN 'en línea' ELSE 'mostrador' END,
    importe - iva,
    iva,
    CASE n % 500
        WHEN 1 THEN ''
        WHEN 2 THEN E'Entregar "atrás"\n\ttocar fuerte \\ no hay timbre\n\\.\nGracias'
        WHEN 3 THEN '\N no es nulo'
        WHEN 4 THEN 'Pagó con billete roto; 100% real 🧾'
    END
FROM (
    SELECT venta_id AS n, fecha, 1 + pg_temp.azar('tienda', venta_id, 8) AS tienda_id,
        sum(importe) AS importe, sum(round(importe * tasa / (100 + tasa), 2)) AS iva
    FROM pg_temp.renglon, LATERAL (SELECT round(cantidad * precio_unitario * (1 - descuento / 100), 2) AS importe) AS i
    GROUP BY venta_id, fecha
) AS ticket
ORDER BY n;
SELECT setval('ventas.venta_id', pg_temp.filas(46000) + 20);

-- Uno de cada doce se paga la mitad en efectivo y la otra con otro medio.
INSERT INTO ventas.pagos (id, medio, fecha, venta_id, importe, recibido, autorizacion, datos)
SELECT
    row_number() OVER (ORDER BY venta.id, parte),
    medio,
    fecha,
    venta.id,
    importe,
    CASE WHEN medio = 'efectivo' THEN ceil(importe / 50) * 50 END,
    CASE WHEN medio IN ('tarjeta', 'transferencia') THEN upper(substr(md5('aut' || venta.id), 1, 6)) END,
    CASE medio
        WHEN 'tarjeta' THEN jsonb_build_object('terminal', format('T-%s', venta.id % 40), 'meses', NULLIF(venta.id % 4, 0))
        WHEN 'puntos' THEN '{"canje": true}'
    END
FROM ventas.ventas AS venta,
    generate_series(0, CASE WHEN venta.id % 12 = 5 THEN 1 ELSE 0 END) AS parte,
    LATERAL (
        SELECT CASE
                WHEN venta.id % 12 <> 5 THEN total
                WHEN parte = 0 THEN round(total / 2, 2)
                ELSE total - round(total / 2, 2)
            END AS importe,
            CASE
                WHEN venta.id % 12 = 5 AND parte = 0 THEN 'efectivo'
                WHEN venta.id % 12 = 5 THEN 'tarjeta'
                ELSE pg_temp.uno_de(
                    '{efectivo,efectivo,efectivo,tarjeta,tarjeta,transferencia,vale de despensa,puntos}', 'medio', venta.id)
            END::ventas.medio_pago AS medio
    ) AS pago
WHERE estado = 'cobrada'
ORDER BY 1;
SELECT setval('ventas.pago_id', 2 * pg_temp.filas(46000));

INSERT INTO ventas.cortes_caja (tienda_id, caja, turno, contado, esperado, denominaciones)
SELECT
    1 + n % 8,
    1 + n / 8 % 3,
    tstzrange(inicio, inicio + interval '8 hours'),
    1000 + pg_temp.azar('contado', n, 900000) / 100.0,
    1000 + pg_temp.azar('contado', n, 900000) / 100.0 - (n % 7 - 3) * CASE WHEN n % 5 = 0 THEN 0.5 ELSE 0 END,
    CASE WHEN n % 6 <> 0 THEN ARRAY[ARRAY[500, n % 9], ARRAY[200, n % 7], ARRAY[50, n % 30]] END
FROM generate_series(0, pg_temp.filas(1000) - 1) AS n,
    LATERAL (SELECT timestamptz '2025-01-01 07:00:00-06' + n / 24 * interval '24 hours' AS inicio) AS dia
ORDER BY n;
SELECT setval('ventas.cortes_caja_id_seq', pg_temp.filas(1000) + 12);

INSERT INTO ventas.carritos (id, cliente_id, contenido, visto_desde, caduca)
SELECT
    md5('carrito' || n)::uuid,
    CASE WHEN n % 2 = 0 THEN 1000 + n END,
    jsonb_build_array(jsonb_build_object('producto', 1 + n % 40, 'piezas', n % 5 + 1)),
    CASE WHEN n % 3 = 0 THEN inet '2001:db8::1' + n ELSE inet '10.0.0.0/8' + n END,
    CASE WHEN n % 25 = 0 THEN 'infinity' ELSE timestamptz '2025-12-31 23:00:00-06' + n * interval '1 minute' END
FROM generate_series(1, pg_temp.filas(300)) AS n
ORDER BY n;

SELECT setval('ventas.folio_factura', 98765);
