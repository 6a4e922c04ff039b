"""What archives are called, and what their first bytes say."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from backup_lib.archive import (
    Content,
    build_name,
    detect,
    detect_path,
    directory_digest,
    dump_version_of,
    name_prefix,
    parse_name,
)
from backup_lib.errors import DamagedArchiveError, UsageError, WrongKeyError
from backup_lib.manifest import Compression, Format, Kind

NOON = datetime(2025, 9, 23, 12, 0, 5, tzinfo=UTC)
TEXT = b"--\n-- PostgreSQL database dump\n--\n"


@pytest.mark.parametrize(
    ("kind", "format", "compression", "name"),
    [
        ("full", "plain", "gzip", "pos_db_backup_20250923_120005.sql.gz"),
        ("full", "plain", "none", "pos_db_backup_20250923_120005.sql"),
        ("schema", "plain", "zstd", "pos_db_backup_20250923_120005_schema.sql.zst"),
        ("data", "custom", "gzip", "pos_db_backup_20250923_120005_data.dump"),
        ("tables", "directory", "zstd", "pos_db_backup_20250923_120005_tables.dir"),
        ("full", "tar", "none", "pos_db_backup_20250923_120005.tar"),
    ],
)
def test_a_name_says_database_time_kind_and_form(
    kind: Kind, format: Format, compression: Compression, name: str
) -> None:
    assert build_name("pos_db", NOON, kind=kind, format=format, compression=compression) == name
    parsed = parse_name(name)
    assert parsed
    assert (parsed.database, parsed.started_at, parsed.kind) == ("pos_db", NOON, kind)


@pytest.mark.parametrize(
    "database",
    ["../etc", "a b", "ñandú", ".hidden", "-rf", "~root", "x_backup_20250101_000000", "50%", "a*?[b]", 'q"', "😀"],
)
def test_any_database_name_makes_a_harmless_file_name_that_can_be_read_back(database: str) -> None:
    name = build_name(database, NOON, kind="full", format="plain", compression="gzip")
    assert name.startswith(name_prefix(database))
    assert not set(name) & set("/ *?[]\"'\\$;&|<>\n")
    assert name[0] not in ".-~"
    parsed = parse_name(name)
    assert parsed
    assert parsed.database == database


def test_the_longest_database_name_still_fits_a_file_name_with_all_that_is_hung_on_it() -> None:
    name = build_name("ñ" * 31 + "x", NOON, kind="tables", format="plain", compression="zstd")
    assert len(f".{name}.manifest.json.partial") <= 255


def test_the_time_in_a_name_is_utc() -> None:
    at = NOON.astimezone(timezone(timedelta(hours=-5)))
    assert "120005" in build_name("d", at, kind="full", format="plain", compression="none")


@pytest.mark.parametrize(
    "name",
    [
        "x.sql.gz",
        "backup.dump",
        "latest_backup.sql",
        "d_backup_20251332_120005.sql",
        "d_backup_20250923_120005_weird.sql",
        "d_backup_20250923_120005.sql.gz.manifest.json",
        "",
    ],
)
def test_others_names_say_nothing(name: str) -> None:
    assert parse_name(name) is None


def tar_of(member: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(member))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("head", "format", "compression"),
    [
        pytest.param(TEXT, "plain", "none", id="text"),
        pytest.param(gzip.compress(TEXT), "plain", "gzip", id="gzip"),
        pytest.param(b"PGDMP\x01\x0e\x00" + bytes(50), "custom", "none", id="custom"),
        pytest.param(gzip.compress(b"PGDMP\x01\x0e\x00"), "custom", "gzip", id="custom-in-gzip"),
        pytest.param(tar_of("toc.dat"), "tar", "none", id="tar"),
        pytest.param(gzip.compress(tar_of("toc.dat")), "tar", "gzip", id="tar-in-gzip"),
        pytest.param(b"\x28\xb5\x2f\xfd", "plain", "zstd", id="zstd-cut-short"),
        pytest.param(b"\x1f\x8b", "plain", "gzip", id="gzip-cut-short"),
        pytest.param(b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd", "plain", "zstd", id="skippable-frame"),
    ],
)
def test_the_first_bytes_say_what_an_archive_is(head: bytes, format: str, compression: str) -> None:
    content = detect(head)
    assert (content.format, content.compression) == (format, compression)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param(b"", r"x is empty \(0 bytes\)", id="empty"),
        pytest.param("-- dump".encode("utf-16"), "UTF-16", id="powershell"),
        pytest.param(gzip.compress(b"\x7fELF\0\0"), "binary", id="binary"),
        pytest.param(tar_of("backups/a.sql"), "tar file, but not one of pg_dump's", id="rotated"),
    ],
)
def test_what_pg_dump_does_not_write_is_refused(head: bytes, message: str) -> None:
    with pytest.raises(DamagedArchiveError, match=message) as caught:
        detect(head, name="x")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("head", "program"),
    [
        (b"age-encryption.org/v1\n", "age"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "age"),
        (b"Salted__12345678", "openssl enc"),
        (b"-----BEGIN PGP MESSAGE-----\n", "PGP"),
        (b"\x8c\x0d\x04\x09", "PGP"),
    ],
)
def test_an_encrypted_archive_is_named_with_the_command_that_decrypts_it(head: bytes, program: str) -> None:
    with pytest.raises(WrongKeyError, match=program) as caught:
        detect(head)
    assert program.split()[0].lower().replace("pgp", "gpg") in caught.value.hint


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"BZh91AY", b"\xfd7zXZ\x00", b"\x04\x22\x4d\x18"])
def test_other_packings_are_named_with_the_command_that_unpacks_them(magic: bytes) -> None:
    with pytest.raises(UsageError, match="not read") as caught:
        detect(magic + bytes(20))
    assert caught.value.hint.startswith("unpack it first: ")


@pytest.mark.parametrize("size", [0, 5, 10, 11, 40, 80])
def test_a_table_of_contents_cut_short_does_not_say_who_made_it(size: int) -> None:
    head = b"PGDMP\x01\x0e\x00\x04\x08\x01" + b"\0\1\0\0\0" * 8 + b"\0\x09\0\0\0" + b"x" * 30
    assert dump_version_of(head[:size], Content(format="custom", compression="none")) is None


def test_a_folder_is_a_directory_archive_if_it_has_a_table_of_contents(tmp_path: Path) -> None:
    with pytest.raises(DamagedArchiveError, match=r"without toc\.dat"):
        detect_path(tmp_path)
    (tmp_path / "toc.dat").write_bytes(b"PGDMP")
    assert detect_path(tmp_path).format == "directory"


def test_a_directorys_digest_is_what_sha256sum_of_its_sorted_lines_gives() -> None:
    files = [("toc.dat", 3, "ab" * 32), ("3000.dat.gz", 4, "cd" * 32)]
    text = f"{'cd' * 32}  4  3000.dat.gz\n{'ab' * 32}  3  toc.dat\n"
    assert directory_digest(files) == (7, hashlib.sha256(text.encode()).hexdigest())
    assert directory_digest(reversed(files)) == directory_digest(files)


def test_an_openssl_file_without_its_salt_is_called_that() -> None:
    with pytest.raises(
        DamagedArchiveError, match=r"b\.sql\.gz\.enc does not begin as openssl enc writes.*-nosalt"
    ) as said:
        detect(bytes(range(256)) * 4, name="b.sql.gz.enc")
    assert "openssl enc -d -nosalt" in str(said.value.hint)
