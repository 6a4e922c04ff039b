"""What pg_dump is asked for, beside what is to be in the archive."""

from __future__ import annotations

from typing import Any

import pytest

from backup_lib.backup import BackupOptions
from backup_lib.errors import UsageError

_CLEAN = ("--clean", "--if-exists")


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        pytest.param({}, _CLEAN, id="whole"),
        pytest.param({"compression": "zstd"}, _CLEAN, id="zstd"),
        pytest.param({"create": True}, ("--clean", "--create", "--if-exists"), id="create"),
        pytest.param({"kind": "schema"}, (), id="over-a-live-database-all-rows-would-go"),
        pytest.param({"kind": "data"}, (), id="rows"),
        pytest.param({"tables": ["products"]}, (), id="other-tables-may-lean-on-it"),
        pytest.param({"schemas": ["pos"]}, (), id="one-schema"),
        pytest.param({"exclude_tables": ["audit"]}, (), id="a-table-left-out"),
        pytest.param({"format": "custom"}, ("--format=custom", "--compress=1"), id="custom"),
        pytest.param({"format": "tar"}, ("--format=tar",), id="tar"),
        pytest.param(
            {"format": "directory", "jobs": 3, "compression": "none"},
            ("--format=directory", "--compress=0", "--jobs=3"),
            id="directory",
        ),
    ],
)
def test_a_text_drops_what_it_makes_where_nothing_else_leans_on_that(
    wanted: dict[str, Any], options: tuple[str, ...]
) -> None:
    assert BackupOptions(**wanted).of_pg_dump() == options


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"create": True, "kind": "data"}, "only a plain archive with definitions"),
        ({"create": True, "format": "custom"}, "only a plain archive with definitions"),
        ({"jobs": 2}, "several jobs need the format directory"),
        ({"format": "tar", "compression": "gzip"}, "a tar archive cannot be compressed"),
        ({"kind": "tables"}, "tables is no kind by itself"),
    ],
)
def test_what_contradicts_itself_is_refused(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        BackupOptions(**wanted).of_pg_dump()
