"""A shop's database of about 300 MB as plain text, and medians of pairs: what the benchmarks of whole runs share."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

import psycopg

SALES = 1_200_000  # at scale 1; every other table's rows follow from it

_TABLES = """
CREATE TABLE clientes (id int PRIMARY KEY, nombre text NOT NULL, correo text NOT NULL, alta timestamptz NOT NULL);
CREATE TABLE productos (id int PRIMARY KEY, nombre text NOT NULL, precio numeric(10,2) NOT NULL,
                        atributos jsonb NOT NULL);
CREATE TABLE ventas (id bigint PRIMARY KEY, cliente int NOT NULL, fecha timestamptz NOT NULL,
                     total numeric(12,2) NOT NULL);
CREATE TABLE items (id bigint PRIMARY KEY, venta bigint NOT NULL, producto int NOT NULL, cantidad int NOT NULL,
                    precio numeric(10,2) NOT NULL);
CREATE TABLE pagos (id bigint PRIMARY KEY, venta bigint NOT NULL, medio text NOT NULL, monto numeric(12,2) NOT NULL);
CREATE TABLE notas (id int PRIMARY KEY, producto int NOT NULL, texto text NOT NULL);
"""
_ROWS = """
INSERT INTO clientes SELECT i, 'Cliente ' || i, md5(i::text) || '@correo.example',
    timestamptz '2020-01-01' + i * interval '7 minutes' FROM generate_series(1, {n} / 6) i;
INSERT INTO productos SELECT i, 'Producto ' || md5(i::text), 1 + i % 900 + 0.99,
    jsonb_build_object('color', i % 17, 'talla', i % 9, 'marca', md5((i % 500)::text))
    FROM generate_series(1, {n} / 24) i;
INSERT INTO ventas SELECT i, 1 + (i::bigint * 7919) % ({n} / 6), timestamptz '2024-01-01' + i * interval '40 seconds',
    10 + i % 5000 + 0.5 FROM generate_series(1, {n}) i;
INSERT INTO items SELECT i, 1 + (i / 2) % {n}, 1 + (i::bigint * 104729) % ({n} / 24), 1 + i % 5, 1 + i % 900 + 0.99
    FROM generate_series(1, {n} * 2) i;
INSERT INTO pagos SELECT i, 1 + (i::bigint * 31) % {n}, (ARRAY['efectivo','tarjeta','transferencia'])[1 + i % 3],
    10 + i % 5000 + 0.5 FROM generate_series(1, {n} * 3 / 4) i;
INSERT INTO notas SELECT i, 1 + i % ({n} / 24), 'entrega ' || md5(i::text) || ' puerta ' || i % 300 || ' '
    || md5((i * 3)::text) || ' gracias' FROM generate_series(1, {n} / 12) i;
"""
_KEYS = """
CREATE INDEX ON ventas (cliente);
CREATE INDEX ON ventas (fecha);
CREATE INDEX ON items (venta);
CREATE INDEX ON items (producto);
CREATE INDEX ON pagos (venta);
CREATE UNIQUE INDEX ON clientes (correo);
CREATE INDEX ON productos USING gin (atributos);
CREATE INDEX ON notas USING gin (to_tsvector('simple', texto));
ALTER TABLE ventas ADD FOREIGN KEY (cliente) REFERENCES clientes;
ALTER TABLE items ADD FOREIGN KEY (venta) REFERENCES ventas;
ALTER TABLE items ADD FOREIGN KEY (producto) REFERENCES productos;
ALTER TABLE pagos ADD FOREIGN KEY (venta) REFERENCES ventas;
ALTER TABLE notas ADD FOREIGN KEY (producto) REFERENCES productos;
"""


def fill(dsn: str, *, scale: float) -> int:
    """Make the tables; how many rows they have. Eight indexes beside the keys, two of them GIN, five foreign keys."""
    sales = max(240, int(SALES * scale)) // 24 * 24
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_TABLES.encode())
        connection.execute(_ROWS.format(n=sales).encode())
        connection.execute(_KEYS.encode())
        connection.execute("VACUUM ANALYZE")
        tables = ("clientes", "productos", "ventas", "items", "pagos", "notas")
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
    return sum(row[0] for row in counts if row)


def time_in_turn(sides: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Wall seconds of each side, in turn A B C A B C …, so that a machine that slows down slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def print_ratios(seconds: Mapping[str, list[float]], *, against: list[str]) -> None:
    """A row a side: median, least and most seconds, and the median of its pairwise ratios to other sides."""
    width = max(map(len, seconds))
    heads = "".join(f"{'/ ' + name:>{len(name) + 5}}" for name in against)
    print(f"{'seconds':{width}}{'median':>9}{'min':>8}{'max':>8}{heads}")
    for name, own in seconds.items():
        cells = ""
        for other in against:
            pairs = [a / b for a, b in zip(own, seconds[other], strict=True)]
            cells += f"{statistics.median(pairs):>{len(other) + 5}.2f}"
        print(f"{name:{width}}{statistics.median(own):9.2f}{min(own):8.2f}{max(own):8.2f}{cells}")


def describe_machine() -> str:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} processors, {pages / 2**30:.0f} GiB of memory, load {load:.1f} at the start"
