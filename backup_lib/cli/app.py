"""The commands."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Back up PostgreSQL, restore every archive into a throwaway server, and prove it equal.",
    epilog="Exit status: 0 ok; 1 verification failed; 2 usage or configuration; 3 could not be carried out; "
    "4 data fine, objective missed; 10 no such archive; 11 locked; 12 wrong key; 70 a bug in pgdrill; 130 interrupted.",
)
Dsn = Annotated[str | None, typer.Option(help="The database; default DATABASE_URL, POSTGRES_* or PG* variables.")]
Place = Annotated[Path | None, typer.Option("--backups", help="Where archives lie; default BACKUP_DIR or ./backups.")]
AsJson = Annotated[bool, typer.Option("--json", help="Data on stdout, as JSON.")]


def _place(given: Path | None) -> Path:
    return given or Path(os.environ.get("BACKUP_DIR") or "backups")


def _dsn(given: str | None) -> str:
    from backup_lib.dsn import dsn_from_environment

    return given or dsn_from_environment(os.environ)


@app.command()
def backup(
    dsn: Dsn = None,
    to: Annotated[Path | None, typer.Option(help="Folder; default BACKUP_DIR or ./backups.")] = None,
    kind: Annotated[str, typer.Option(help="full, schema or data.")] = "full",
    format: Annotated[str, typer.Option(help="plain, custom, directory or tar.")] = "plain",
    compress: Annotated[str | None, typer.Option(help="gzip (default), zstd or none.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only these tables; repeatable, globs.")] = None,
    schema: Annotated[list[str] | None, typer.Option(help="Only these schemas; repeatable, globs.")] = None,
    exclude_table: Annotated[list[str] | None, typer.Option(help="Not these tables; repeatable, globs.")] = None,
    create: Annotated[bool, typer.Option(help="The archive drops and makes its database itself.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a backup with its manifest."""
    from backup_lib.backup import make_backup

    result = make_backup(
        _dsn(dsn),
        _place(to),
        kind=_one_of("--kind", kind, ("full", "schema", "data")),
        format=_one_of("--format", format, ("plain", "custom", "directory", "tar")),
        compression=_one_of("--compress", compress, ("gzip", "zstd", "none")) if compress else None,
        tables=table or (),
        schemas=schema or (),
        exclude_tables=exclude_table or (),
        create=create,
    )
    facts = result.manifest.archive
    size, digest = (facts.size_bytes, facts.sha256) if facts is not None else (0, "")
    if as_json:
        out = {"name": result.name, "place": result.store.location, "size_bytes": size, "sha256": digest}
        typer.echo(json.dumps({**out, "seconds": round(result.seconds, 3), "warnings": result.warnings}))
        return
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    rows = sum(t.rows for t in result.manifest.inventory.tables) if result.manifest.inventory else 0
    typer.echo(f"{result.name}  {size:,} bytes  {rows:,} rows  {result.seconds:.1f} s  sha256:{digest}")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> Any:
    from backup_lib.errors import UsageError

    if value not in allowed:
        raise UsageError(f"{option} {value} is none of {', '.join(allowed)}", hint=f"take {option} {allowed[0]}")
    return value


@app.command()
def manifest(
    out: Annotated[Path, typer.Option(help="The file to write, beside the archive: ARCHIVE.manifest.json.")],
    dsn: Dsn = None,
    snapshot: Annotated[str | None, typer.Option(help="What pg_export_snapshot() gave; shared with pg_dump.")] = None,
) -> None:
    """Record what an archive that somebody else makes must contain."""
    from backup_lib.backup import record_manifest
    from backup_lib.manifest import render_manifest

    data = render_manifest(record_manifest(_dsn(dsn), snapshot=snapshot))
    with tempfile.NamedTemporaryFile(dir=out.resolve().parent, delete=False) as file:  # 0600
        file.write(data)
        os.fsync(file.fileno())
    Path(file.name).rename(out)
    typer.echo(f"{out}  {len(data):,} bytes")


