"""Damage to the stored bytes, of every format and compression.

With a manifest any change of a byte is seen by the digest. Without one, and where somebody made the manifest's digest
agree, the compression's own check sums, the reader, the server or the digests of the rows must see it.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drilling import DrillOf, execute, reseal, told

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

SHOP = """
CREATE TABLE alfa (id int PRIMARY KEY, nota text); INSERT INTO alfa SELECT i, md5(i::text) FROM generate_series(1, 400) i;
CREATE TABLE beta (id int PRIMARY KEY, nota text); INSERT INTO beta SELECT i, md5('b' || i) FROM generate_series(1, 400) i;
CREATE INDEX por_nota ON beta (nota);
"""  # fmt: skip
FORMS = {
    "none": {"compression": "none"},
    "gzip": {},
    "zstd": {"compression": "zstd"},
    "custom": {"format": "custom"},
    "custom-uncompressed": {"format": "custom", "compression": "none"},
    "directory": {"format": "directory"},
    "directory-uncompressed": {"format": "directory", "compression": "none"},
    "tar": {"format": "tar"},
}
CopyOf = Callable[..., Path]


def flip(at: float) -> Callable[[bytes], bytes]:
    """One bit, at this part of the whole."""

    def damage(data: bytes) -> bytes:
        altered = bytearray(data)
        altered[int(at * (len(data) - 1))] ^= 0x04
        return bytes(altered)

    return damage


def swap_blocks(data: bytes) -> bytes:
    third, size = len(data) // 3, min(512, len(data) // 6)
    first, second = data[third : third + size], data[2 * third : 2 * third + size]
    return data[:third] + second + data[third + size : 2 * third] + first + data[2 * third + size :]


def at_middle(block: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Make something else of the 512 bytes in the middle."""
    return lambda data: data[: len(data) // 2] + block(data[len(data) // 2 :][:512]) + data[len(data) // 2 + 512 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "first-byte": flip(0),
    "bit-early": flip(0.1),
    "bit-in-the-middle": flip(0.5),
    "bit-late": flip(0.95),
    "last-byte": flip(1),
    "block-zeroed": at_middle(lambda block: bytes(len(block))),
    "block-lost": at_middle(lambda _: b""),
    "block-doubled": at_middle(lambda block: block * 2),
    "blocks-swapped": swap_blocks,
    "cut-early": lambda data: data[: len(data) // 10],
    "cut-at-the-end": lambda data: data[:-1],
    "emptied": lambda _: b"",
    "garbage-behind": lambda data: data + b"\0" * 512,
    "text-behind": lambda data: data + b"and some more\n",
    "twice": lambda data: data * 2,
}


@pytest.fixture(scope="module")
def sound(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    execute(server.conninfo(), "CREATE DATABASE bytes")
    execute(server.conninfo("bytes"), SHOP)
    folder = tmp_path_factory.mktemp("sound")
    made = {form: make_backup(server.conninfo("bytes"), folder / form, **wanted).path for form, wanted in FORMS.items()}
    yield {form: path for form, path in made.items() if path}
    execute(server.conninfo(), "DROP DATABASE bytes WITH (FORCE)")


@pytest.fixture
def copy_of(sound: dict[str, Path], tmp_path: Path) -> CopyOf:
    def copy_of(form: str, *, foreign: bool = False) -> Path:
        source = sound[form]
        path = tmp_path / source.name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
        if not foreign:
            shutil.copy(source.with_name(source.name + SUFFIX), tmp_path)
        return path

    return copy_of


def rows_of(path: Path) -> Path:
    """The file that holds the rows of one table."""
    return max(path.glob("*.dat*"), key=lambda file: file.stat().st_size) if path.is_dir() else path


def spoil(path: Path, damage: Callable[[bytes], bytes]) -> None:
    victim = rows_of(path)
    data = victim.read_bytes()
    assert damage(data) != data
    victim.write_bytes(damage(data))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("form", FORMS)
def test_bit_rot_of_any_format_is_seen_by_the_digest(
    copy_of: CopyOf, drill_of: DrillOf, form: str, damage: Callable[[bytes], bytes]
) -> None:
    """Row 6: and it needs no server."""
    path = copy_of(form)
    spoil(path, damage)
    record = drill_of(path, level="integrity")
    assert record.verdict == "failed", told(record)
    found = {f.object for f in record.findings if f.check == "integrity" and f.status == "fault" and f.hint}
    assert found & {"SHA-256", "archive"}, told(record)


# Where compression has a check sum, or the text an end that shows; the text's last byte is a line's end and no more.
CHECKED = {(form, case) for form in ("gzip", "zstd") for case in DAMAGE}
CHECKED |= {("none", "cut-early"), ("none", "twice"), ("none", "emptied")}
CHECKED |= {("directory", "cut-early"), ("directory", "cut-at-the-end")}


@pytest.mark.parametrize(("form", "case"), sorted(CHECKED))
def test_damage_to_a_foreign_archive_is_seen_by_reading_it(
    copy_of: CopyOf, drill_of: DrillOf, form: str, case: str
) -> None:
    """Rows 2 to 5: no manifest, and neither gunzip's nor pg_restore's exit status is believed."""
    path = copy_of(form, foreign=True)
    spoil(path, DAMAGE[case])
    record = drill_of(path, level="integrity")
    assert record.verdict == "failed", told(record)
    assert [f for f in record.findings if f.status == "fault" and f.cause == "archive" and f.hint], told(record)


@pytest.mark.parametrize("form", ["none", "custom-uncompressed", "directory-uncompressed", "tar"])
def test_bytes_altered_under_a_digest_that_agrees_are_seen_in_the_rows(
    copy_of: CopyOf, drill_of: DrillOf, form: str
) -> None:
    """Row 6: uncompressed, one letter of a row altered, which pg_restore takes without a word."""
    path = copy_of(form)
    at = next(f for f in (path.iterdir() if path.is_dir() else [path]) if b"202cb962ac59075b" in f.read_bytes())
    at.write_bytes(at.read_bytes().replace(b"202cb962ac59075b", b"302cb962ac59075b"))  # md5 of 123
    reseal(path)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert any(f.check == "content" and f.object == "public.alfa" for f in record.findings), told(record)


def swapped(path: Path) -> None:
    """Two tables' files renamed over each other: same columns, same number of rows."""
    first, second = sorted(path.glob("*.dat*"))[:2]
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def deleted(path: Path) -> None:
    rows_of(path).unlink()


def emptied(path: Path) -> None:
    rows_of(path).write_bytes(gzip.compress(b"") if path.suffix == ".gz" else b"")


@pytest.mark.parametrize(
    ("form", "how"), [("directory", swapped), ("directory", deleted), ("directory-uncompressed", emptied)]
)
def test_a_directory_archives_files_exchanged_or_lost_are_seen_in_the_tables(
    copy_of: CopyOf, drill_of: DrillOf, form: str, how: Callable[[Path], None]
) -> None:
    """Row 6: under a digest that agrees."""
    path = copy_of(form)
    how(path)
    reseal(path)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert any(table in f.object + f.actual for f in record.findings for table in ("alfa", "beta")), told(record)


def members(data: bytes, count: int = 3) -> bytes:
    """The same text as several gzip members, as `pigz` and `cat a.gz b.gz` leave it."""
    text = gzip.decompress(data)
    size = len(text) // count + 1
    return b"".join(gzip.compress(text[at : at + size], mtime=0) for at in range(0, len(text), size))


def test_a_gzip_of_several_members_is_read_to_its_end(copy_of: CopyOf, drill_of: DrillOf) -> None:
    path = copy_of("gzip", foreign=True)
    path.write_bytes(members(path.read_bytes()))
    record = drill_of(path)
    assert record.verdict == "verified", told(record)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("how", ["lost", "flipped", "cut"])
def test_a_member_of_a_gzip_lost_or_damaged_is_seen(copy_of: CopyOf, drill_of: DrillOf, which: int, how: str) -> None:
    """Rows 2 and 6: `gunzip -t` of what is left says OK when a whole member is lost."""
    path = copy_of("gzip", foreign=True)
    text = gzip.decompress(path.read_bytes())
    size = len(text) // 3 + 1
    parts = [gzip.compress(text[at : at + size], mtime=0) for at in range(0, len(text), size)]
    parts[which] = {"lost": b"", "flipped": flip(0.5)(parts[which]), "cut": parts[which][: len(parts[which]) // 2]}[how]
    path.write_bytes(b"".join(parts))
    record = drill_of(path, level="integrity")
    assert record.verdict == "failed", told(record)
    assert record.summary


def test_a_dump_cut_short_says_where_and_which_tables_are_incomplete_or_absent(
    copy_of: CopyOf, drill_of: DrillOf
) -> None:
    """Rows 3 and 4: cut in the rows of the first of two tables."""
    path = copy_of("gzip")
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text[: text.index(b"\n200\t") + 1]))
    reseal(path)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    (cut,) = [f for f in record.findings if f.check == "completeness" and f.status == "fault"]
    assert "TABLE DATA public.alfa" in cut.actual
    assert "public.beta" in cut.actual
    counted = {f.object: f.actual for f in record.findings if f.check == "row-count" and f.status == "fault"}
    assert counted.keys() == {"public.alfa", "public.beta"}, told(record)
    assert "199" in counted["public.alfa"]


def test_archives_renamed_over_each_other_are_told_by_their_manifests(
    server: Server, fresh_database: Callable[..., str], copy_of: CopyOf, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 38: the archive of one database beside the manifest of another."""
    path = copy_of("gzip")
    dsn = fresh_database(server, name="otra_base")
    execute(dsn, "CREATE TABLE gama (id int)", "INSERT INTO gama VALUES (1)")
    other = make_backup(dsn, tmp_path / "other").path
    assert other
    shutil.copy(other, path)
    record = drill_of(path)
    said = told(record)
    assert record.verdict == "failed", said
    assert "alfa" in said
    assert "gama" in said


def test_the_manifest_of_another_archive_is_told_by_the_name_in_it(
    sound: dict[str, Path], copy_of: CopyOf, drill_of: DrillOf
) -> None:
    """Row 38."""
    path, other = copy_of("gzip"), sound["zstd"]
    shutil.copy(other.with_name(other.name + SUFFIX), path.with_name(path.name + SUFFIX))
    record = drill_of(path, level="integrity")
    (finding,) = [f for f in record.findings if f.object == "manifest"]
    assert (finding.status, finding.expected) == ("fault", f"the manifest of {path.name}")
    assert other.name in finding.actual
