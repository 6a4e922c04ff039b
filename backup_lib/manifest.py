"""The manifest: what an archive must contain, written beside it when the archive is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from backup_lib.errors import DamagedManifestError
from backup_lib.inventory import Inventory

SCHEMA_VERSION = 1
SUFFIX = ".manifest.json"

Kind = Literal["full", "schema", "data", "tables", "config"]
Format = Literal["plain", "custom", "directory", "tar"]
Compression = Literal["none", "gzip", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How an archive is encrypted. Nothing here is secret, or helps to guess what is."""

    algorithm: Literal["age"]
    key: Literal["passphrase", "recipients"]
    recipients: tuple[str, ...] = ()  # public keys of those who can open it
    key_proved: bool  # its head was opened again when it was made; False where no identity was at hand
    plain_size_bytes: int  # of what was encrypted: of a plain archive, its compressed text
    plain_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """The archive's bytes. A directory archive has the size and digest of its files together, see `archive`."""

    name: str
    kind: Kind
    format: Format
    compression: Compression  # around a plain archive; inside a custom or directory archive
    size_bytes: int
    sha256: str  # as stored
    started_at: datetime  # UTC
    finished_at: datetime  # UTC
    options: tuple[str, ...] = ()  # pg_dump's, without connection and file
    encryption: Encryption | None = None  # around all of it
    clocks_differed: bool = False  # that of the machine that made it, by which it was started, and its server's
    becoming: ArchiveFacts | None = None  # the file that `rewrap` puts in its place now: it may lie there already

    def of(self, sha256: str | None) -> ArchiveFacts:
        """What is promised of the file with that digest, of the two that may lie there while `rewrap` is at it."""
        return self.becoming if self.becoming is not None and self.becoming.sha256 == sha256 else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the data is from. Never holds a password."""

    database: str
    system_identifier: str | None  # None where the role may not read pg_control_system()
    server_version: str
    snapshot_at: datetime  # UTC; the instant the data is from, so RPO counts from here
    lsn: str
    in_recovery: bool
    replay_lag_s: float | None
    role: str
    bootstrap_role: str  # the superuser of initdb; its name stands in privileges
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What pg_dump does not write, but the data's meaning depends on; taken by SQL on both sides."""

    encoding: str
    collate: str
    ctype: str
    locale_provider: str  # libc, icu, builtin
    icu_locale: str | None
    collation_version: str | None
    extensions: tuple[Extension, ...]
    settings: tuple[str, ...]  # ALTER DATABASE/ROLE … SET, as "role=…; name=value" lines, sorted
    invalid_indexes: tuple[str, ...]
    lc_monetary: str = "C"  # what money is written and read in
    icu_rules: str | None = None  # further rules of order, from 16 on


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """What belongs to the cluster, as the SQL that makes it; roles without passwords."""

    roles: tuple[str, ...]  # names
    statements: tuple[str, ...]  # CREATE ROLE, ALTER ROLE, GRANT, CREATE TABLESPACE, in order
    tablespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDefinitions:
    """pg_dump's schema-only text of the whole database, in the archive's own snapshot; without what holds passwords."""

    size_bytes: int  # of the text
    sha256: str  # of the text
    gzip: bytes  # base64 in the manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSums:
    """Sums of the 64-bit hashes of all rows' texts; a partitioned table is the sum of its partitions."""

    probe: str  # the hash of one word: on another kind of machine it is another
    sums: dict[str, str]  # by label, as decimal numbers; without tables whose rows the server could not hash
    large_objects: str | None = None  # of all of them; None where the role may not read them


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """Something at the source that an archive will not bring back, or that a restore will stumble over."""

    code: str  # invalid-index, search-path, …; docs/reference/lint.md lists them
    severity: Literal["warning", "note"]  # a note loses nothing that the source has and the archive promises
    object: str
    what: str
    why: str  # what will happen
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One file, link or folder in an archive of configuration files."""

    path: str  # from the folder it was packed in; of one outside that, without the leading slash
    kind: Literal["file", "link", "folder", "other"]
    mode: str  # octal, such as 0640
    size_bytes: int = 0
    sha256: str | None = None  # of a file
    target: str | None = None  # of a link


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One archive's promise.

    `row_counts` are exact `count(*)` of every table, partition and populated materialized view (as stored then:
    a restore refreshes it) that the archive has rows of, and `catalog` the identities of all objects
    (`index public.ix`) with what each is like, all taken by SQL in the snapshot pg_dump read from, independently
    of pg_dump.
    """

    archive: ArchiveFacts | None  # None: recorded at the source for an archive somebody else makes
    source: Source
    environment: Environment
    globals: Globals
    row_counts: dict[str, int]
    catalog: tuple[str, ...]
    inventory: Inventory | None
    tools: dict[str, str]  # program or library → version
    kind: Kind = "full"  # what was recorded; where there is an archive, its own kind counts
    definitions: PackedDefinitions | None = None  # where the archive does not hold all that its rows need
    lint: tuple[Concern, ...] = ()  # what the source was warned of before the dump
    row_sums: RowSums | None = None  # None: only one reading of the rows, by pg_dump
    files: tuple[FileFacts, ...] = ()  # of an archive of configuration files, which is of no database
    schema_version: int = field(default=SCHEMA_VERSION)
    traits: dict[str, dict[str, str]] = field(default_factory=dict)  # of the objects in `catalog`, see `traits`


def parse_manifest(data: bytes, *, name: str = "manifest") -> Manifest:
    """Read a manifest.

    :raises DamagedManifestError: when it is not JSON, of another schema version, or misses something; the
        message says where.
    """
    hint = "take the manifest that was written with this archive, or verify without one by moving it away"
    try:
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema_version", b"")
        if bytes(version) != str(SCHEMA_VERSION).encode():
            found = bytes(version).decode() or "missing"
            raise DamagedManifestError(
                f"{name}: schema_version is {found}, this pgdrill reads {SCHEMA_VERSION}",
                hint="use the pgdrill that wrote it, or a newer one",
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DamagedManifestError(f"{name}: {exc}", hint=hint) from exc


def render_manifest(manifest: Manifest) -> bytes:
    """JSON, indented, ends with a newline."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
