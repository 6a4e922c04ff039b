"""The manifest: written and read back, and what is refused."""

from __future__ import annotations

import json

import pytest
from archives import a_manifest

from backup_lib.errors import DamagedManifestError
from backup_lib.manifest import parse_manifest, render_manifest


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
