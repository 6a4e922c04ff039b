"""Does a drill's time grow in proportion to bytes and to tables? Tables times sizes, as a table and a plot.

python benchmarks/bench_scale.py [--svg FILE] [tables,tables,…] [MB,MB,…]      default 1,10,100 and 1,10,100 MB in all

Each has a key and one index a table. The sizes are of all tables together.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import psycopg
from workload import describe_machine

from backup_lib.backup import make_backup
from backup_lib.catalog import resolve
from backup_lib.servers import server_for, start_server
from verification.drill import Drill, Plan
from verification.sandbox.embedded import processors

_ROW_BYTES = 100


def _fill(dsn: str, tables: int, megabytes: float) -> None:
    rows = max(1, int(megabytes * 1e6 / tables / _ROW_BYTES))
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(tables):
            connection.execute(
                f"CREATE TABLE t{number} AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS text, "
                f"i % 97 AS kind, now() AS at FROM generate_series(1, {rows}) i".encode()
            )
            connection.execute(f"ALTER TABLE t{number} ADD PRIMARY KEY (id); CREATE INDEX ON t{number} (kind)".encode())


def _drill(path: Path) -> tuple[float, float, float]:
    """Seconds of the whole, of them until it answered, and of the server's start."""
    (found,) = resolve([str(path)], path.parent)
    with Drill(found, path, Plan(sandbox="embedded", jobs=processors()), drill_id="bench") as drill:
        judged = drill.judge_all()
    assert not [f for one in judged for f in one.findings if f.status in ("fault", "gap")]
    drill.close()
    phases = drill.phases.records()
    whole = max((p.began_s or 0.0) + p.seconds for p in phases)
    assert drill.rto_s is not None
    return whole, drill.rto_s, drill.phases.seconds("server start")


def render_svg(points: dict[int, list[tuple[float, float]]]) -> str:
    """Seconds over megabytes, both logarithmic, a line for each number of tables."""
    width, height, margin = 640, 400, 60
    xs = [math.log10(x) for line in points.values() for x, _ in line]
    ys = [math.log10(y) for line in points.values() for _, y in line]
    low_x, high_x, low_y, high_y = math.floor(min(xs)), math.ceil(max(xs)), math.floor(min(ys)), math.ceil(max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / (high_x - low_x or 1)
        up = (math.log10(y) - low_y) / (high_y - low_y or 1)
        return margin + across * (width - 2 * margin), height - margin - up * (height - 2 * margin)

    def write(x: float, y: float, text: str, *, anchor: str = "middle", more: str = "") -> str:
        return f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" text-anchor="{anchor}" {more}>{text}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        write(width / 2, height - 12, "megabytes of rows, all tables together"),
        write(14, height / 2, "seconds of a whole drill", more=f'transform="rotate(-90 14 {height / 2:.0f})"'),
    ]
    for power in range(low_x, high_x + 1):
        x, y = place(10.0**power, 10.0**low_y)
        parts += [f'<path d="M{x:.0f} {margin}V{y:.0f}" stroke="#ddd"/>', write(x, y + 16, f"{10.0**power:g}")]
    for power in range(low_y, high_y + 1):
        x, y = place(10.0**low_x, 10.0**power)
        parts.append(f'<path d="M{x:.0f} {y:.0f}H{width - margin}" stroke="#ddd"/>')
        parts.append(write(x - 6, y + 4, f"{10.0**power:g}", anchor="end"))
    for (tables, line), colour in zip(points.items(), ("#1b6ca8", "#c4572a", "#3b8f4f", "#7a4fa3"), strict=False):
        placed = [place(*point) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        y = margin + 18 * (list(points).index(tables) + 1)
        name = f"{tables:,} table{'s' if tables > 1 else ''}"
        parts.append(write(margin + 12, y, name, anchor="start", more=f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    words = sys.argv[1:]
    svg = Path(words.pop(1)) if words[:1] == ["--svg"] else None
    words = words[1:] if svg else words
    tables = [int(word) for word in (words[0] if words else "1,10,100").split(",")]
    sizes = [float(word) for word in (words[1] if len(words) > 1 else "1,10,100").split(",")]
    programs = server_for(15)
    assert programs is not None, "run: pgdrill install-server 15"
    print(describe_machine(), "·", programs.label)
    print(f"{'tables':>7}{'MB':>8}{'drill s':>9}{'until it answers':>18}{'start':>7}{'MB/s':>8}{'ms a table':>12}")
    points: dict[int, list[tuple[float, float]]] = {}
    for count in tables:
        for size in sizes:
            with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
                with start_server(programs) as source:
                    _fill(source.conninfo("postgres"), count, size)
                    path = make_backup(source.conninfo("postgres"), Path(folder)).path
                assert path is not None
                whole, answers, start = min(_drill(path) for _ in range(2))
            points.setdefault(count, []).append((size, whole))
            rest = whole - start
            lead = f"{count:7,}{size:8g}{whole:9.2f}{answers:18.2f}{start:7.2f}"
            print(f"{lead}{size / rest:8.1f}{rest * 1000 / count:12.1f}", flush=True)
    if svg:
        svg.write_text(render_svg(points))


if __name__ == "__main__":
    main()
