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
# What a newer server words otherwise: views of one relation, names of NOT NULL constraints (written out where the usual
# one is too long), serialized XML, words that are keywords by now, privileges that are all there are; and what the
# same major words anew.
REWORDED = b"""
CREATE VIEW public.calificada AS SELECT c.id, c.nombre FROM public.cliente c WHERE c.nombre IN ('a', 'b');
CREATE TABLE public.obligada (a int NOT NULL, b varchar(9) NOT NULL CHECK (b IN ('x', 'y')));
INSERT INTO public.obligada VALUES (1, 'x');
CREATE TABLE public.de_nombre_tan_largo_que_con_el_de_su_columna_no_cabe (en_sesenta_y_tres_letras_ni_mucho_menos int NOT NULL);
CREATE VIEW public.en_xml AS SELECT xmlserialize(CONTENT '<a/>'::xml AS text) AS texto;
CREATE TABLE public.json_table (json_scalar int, merge_action int, "absent" int CHECK (json_scalar > merge_action));
CREATE VIEW public.claves AS SELECT json_scalar, merge_action, absent AS keys FROM public.json_table;
GRANT ALL ON public.json_table TO PUBLIC;
REVOKE SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON public.json_table FROM CURRENT_USER;
CREATE TABLE public.entre (x int, y int, CHECK (x BETWEEN 1 AND 9 AND y > 0));
CREATE VIEW public.union_nula AS SELECT * FROM (SELECT x, y FROM public.entre UNION ALL SELECT x, NULL FROM public.entre) u;
CREATE TABLE public.padre_de_hijo (a int);
CREATE TABLE public.hijo_tardio (b int) INHERITS (public.padre_de_hijo);
ALTER TABLE public.padre_de_hijo ADD c text;
INSERT INTO public.hijo_tardio VALUES (1, 2, 'tres'), (4, 5, 'seis');
"""


@pytest.mark.parametrize(
    ("major", "wanted"),
    [
        pytest.param(14, {}, id="14-plain"),
        pytest.param(15, {"create": True}, id="15-create"),
        pytest.param(16, {"format": "custom"}, id="16-custom"),
        pytest.param(17, {"format": "directory"}, id="17-directory"),
    ],
)
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
