"""Random whole databases: each backup must be verified, and the archive of one that was changed must not be.

A few, always the same, in the suite; RANDOM_DATABASES=300 python -m pytest -k random tries as many new ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from random import Random

import psycopg
import pytest
from drilling import execute
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from psycopg import sql
from random_changes import Change, changes
from random_databases import ROLES, RandomDatabase

from backup_lib import source
from backup_lib.backup import BackupResult, make_backup
from backup_lib.catalog import resolve
from backup_lib.manifest import SUFFIX, Manifest, render_manifest
from backup_lib.server_programs import Programs
from backup_lib.servers import Server, start_server
from verification.drill import Drill, Plan
from verification.finding import Finding
from verification.sandbox.choice import open_sandbox
from verification.shared_server import SharedServer

pytestmark = pytest.mark.postgres

EXAMPLES = int(os.environ.get("RANDOM_DATABASES", "0"))
DATABASE, CHANGED = "al_azar", "al_azar_otra"
COVERED = settings(
    max_examples=EXAMPLES or 3,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    # Each example is a backup and a restore: shrinking is for those who look for a counterexample.
    phases=(Phase.explicit, Phase.generate, *([Phase.shrink] if EXAMPLES else [])),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
seeds = st.integers(min_value=0, max_value=2**32 - 1)


class Bench:
    """A server to make databases in, and one to drill their archives in."""

    def __init__(self, server: Server, sandbox: SharedServer, folder: Path) -> None:
        self._server = server
        self._sandbox = sandbox
        self._folder = folder

    def build(self, rng: Random) -> None:
        """A new database; of its statements the server must accept most."""
        execute(
            self._server.conninfo(), f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}"
        )
        accepted = refused = 0
        with psycopg.connect(self._server.conninfo(DATABASE), autocommit=True) as connection:
            connection.execute("SELECT setseed(0.5)")
            for statement in filter(None, RandomDatabase(rng).statements()):
                try:
                    connection.execute(statement.encode())
                    accepted += 1
                except psycopg.Error as exc:
                    refused += 1
                    note(f"refused: {statement} -- {exc.diag.message_primary}")
                else:
                    note(f"{statement};")
        assert accepted >= min(2, refused)

    def change(self, rng: Random) -> Change | None:
        """Another database like it in all but one thing; None where nothing could be changed."""
        with psycopg.connect(self._server.conninfo(DATABASE), autocommit=True) as connection:
            source.pin(connection)
            tried = list(changes(connection, rng))[:10]
        for change in tried:
            self.copy()
            with psycopg.connect(self._server.conninfo(CHANGED), autocommit=True) as connection:
                source.pin(connection)
                try:
                    connection.execute(change.statement.encode())
                except psycopg.Error:
                    continue
            note(f"changed: {change.statement}")
            return change
        return None

    def copy(self) -> None:
        """With what a template does not bring: the settings and privileges of the database."""
        with psycopg.connect(self._server.conninfo(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {CHANGED} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {CHANGED} TEMPLATE {DATABASE}".encode())
            connection.execute("SET allow_system_table_mods = on")
            connection.execute(
                """INSERT INTO pg_db_role_setting SELECT n.oid, s.setrole, s.setconfig FROM pg_db_role_setting s
                   JOIN pg_database o ON o.oid = s.setdatabase AND o.datname = %s
                   JOIN pg_database n ON n.datname = %s""",
                [DATABASE, CHANGED],
            )

    def back_up(self, database: str) -> BackupResult:
        folder = self._folder / database
        shutil.rmtree(folder, ignore_errors=True)
        return make_backup(self._server.conninfo(database), folder, programs=self._server.programs)

    def drill(self, result: BackupResult) -> list[Finding]:
        """Faults and gaps."""
        path = result.path
        assert path
        (found,) = resolve([str(path)], path.parent)
        plan = Plan(sandbox="embedded", jobs=2)
        with Drill(found, path, plan, drill_id="random", sandbox=self._sandbox.empty()) as drill:
            findings = [f for judged in drill.judge_all() for f in judged.findings if f.status in ("fault", "gap")]
            assert drill.facts.obstacle is None, drill.facts.obstacle
        drill.close()
        return findings


@pytest.fixture(scope="module", params=[15, 18])
def bench(
    request: pytest.FixtureRequest, programs_of: Callable[[int], Programs], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """A server of its own: the roles stay, and come into every manifest."""
    major = int(request.param)

    def start() -> object:
        return open_sandbox("embedded", major=major, image=None, bootstrap_role="postgres", jobs=2)

    with ExitStack() as cleanup:
        server = cleanup.enter_context(start_server(programs_of(major), lease_s=7200))
        execute(server.conninfo(), *(f"CREATE ROLE {sql.Identifier(role).as_string()}" for role in ROLES))
        sandbox = cleanup.enter_context(SharedServer(start, reusable=True))  # type: ignore[arg-type]
        yield Bench(server, sandbox, tmp_path_factory.mktemp("random"))


@COVERED
@given(seed=seeds)
def test_a_random_database_is_verified(bench: Bench, seed: int) -> None:
    bench.build(Random(seed))  # noqa: S311
    findings = bench.drill(bench.back_up(DATABASE))
    assert not findings, findings


@COVERED
@given(seed=seeds, is_lie=st.booleans())
def test_one_change_to_a_random_database_is_found_and_named(bench: Bench, seed: int, is_lie: bool) -> None:  # noqa: FBT001
    """The changed database's archive with the manifest of the one before; as a lie, its inventory agrees with it."""
    rng = Random(seed)  # noqa: S311
    bench.build(rng)
    promise = bench.back_up(DATABASE).manifest
    change = bench.change(rng)
    if change is None:
        return
    result = bench.back_up(CHANGED)
    if _alike(promise, result.manifest) or (is_lie and change.what == "sequence value"):
        return  # nothing changed; a sequence's value is in no snapshot, and such a lie is refused by the backup
    path = result.path
    assert path
    promised = replace(
        promise, archive=result.manifest.archive, inventory=result.manifest.inventory if is_lie else promise.inventory
    )
    path.with_name(path.name + SUFFIX).write_bytes(render_manifest(promised))
    faults = [f for f in bench.drill(result) if f.status == "fault" and CHANGED not in f"{f.object}{f.actual}"]
    assert faults, f"missed: {change}"
    said = " ".join(f"{f.object} {f.expected} {f.actual}" for f in faults)
    assert any(_flat(name) in _flat(said) for name in change.names), (change, faults)


def _alike(one: Manifest, other: Manifest) -> bool:
    """Whether the change changed nothing: a privilege that was there, a row that was equal."""
    first, second = one.inventory, other.inventory
    assert first
    assert second
    settings_of = [[s.replace(CHANGED, DATABASE) for s in side.environment.settings] for side in (one, other)]
    return (first.entries, first.tables, first.sequences, first.large_objects, settings_of[0]) == (
        second.entries, second.tables, second.sequences, second.large_objects, settings_of[1],
    )  # fmt: skip


def _flat(text: str) -> str:
    """Names as they stand in comments: without quotes and line ends."""
    return " ".join(text.replace('"', "").split())
