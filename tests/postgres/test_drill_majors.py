"""Archives of an older major in a newer server, where that is all there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drilling import DrillOf, told

from backup_lib.backup import make_backup
from backup_lib.server_programs import NEWEST_MAJOR, server_for
from backup_lib.servers import Server
from verification.sandbox import choice

pytestmark = pytest.mark.postgres

EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
REWORDED = b"""
CREATE VIEW public.calificada AS SELECT c.id, c.nombre FROM public.cliente c WHERE c.nombre IN ('a', 'b');
CREATE TABLE public.obligada (a int NOT NULL, b varchar(9) NOT NULL CHECK (b IN ('x', 'y')));
INSERT INTO public.obligada VALUES (1, 'x');
"""


@pytest.mark.parametrize("major", [14, 15, 17])
@pytest.mark.parametrize("wanted", [{}, {"create": True}, {"format": "custom"}], ids=["plain", "create", "custom"])
def test_an_archive_of_an_older_major_is_verified_and_said_to_be_cross_major(
    server_of: Callable[[int], Server], fresh_database: Callable[..., str], psql: Callable[..., None],
    drill_of: DrillOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int, wanted: dict[str, Any],
) -> None:  # fmt: skip
    """Trap 5: NOT NULL is a constraint from 18 on, and views are worded otherwise."""
    server = server_of(major)
    dsn = fresh_database(server)
    psql(server, dsn, EVERY_OBJECT + REWORDED)
    path = make_backup(dsn, tmp_path, programs=server.programs, **wanted).path
    assert path
    monkeypatch.setattr(choice, "server_for", lambda _: server_for(NEWEST_MAJOR))
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    assert record.sandbox
    assert record.sandbox.server_version.startswith(str(NEWEST_MAJOR))
    assert any("cross-major" in sentence for sentence in record.not_proved)
