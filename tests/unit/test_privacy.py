"""What others may read is said, with the command that ends it, and costs no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_drill import DUMP, drill_of, recorded

from backup_lib.manifest import SUFFIX
from backup_lib.privacy import readable_by_others


@pytest.mark.parametrize(
    ("mode", "around", "is_open"),
    [
        (0o600, 0o755, False),
        (0o644, 0o755, True),
        (0o640, 0o750, True),
        (0o640, 0o705, False),  # others get in, but the group alone could read
        (0o604, 0o750, False),
        (0o622, 0o755, True),  # what others can write is not what was written
        (0o666, 0o700, False),
    ],
    ids=oct,
)
def test_others_may_read_a_file_that_is_open_in_a_folder_that_is_open(
    *, mode: int, around: int, is_open: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    path = folder / "x.sql"
    path.write_bytes(DUMP)
    path.chmod(mode)
    folder.chmod(around)
    assert readable_by_others([path, folder / "gone"]) == ([path] if is_open else [])


def test_a_drill_notes_what_others_may_read_and_how_to_end_it(tmp_path: Path) -> None:
    folder = tmp_path / "the backups"
    folder.mkdir(mode=0o755)
    archive, beside = folder / "shop.sql", folder / f"shop.sql{SUFFIX}"
    archive.write_bytes(DUMP)
    archive.chmod(0o644)
    with drill_of(archive, level="integrity") as drill:
        drill.judge_all()
    record = recorded(drill)
    (note,) = [finding for finding in record.findings if finding.object == "file modes"]
    assert (note.status, note.cause) == ("note", "environment")
    assert note.hint == f"`chmod go= '{archive}'`"
    (judged,) = [check for check in record.checks if check.name == "integrity"]
    assert judged.status == "passed"

    beside.write_bytes(b"{}")
    beside.chmod(0o604)
    with drill_of(archive, level="integrity") as drill:
        assert drill.facts.wide == (str(archive), str(beside))
    archive.chmod(0o600)
    beside.chmod(0o600)
    with drill_of(archive, level="integrity") as drill:
        assert drill.facts.wide == ()
