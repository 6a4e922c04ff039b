"""Several hundred damaged archives and some healthy ones: what a drill finds, beside what is often done instead.

python benchmarks/bench_detection.py [major] [seed] [share] [jobs]

`share`: of the damaged archives, the part that is tried (1: all). The corpus is made on the spot, from a database with one
of each kind of object. Three others look at the same files: `gunzip -t` or `zstd -t`; `pg_restore --list`; and a strict
restore into an empty database (`psql -v ON_ERROR_STOP=1`, `pg_restore --exit-on-error`), by its exit status.
"""

from __future__ import annotations

import gzip
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec
import psycopg
from workload import describe_machine

from backup_lib import source
from backup_lib.backup import make_backup, record_manifest
from backup_lib.catalog import resolve
from backup_lib.dump_text import detect_archive
from backup_lib.encryption import NO_KEYS, Keys, Lock
from backup_lib.manifest import SUFFIX, Manifest, render_manifest
from backup_lib.server_programs import Programs
from backup_lib.servers import Server, server_for, start_server
from verification.copies import Copy, another_archive, copy_of_bytes, copy_of_text, whole_text
from verification.damage.kinds import STORED, TEXT
from verification.drill import Drill, Plan
from verification.finding import Finding
from verification.sandbox.choice import Chosen, open_sandbox
from verification.shared_server import SharedServer

TESTS = Path(__file__).parents[1] / "tests" / "postgres"
sys.path.insert(0, str(TESTS))
from random_changes import changes  # noqa: E402 - the tests' own fault maker

