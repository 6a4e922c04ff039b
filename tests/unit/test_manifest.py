"""The manifest: written and read back, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from backup_lib.errors import DamagedManifestError
from backup_lib.inventory import Entry, Inventory, SequenceValue, TableData
from backup_lib.manifest import (
    ArchiveFacts,
    Environment,
    Extension,
    Globals,
    Manifest,
    Source,
    parse_manifest,
    render_manifest,
)

AT = datetime(2025, 2, 1, 2, 0, 3, 250000, tzinfo=UTC)


def a_manifest(*, database: str = "pos") -> Manifest:
    return Manifest(
        archive=ArchiveFacts(
            name="pos_backup_20250201_020003.sql.gz",
            kind="full",
            format="plain",
            compression="gzip",
            size_bytes=10,
            sha256="ab" * 32,
            started_at=AT,
            finished_at=AT,
        ),
        source=Source(
            database=database,
            system_identifier="7",
            server_version="15.18",
            snapshot_at=AT,
            lsn="0/1",
            in_recovery=False,
            replay_lag_s=None,
            role="postgres",
            bootstrap_role="postgres",
        ),
        environment=Environment(
            encoding="UTF8",
            collate="C",
            ctype="C",
            locale_provider="libc",
            icu_locale=None,
            collation_version=None,
            extensions=(Extension(name="hstore", version="1.8", schema="public"),),
            settings=("role=; search_path=a",),
            invalid_indexes=(),
        ),
        globals=Globals(roles=("ñ",), statements=('CREATE ROLE "ñ"',)),
        row_counts={"public.ventas": 2},
        catalog=("table public.ventas",),
        inventory=Inventory(
            entries=(Entry(type="TABLE", schema="public", name="ventas", owner="ñ", sha256="cd" * 32),),
            tables=(
                TableData(
                    schema="public",
                    name="ventas",
                    target="public.ventas",
                    columns=("id",),
                    form="copy",
                    rows=2,
                    size_bytes=4,
                    sha256="ef" * 32,
                ),
            ),
            sequences=(SequenceValue(schema="public", name="s", last_value=5, is_called=True),),
            large_objects=(),
            complete=True,
        ),
        tools={"pg_dump": "15.18"},
    )


def test_a_manifest_comes_back_as_it_was_written() -> None:
    data = render_manifest(a_manifest())
    assert data.endswith(b"}\n")
    assert parse_manifest(data) == a_manifest()


def test_times_are_written_in_utc() -> None:
    assert json.loads(render_manifest(a_manifest()))["source"]["snapshot_at"] == "2025-02-01T02:00:03.250000Z"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "x: ", id="empty"),
        pytest.param(b"not json", "x: ", id="no-json"),
        pytest.param(b"[1]", "x: ", id="no-object"),
        pytest.param(b"\xff\xfe", "x: ", id="binary"),
        pytest.param(render_manifest(a_manifest())[:-40], "x: ", id="cut-short"),
        pytest.param(b"{}", "schema_version is missing", id="no-version"),
        pytest.param(b'{"schema_version": 2}', "schema_version is 2, this pgdrill reads 1", id="newer"),
        pytest.param(b'{"schema_version": 1}', "missing required field", id="incomplete"),
        pytest.param(
            render_manifest(a_manifest()).replace(b'"public.ventas": 2', b'"public.ventas": "2"'),
            r"row_counts",
            id="wrong-type",
        ),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(DamagedManifestError, match=message) as caught:
        parse_manifest(data, name="x")
    assert caught.value.hint