@app.command("list")
def list_(backups: Place = None, as_json: AsJson = False) -> None:
    """List archives, the newest first."""
    from backup_lib.catalog import list_archives

    found = list_archives(_place(backups))
    if as_json:
        rows = [
            {"name": f.name, "size_bytes": f.size_bytes, "taken_at": f.taken_at.isoformat(), "manifest": f.has_manifest}
            for f in found
        ]
        typer.echo(json.dumps(rows))
        return
    for f in found:
        proof = "" if f.has_manifest else "  no manifest"
        typer.echo(f"{f.taken_at:%Y-%m-%d %H:%M:%S} UTC  {f.size_bytes:>14,}  {f.name}{proof}")


@app.command()
def verify(
    archives: Annotated[list[str] | None, typer.Argument(help="latest (default), a name, glob, path, all …")] = None,
    backups: Place = None,
    sandbox: Annotated[str, typer.Option(help="auto, container or embedded.")] = "auto",
    postgres_image: Annotated[str | None, typer.Option(help="Default postgres:<major of the archive>.")] = None,
    expect: Annotated[str | None, typer.Option(help="full, schema, data, or TABLE,…")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Of an archive that has none beside it.")] = None,
    level: Annotated[str, typer.Option(help="integrity, restore or full.")] = "full",
    jobs: Annotated[int | None, typer.Option(help="Connections that restore; default one a processor.")] = None,
    rto: Annotated[float | None, typer.Option(help="Recovery time objective, seconds.")] = None,
    rpo: Annotated[float | None, typer.Option(help="Recovery point objective, seconds.")] = None,
    reports: Annotated[Path, typer.Option(help="Where records go.")] = Path("reports"),
) -> None:
    """Restore archives and prove them equal: `pytest verification/`, run for you."""
    given = {
        "sandbox": _one_of("--sandbox", sandbox, ("auto", "container", "embedded")),
        "level": _one_of("--level", level, ("integrity", "restore", "full")),
        "postgres-image": postgres_image,
        "expect": expect,
        "manifest": manifest,
        "jobs": jobs,
        "rto": rto,
        "rpo": rpo,
        "reports": reports,
    }
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    raise typer.Exit(_verify(archives or ["latest"], _place(backups), options))


def _verify(archives: list[str], place: Path, options: list[str]) -> int:
    """The exit status of `pgdrill verify`, from what the suite says of each archive."""
    import sys

    from backup_lib.catalog import resolve
    from backup_lib.process import passthrough

    resolve(archives, place)  # so that a wrong name is one clear sentence, and not pytest's
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "verdicts.json"
        argv = [sys.executable, "-m", "pytest", "--pyargs", "verification", "-q", "-p", "no:cacheprovider"]
        argv += [f"--backups={place}", *(f"--archive={name}" for name in archives), *options]
        status = passthrough(argv, env={"PGDRILL_VERDICTS": str(told)})
        if not told.is_file():
            return {2: 130, 4: 2}.get(status, 70)
        outcome = json.loads(told.read_text())
    drills = outcome["drills"].values()
    if len(drills) < len(outcome["expected"]):
        return 130 if status == 2 else 3
    records = [json.loads((Path(drill["folder"]) / "record.json").read_text()) for drill in drills]
    return max((_status_of(record) for record in records), key=(0, 4, 3, 1).index, default=3) or min(status, 1)


def _status_of(record: dict[str, Any]) -> int:
    if record["verdict"] == "verified":
        return 0
    causes = {f["cause"] for f in record["findings"] if f["status"] in ("fault", "gap")}
    if causes == {"policy"}:
        return 4
    return 1 if record["verdict"] == "failed" else 3


@app.command()
def drill(
    backups: Place = None, reports: Annotated[Path, typer.Option(help="Where records go.")] = Path("reports")
) -> None:
    """Back up DATABASE_URL, or a sample shop in a server of its own, and verify the backup."""
    place = _place(backups)
    if os.environ.get("DATABASE_URL"):
        _back_up(_dsn(None), place)
    else:
        _with_sample(lambda dsn: _back_up(dsn, place))
    raise typer.Exit(_verify(["latest"], place, [f"--reports={reports}"]))


@app.command()
def demo(folder: Annotated[Path | None, typer.Option(help="Default: a new temporary folder.")] = None) -> None:
    """Back up and verify a sample shop, then damage a copy of the archive and show that it is caught."""
    import shutil

    place = folder or Path(tempfile.mkdtemp(prefix="pgdrill-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    _with_sample(lambda dsn: names.append(_back_up(dsn, place / "backups")))
    reports = [f"--reports={place / 'reports'}"]
    good = _verify([names[0]], place / "backups", reports)
    damaged = place / "damaged"
    damaged.mkdir(mode=0o700, exist_ok=True)
    for name in (names[0], names[0] + ".manifest.json"):
        shutil.copy2(place / "backups" / name, damaged / name)
    data = bytearray((damaged / names[0]).read_bytes())
    data[len(data) // 2] ^= 1
    (damaged / names[0]).write_bytes(data)
    typer.echo("\nOne bit of a copy is flipped now; it must be caught:\n")
    caught = _verify([names[0]], damaged, reports)
    typer.echo(f"\nundamaged: {'verified' if good == 0 else 'NOT VERIFIED'}; damaged copy: "
               f"{'caught' if caught == 1 else 'NOT CAUGHT'}; everything is in {place}")  # fmt: skip
    raise typer.Exit(0 if (good, caught) == (0, 1) else 1)


def _back_up(dsn: str, place: Path) -> str:
    from backup_lib.backup import make_backup

    result = make_backup(dsn, place)
    typer.echo(f"backup: {result.name} in {place}, {result.seconds:.1f} s")
    return result.name


def _with_sample(use: Callable[[str], object]) -> None:
    from backup_lib import sample
    from backup_lib.errors import ServerError
    from backup_lib.servers import find_programs, start_server

    programs = [p for p in find_programs() if p.has_server and p.has_client]
    if not programs:
        raise ServerError("no PostgreSQL server programs on this machine", hint="run: pgdrill install-server 18")
    with start_server(programs[-1]) as server:
        typer.echo(f"sample: PostgreSQL {server.programs.version}, filling the database {sample.DATABASE} …")
        facts = sample.create(server.conninfo())
        typer.echo(f"sample: {facts.rows:,} rows in {facts.tables} tables, {facts.seconds:.1f} s")
        use(server.conninfo(sample.DATABASE))


@app.command()
def doctor(backups: Place = None) -> None:
    """Show what this machine can drill, and the command that brings what is missing."""
    import shutil
    import sys

    from backup_lib.process import run
    from backup_lib.server_programs import find_programs

    programs = find_programs()
    for major in range(14, 19):
        have = [p for p in programs if p.major == major]
        for p in have:
            typer.echo(
                f"ok       PostgreSQL {p.version:<7} {p.origin:<8} server {p.has_server}, clients {p.has_client}"
            )
        if not have:
            typer.echo(f"missing  PostgreSQL {major}: run: pgdrill install-server {major}")
    engine = run([sys.executable, "-m", "verification.doctor"], check=False)
    typer.echo(engine.text.rstrip() or f"missing  container engine: {engine.stderr.strip()[-200:]}")
    place = _place(backups)
    if place.is_dir():
        wider = place.stat().st_mode & 0o077
        typer.echo(f"{'wide     chmod 700' if wider else 'ok      '} {place}")
    free = shutil.disk_usage(place if place.is_dir() else Path.cwd()).free >> 30
    typer.echo(f"{'ok      ' if free >= 1 else 'low     '} {free} GiB free for archives")
    raise typer.Exit(0 if any(p.has_server for p in programs) or engine.text.startswith("ok") else 3)


@app.command("install-server")
def install_server_(major: Annotated[int, typer.Argument(help="14 to 18.")]) -> None:
    """Fetch PostgreSQL server programs of a major into this user's cache."""
    from backup_lib.install_server import install_server

    programs = install_server(major, progress=lambda line: typer.echo(line, err=True))
    typer.echo(f"PostgreSQL {programs.version} in {programs.bin_dir}")