PASSPHRASE = "correct horse battery staple"  # noqa: S105
KEYS = Keys(passphrase=PASSPHRASE)
FORMS: dict[str, dict[str, object]] = {
    ".sql": {"compression": "none"},
    ".sql.gz": {},
    ".sql.zst": {"compression": "zstd"},
    "custom": {"format": "custom"},
    "directory": {"format": "directory"},
    "tar": {"format": "tar"},
    ".sql.gz.age": {"lock": Lock(passphrase=PASSPHRASE), "keys": KEYS},
    "custom.age": {"format": "custom", "lock": Lock(passphrase=PASSPHRASE), "keys": KEYS},
}
LEFT_OUT = (
    "--exclude-table=public.cliente", "--exclude-table-data=public.cliente", "--schema=public", "--no-owner", "--no-acl",
    "--no-comments", "--section=pre-data --section=data", "--no-publications", "--no-blobs", "--table=public.cliente",
    "--no-unlogged-table-data", "--exclude-extension=hstore", "--schema-only", "--data-only",
    "--enable-row-security --role=limitada",
)  # fmt: skip
OF_VALUES = ("digit-changed", "values-swapped", "null-and-empty", "blank-added", "large-object-altered")
OF_ROWS = ("row-lost", "row-doubled", "block-emptied", "data-entry-lost", "row-shortened", "large-object-lost")
OF_CUTS = ("cut-in-a-row", "cut-behind-a-row", "cut-before-post-data", "closing-line-lost")
OF_FILE = ("archive", "size", "SHA-256", "dump", "manifest")
ROLES = ("CREATE ROLE limitada LOGIN", "CREATE ROLE fulano", 'CREATE ROLE "La Zutana"')
SQL = """
ALTER TABLE public.cliente ADD COLUMN nota text; UPDATE public.cliente SET nota = CASE id % 3 WHEN 0 THEN '' WHEN 1 THEN 'una nota' END;
COMMENT ON TABLE public.cliente IS 'quien compra'; COMMENT ON FUNCTION public.f(int) IS 'uno mas';
ALTER TABLE public.cliente ADD CONSTRAINT con_nota CHECK ((nota <> 'x' OR id > 0) AND id < 1000000);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO limitada; GRANT USAGE ON SCHEMA "Ventas ñ" TO limitada;
GRANT SELECT ON ALL TABLES IN SCHEMA "Ventas ñ" TO limitada; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, "Ventas ñ" TO limitada;
INSERT INTO public.rls SELECT i - 50 FROM generate_series(1, 100) i;
CREATE VIEW public.con_nota AS SELECT id, nota FROM public.cliente WHERE nota <> '' AND id > 3;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One archive of the corpus."""

    kind: str
    form: str
    name: str
    make: Callable[
        [], AbstractContextManager[tuple[Copy, tuple[str, ...]]]
    ]  # the archive, and what a finding must mention


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one archive."""

    kind: str
    form: str
    name: str
    is_caught: bool
    is_named: bool | None  # None: no single thing was struck
    seconds: float
    others: dict[str, bool]  # whether they refuse it; without those that cannot look at such a file
    told: str

    @property
    def is_wrong(self) -> bool:
        return self.is_caught == (self.kind == "healthy") or self.is_named is False


class Corpus:
    def __init__(self, server: Server, folder: Path, seed: int) -> None:
        self._server = server
        self._folder = folder
        self._seed = seed
        self._archives: dict[str, tuple[Path, Manifest]] = {}
        self._execute(*ROLES, "CREATE DATABASE tienda")
        self._psql("tienda", (TESTS / "every_object.sql").read_text() + SQL)
        for form, options in FORMS.items():
            made = make_backup(self._dsn("tienda"), folder / form, programs=server.programs, **options)  # type: ignore[arg-type]
            assert made.path
            self._archives[form] = (made.path, made.manifest)

    def cases(self) -> Iterator[Case]:
        yield from self._healthy()
        yield from self._of_bytes()
        yield from self._of_text()
        yield from self._of_another_time()
        yield from self._in_part()
        yield from self._of_a_cluster()
        yield from self._swapped()

    # What is done

    def _dsn(self, database: str) -> str:
        return self._server.conninfo(database)

    def _execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self._dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _psql(self, database: str, script: str) -> None:
        psql = self._server.programs.program("psql")
        env = dict(self._server.programs.env) or None
        argv = [psql, "-qX", "-v", "ON_ERROR_STOP=1", "-d", self._dsn(database)]
        subprocess.run(argv, input=script.encode(), check=True, capture_output=True, env=env)

    def _random(self, *words: str) -> Random:
        return Random(" ".join((str(self._seed), *words)))  # noqa: S311

    # Healthy ones

    def _healthy(self) -> Iterator[Case]:
        for form in FORMS:
            yield Case(kind="healthy", form=form, name="tienda", make=lambda form=form: self._as_it_is(form))
        for script in ("values", "definitions"):
            self._execute(f"CREATE DATABASE {script} TEMPLATE template0")
            self._psql(script, (TESTS / "healthy" / f"{script}.sql").read_text())
            for form, options in FORMS.items():
                made = make_backup(
                    self._dsn(script), self._folder / script / form, programs=self._server.programs, **options  # type: ignore[arg-type]
                )  # fmt: skip
                yield Case(kind="healthy", form=form, name=script, make=lambda made=made: self._given(made.path, ()))
            self._execute(f"DROP DATABASE {script}")
        for options in ("", "--inserts", "--rows-per-insert=50", "--format=custom", "--format=tar"):
            yield Case(kind="healthy", form=f"pg_dump {options}".strip(), name="tienda",
                       make=lambda options=options: self._dumped(options, ()))  # fmt: skip

    @contextmanager
    def _as_it_is(self, form: str) -> Iterator[tuple[Copy, tuple[str, ...]]]:
        path, _ = self._archives[form]
        yield Copy(path=path, manifest=path.with_name(path.name + SUFFIX)), ()

    @contextmanager
    def _given(self, path: Path, names: tuple[str, ...]) -> Iterator[tuple[Copy, tuple[str, ...]]]:
        yield Copy(path=path, manifest=path.with_name(path.name + SUFFIX)), names

    @contextmanager
    def _dumped(self, options: str, names: tuple[str, ...]) -> Iterator[tuple[Copy, tuple[str, ...]]]:
        """By somebody's pg_dump, beside a manifest recorded at the source."""
        with tempfile.TemporaryDirectory(dir=self._folder) as home:
            path = Path(home) / "tienda.sql"
            argv = [self._server.programs.program("pg_dump"), f"--dbname={self._dsn('tienda')}", f"--file={path}"]
            env = dict(self._server.programs.env) or None
            subprocess.run([*argv, *options.split()], check=True, capture_output=True, env=env)
            manifest = path.with_name(path.name + SUFFIX)
            manifest.write_bytes(render_manifest(record_manifest(self._dsn("tienda"), programs=self._server.programs)))
            yield Copy(path=path, manifest=manifest), names

    # Damaged ones

    def _of_bytes(self) -> Iterator[Case]:
        for form in FORMS:
            for stored in STORED:
                for turn in range(3):

                    @contextmanager
                    def make(
                        *, form: str = form, stored: object = stored, turn: int = turn
                    ) -> Iterator[tuple[Copy, tuple[str, ...]]]:
                        path, manifest = self._archives[form]
                        rng = self._random(form, stored.name, str(turn))  # type: ignore[attr-defined]
                        with copy_of_bytes(path, self._folder, stored, rng, render_manifest(manifest)) as (copy, _):  # type: ignore[arg-type]
                            yield copy, (*OF_FILE, path.name)

                    yield Case(kind="bytes and blocks", form=form, name=stored.name, make=make)

    def _of_text(self) -> Iterator[Case]:
        for form, is_lie in ((".sql.gz", False), (".sql.gz", True), (".sql.zst", False), (".sql", False)):
            path, manifest = self._archives[form]
            text = whole_text(path, detect_archive(path, NO_KEYS), manifest, NO_KEYS)
            for kind in TEXT:
                if kind.is_lie or (is_lie and (not kind.needs_promise or "sequence-value" in kind.name)):
                    continue  # a pg_dump that alters a sequence's value is refused by the backup
                if form != ".sql.gz" and kind.base == "definitions":
                    continue
                damage = kind.strike(text.map, self._random(form, kind.name))
                # Lost, an extension's comment comes back with the extension: only a promise can miss it.
                if damage is None or (is_lie and damage.object.startswith("COMMENT EXTENSION")):
                    continue

                @contextmanager
                def make(
                    *, text: object = text, damage: object = damage, is_lie: bool = is_lie
                ) -> Iterator[tuple[Copy, tuple[str, ...]]]:
                    with copy_of_text(text, self._folder, damage.edits, is_lie=is_lie) as copy:  # type: ignore[arg-type,attr-defined]
                        names: tuple[str, ...] = damage.names  # type: ignore[attr-defined]
                        yield copy, names if not is_lie else (*names, *map(_last, names), "large objects")

                what = _kind_of(kind.name)
                yield Case(kind=f"{what}, by a lying pg_dump" if is_lie else what, form=form, name=kind.name, make=make)

    def _of_another_time(self) -> Iterator[Case]:
        """Archives of the database with one thing changed, under the manifest of the one before."""
        for form, options in FORMS.items():
            with psycopg.connect(self._dsn("tienda"), autocommit=True) as connection:
                source.pin(connection)
                tried = list(changes(connection, self._random(form, "changes")))
            for change in tried[:14]:
                for is_lie in (False, True):
                    if is_lie and change.what == "sequence value":
                        continue

                    @contextmanager
                    def make(
                        *, form: str = form, options: object = options, change: object = change, is_lie: bool = is_lie
                    ) -> Iterator[tuple[Copy, tuple[str, ...]]]:  # fmt: skip
                        self._execute("DROP DATABASE IF EXISTS cambiada", "CREATE DATABASE cambiada TEMPLATE tienda")
                        with psycopg.connect(self._dsn("cambiada"), autocommit=True) as connection:
                            source.pin(connection)
                            try:
                                connection.execute(change.statement.replace("tienda", "cambiada").encode())  # type: ignore[attr-defined]
                            except psycopg.Error:
                                raise NothingChangedError from None
                        with tempfile.TemporaryDirectory(dir=self._folder) as home:
                            made = make_backup(
                                self._dsn("cambiada"), Path(home), programs=self._server.programs, **options  # type: ignore[arg-type]
                            )  # fmt: skip
                            promise = self._archives[form][1]
                            if _same(promise, made.manifest):
                                raise NothingChangedError
                            inventory = made.manifest.inventory if is_lie else promise.inventory
                            # Of the name's own database, so that the name is not what is found.
                            promise = replace(
                                promise, archive=made.manifest.archive, inventory=inventory,
                                source=replace(promise.source, database="cambiada"), globals=made.manifest.globals,
                            )  # fmt: skip
                            assert made.path
                            manifest = made.path.with_name(made.path.name + SUFFIX)
                            manifest.write_bytes(render_manifest(promise))
                            yield Copy(path=made.path, manifest=manifest), change.names  # type: ignore[attr-defined]

                    kind = "one thing changed, lying" if is_lie else "one thing changed"
                    yield Case(kind=kind, form=form, name=change.what, make=make)

    def _in_part(self) -> Iterator[Case]:
        for options in LEFT_OUT:
            if options.startswith("--exclude-extension") and self._server.programs.major < 17:
                continue
            for form in ("", " --format=custom"):
                yield Case(kind="dumped in part", form=f"pg_dump{form}", name=options,
                           make=lambda options=options + form: self._dumped(options, ()))  # fmt: skip

    def _of_a_cluster(self) -> Iterator[Case]:
        """pg_dumpall's text has no manifest: what can be seen of it is seen in itself."""
        whole = self._folder / "cluster.sql.gz"
        argv = [self._server.programs.program("pg_dumpall"), "-d", self._dsn("postgres")]
        env = dict(self._server.programs.env) or None
        self._execute("DROP DATABASE IF EXISTS cambiada")
        whole.write_bytes(gzip.compress(subprocess.run(argv, check=True, capture_output=True, env=env).stdout, mtime=0))
        yield Case(kind="healthy", form="pg_dumpall", name="cluster", make=lambda: self._given(whole, ()))
        for stored in STORED:

            @contextmanager
            def make_bytes(stored: object = stored) -> Iterator[tuple[Copy, tuple[str, ...]]]:
                rng = self._random("cluster", stored.name)  # type: ignore[attr-defined]
                with copy_of_bytes(whole, self._folder, stored, rng, None) as (copy, _):  # type: ignore[arg-type]
                    yield copy, (*OF_FILE, whole.name)

            yield Case(kind="bytes and blocks", form="pg_dumpall", name=stored.name, make=make_bytes)
        text = whole_text(whole, detect_archive(whole, NO_KEYS), None, NO_KEYS)
        for kind in TEXT:
            damage = None if kind.needs_promise else kind.strike(text.map, self._random("cluster", kind.name))
            if damage is not None:

                @contextmanager
                def make_text(damage: object = damage) -> Iterator[tuple[Copy, tuple[str, ...]]]:
                    with copy_of_text(text, self._folder, damage.edits) as copy:  # type: ignore[attr-defined]
                        yield copy, damage.names  # type: ignore[attr-defined]

                yield Case(kind=_kind_of(kind.name), form="pg_dumpall", name=kind.name, make=make_text)

    def _swapped(self) -> Iterator[Case]:
        """Another database's archive, an older one, and manifests that are altered, cut or of another archive."""
        self._execute("CREATE DATABASE otra TEMPLATE tienda")
        self._execute("INSERT INTO public.padre VALUES (77)", database="otra")
        for form, options in FORMS.items():
            made = make_backup(
                self._dsn("otra"), self._folder / "otra" / form, programs=self._server.programs, **options
            )  # type: ignore[arg-type]
            path, manifest = self._archives[form]
            assert made.path
            own, other = render_manifest(manifest), render_manifest(made.manifest)
            counts = {**manifest.row_counts, "public.padre": manifest.row_counts["public.padre"] + 1}
            for name, archive, beside, names in (
                ("archive of another database", made.path, own, OF_FILE),
                ("manifest of another archive", path, other, OF_FILE),
                ("manifest cut", path, own[: len(own) // 2], OF_FILE),
                ("manifest with a byte lost", path, own[:200] + own[201:], OF_FILE),
                ("manifest's count altered", path, render_manifest(replace(manifest, row_counts=counts)), ("public.padre",)),
                ("manifest's object added", path, render_manifest(replace(manifest, catalog=(*manifest.catalog, "table public.nueva"))), ("public.nueva",)),
            ):  # fmt: skip

                @contextmanager
                def make(
                    *, archive: Path = archive, beside: bytes = beside, names: tuple[str, ...] = names
                ) -> Iterator[tuple[Copy, tuple[str, ...]]]:
                    with another_archive(archive, self._folder, beside) as copy:
                        yield copy, (*names, copy.path.name)

                yield Case(kind="archive or manifest exchanged", form=form, name=name, make=make)


class NothingChangedError(Exception):
    """The server refused the change, or nothing came of it: no case."""


def _kind_of(name: str) -> str:
    for kind, names in (("rows", OF_ROWS), ("values", OF_VALUES), ("cut at a line", OF_CUTS)):
        if name in names:
            return kind
    return "definitions"


def _last(label: str) -> str:
    """As the server's catalog names what a dump calls `INDEX public.por_total` or `TRIGGER public.venta al_vender`."""
    return label.replace('"', "").rpartition(" ")[2].rpartition(".")[2]


def _same(one: Manifest, other: Manifest) -> bool:
    first, second = one.inventory, other.inventory
    assert first
    assert second
    settings = [[s.replace("cambiada", "tienda") for s in side.environment.settings] for side in (one, other)]
    return (first.entries, first.tables, first.sequences, first.large_objects, settings[0]) == (
        second.entries, second.tables, second.sequences, second.large_objects, settings[1],
    )  # fmt: skip


# Those who look


def drill(copy: Copy, sandbox: SharedServer) -> list[Finding]:
    """Faults and gaps: what keeps the archive from being called verified."""
    (found,) = resolve([str(copy.path)], copy.path.parent)
    has_manifest = copy.manifest is not None and copy.manifest.exists()
    plan = Plan(
        sandbox="embedded", jobs=os.cpu_count() or 1, keys=KEYS, manifest=copy.manifest if has_manifest else None
    )
    with Drill(found, copy.path, plan, drill_id="bench", sandbox=sandbox.empty()) as one:
        findings = [f for judged in one.judge_all() for f in judged.findings if f.status in ("fault", "gap")]
        assert one.facts.obstacle is None, one.facts.obstacle
    one.close()
    return findings


class Others:
    """What is often done instead; each tells whether it ends with an error, or None of a file that it cannot look at."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._env = {**os.environ, **server.programs.env}
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            for role in ROLES:  # as somebody has them who restores there
                connection.execute(role.encode())

    def look(self, path: Path) -> dict[str, bool]:
        name, is_encrypted = path.name, path.read_bytes()[:3] == b"age" if path.is_file() else False
        is_plain = ".sql" in name and not self._is_of_pg_restore(path)
        found: dict[str, bool] = {}
        if is_encrypted or name.endswith(".age"):
            return found
        if name.endswith((".gz", ".zst")):
            found["gunzip/zstd -t"] = self._fails(["gunzip" if name.endswith(".gz") else "zstd", "-t", "-q"], path)
        if not is_plain:
            found["pg_restore --list"] = self._fails(
                [self._server.programs.program("pg_restore"), "--list", path], None
            )
        found["strict restore"] = self._restore(path, is_plain=is_plain)
        return found

    def _is_of_pg_restore(self, path: Path) -> bool:
        return path.is_dir() or path.read_bytes()[:5] == b"PGDMP" or path.read_bytes()[257:262] == b"ustar"

    def _restore(self, path: Path, *, is_plain: bool) -> bool:
        with psycopg.connect(self._server.conninfo(), autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')"
            ).fetchall():
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
            connection.execute("CREATE DATABASE estricta TEMPLATE template0")
        target = shlex.quote(self._server.conninfo("estricta"))
        if not is_plain:
            argv = [
                self._server.programs.program("pg_restore"),
                "--exit-on-error",
                "-d",
                self._server.conninfo("estricta"),
                path,
            ]
            return self._fails(argv, None)
        unpack = {".gz": "gunzip -c", ".zst": "zstd -dc"}.get(path.suffix, "cat")
        psql = self._server.programs.program("psql")
        return self._fails(
            [
                "bash",
                "-o",
                "pipefail",
                "-c",
                f"{unpack} < {shlex.quote(str(path))} | {psql} -qX -v ON_ERROR_STOP=1 -d {target}",
            ],
            None,
        )

    def _fails(self, argv: Iterable[str | Path], stdin: Path | None) -> bool:
        with ExitStack() as files:
            given = files.enter_context(stdin.open("rb")) if stdin is not None else subprocess.DEVNULL
            try:
                ended = subprocess.run([*argv], stdin=given, capture_output=True, env=self._env, timeout=60)
            except subprocess.TimeoutExpired:
                return True
        return ended.returncode != 0


OTHERS = ("gunzip/zstd -t", "pg_restore --list", "strict restore")


def main() -> None:
    major, seed, share, jobs, *part = (*sys.argv[1:], *("17", "1", "1", str(os.cpu_count() or 1))[len(sys.argv) - 1 :])
    programs = server_for(int(major))
    assert programs is not None, f"run: pgdrill install-server {major}"
    if part:
        run_part(programs, int(seed), float(share), int(part[0]), int(jobs), Path(part[1]))
        return
    print(describe_machine(), f"· PostgreSQL {programs.full_version} · seed {seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        files = [Path(home) / str(n) for n in range(int(jobs))]
        argv = [sys.executable, __file__, major, seed, share, jobs]
        parts = [subprocess.Popen([*argv, str(n), str(file)]) for n, file in enumerate(files)]
        assert not [part for part in parts if part.wait()], "a part of the corpus was not tried"
        tried = [msgspec.json.decode(line, type=Tried) for file in files for line in file.read_bytes().splitlines()]
    print(render(tried))
    print(f"{len(tried)} archives in {time.monotonic() - begun:,.0f} s")
    print("\n".join(f"{one.kind} · {one.form} · {one.name}: {one.told}" for one in tried if one.is_wrong))


def run_part(programs: Programs, seed: int, share: float, part: int, jobs: int, out: Path) -> None:
    """Every one of so many, each told as it is tried; parts make the whole corpus each, and try what is theirs."""
    pick = Random(seed)  # noqa: S311
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        corpus = Corpus(cleanup.enter_context(start_server(programs)), folder, seed)
        others = Others(cleanup.enter_context(start_server(programs)))

        def start() -> AbstractContextManager[Chosen]:
            return open_sandbox("embedded", major=programs.major, image=None, bootstrap_role="postgres", jobs=2)

        one = cleanup.enter_context(SharedServer(start, reusable=True))
        of_clusters = cleanup.enter_context(SharedServer(start, reusable=False))
        file = cleanup.enter_context(out.open("wb"))
        for n, case in enumerate(corpus.cases()):
            if (case.kind != "healthy" and pick.random() >= share) or n % jobs != part:
                continue
            with suppress(NothingChangedError), case.make() as (copy, names):
                tried = try_case(case, copy, names, of_clusters if case.form == "pg_dumpall" else one, others)
                file.write(msgspec.json.encode(tried) + b"\n")
                file.flush()
                if tried.is_wrong:
                    print(f"{tried.kind} · {tried.form} · {tried.name}: {tried.told}", flush=True)


def try_case(case: Case, copy: Copy, names: tuple[str, ...], sandbox: SharedServer, others: Others) -> Tried:
    began = time.monotonic()
    findings = drill(copy, sandbox)
    seconds = time.monotonic() - began
    said = " ".join(f"{f.object} {f.expected} {f.actual}" for f in findings).replace('"', "")
    return Tried(
        kind=case.kind,
        form=case.form,
        name=case.name,
        is_caught=bool(findings),
        is_named=None if not names else any(name.replace('"', "") in said for name in names),
        seconds=seconds,
        others=others.look(copy.path),
        told=f"{', '.join(names)}: "
        + ("; ".join(f"{f.check} {f.object}: {f.actual[:80]}" for f in findings[:3]) or "nothing"),
    )


def render(tried: list[Tried]) -> str:
    """In Markdown. Of the others: how many they refuse, of how many that they can look at."""
    lines = [
        "| archives | tried | caught | missed | named | s each | " + " | ".join(OTHERS) + " |",
        "|---|---:|---:|---:|---:|---:|" + "---:|" * len(OTHERS),
    ]
    kinds = sorted(dict.fromkeys(one.kind for one in tried), key=lambda kind: (kind == "healthy", kind))
    for kind in [*kinds, "all damaged"]:
        of = [one for one in tried if one.kind == kind or (kind == "all damaged" and one.kind != "healthy")]
        caught, named = sum(one.is_caught for one in of), [one.is_named for one in of if one.is_named is not None]
        cells = [str(len(of)), str(caught), str(len(of) - caught), f"{sum(named)} of {len(named)}" if named else "-"]
        if kind == "healthy":
            cells[1:] = [f"{caught} false alarms", "-", "-"]
        cells.append(f"{sum(one.seconds for one in of) / len(of):.1f}")
        for other in OTHERS:
            seen = [one.others[other] for one in of if other in one.others]
            cells.append(f"{sum(seen)} of {len(seen)}" if seen else "-")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
