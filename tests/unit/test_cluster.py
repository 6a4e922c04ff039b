"""Settings as SQL."""

from __future__ import annotations

import pytest

from backup_lib.cluster import HIDDEN, Setting


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        (
            Setting(database="pos", role="", name="TimeZone", value="America/Lima"),
            """ALTER DATABASE "pos" SET "TimeZone" TO 'America/Lima'""",
        ),
        (
            Setting(database="", role='a"b', name="work_mem", value="8MB"),
            """ALTER ROLE "a""b" SET "work_mem" TO '8MB'""",
        ),
        (
            Setting(database="pos", role="app", name="search_path", value='"$user", public, "a ""b"""'),
            """ALTER ROLE "app" IN DATABASE "pos" SET "search_path" TO '$user', 'public', 'a "b"'""",
        ),
        (
            Setting(database="", role="", name="search_path", value='""'),
            """ALTER ROLE ALL SET "search_path" TO ''""",
        ),
        (
            Setting(database="", role="app", name="app.path", value="it's C:\\x"),
            """ALTER ROLE "app" SET "app"."path" TO E'it''s C:\\\\x'""",
        ),
    ],
)
def test_a_setting_is_written_as_the_statement_that_sets_it(setting: Setting, statement: str) -> None:
    assert setting.statement == statement


def test_a_hidden_value_is_not_set_to_something_else() -> None:
    assert Setting(database="", role="a", name="app.jwt_secret", value=HIDDEN).statement is None
