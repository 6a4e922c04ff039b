"""The checks judge facts alone; here what real archives seldom show."""

from __future__ import annotations

import pytest

from backup_lib.inventory import Entry
from backup_lib.load_report import LoadReport
from backup_lib.statement_errors import StatementError
from verification.checks import CHECKS, checks_of
from verification.checks.restore import check_restore, lacked
from verification.facts import Archived, Facts, pair_entries
from verification.finding import Finding
from verification.findings import LISTED, capped, excused, some


def facts(*errors: StatementError, refused: tuple[str, ...] = ()) -> Facts:
    load = LoadReport(errors=list(errors), refused=list(refused))
    return Facts(level="full", expect=(), manifest=None, manifest_damage=None, archived=Archived(), load=load)


def error(entry: str, sqlstate: str, message: str) -> StatementError:
    return StatementError(entry=entry, sqlstate=sqlstate, message=message)


def entry(name: str, sha256: str = "a", *, kind: str = "TABLE", database: str | None = None) -> Entry:
    return Entry(type=kind, schema="public", name=name, owner="postgres", sha256=sha256, database=database)


def fault(subject: str) -> Finding:
    return Finding(check="x", object=subject, status="fault", cause="archive")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_never_returns_nothing(check: object) -> None:
    nothing = Facts(level="full", expect=(), manifest=None, manifest_damage=None, archived=Archived())
    assert check.run(nothing)  # type: ignore[attr-defined]


def test_each_level_has_the_checks_of_the_lower_ones() -> None:
    assert set(checks_of("integrity")) < set(checks_of("restore")) < set(checks_of("full")) == set(CHECKS)


@pytest.mark.parametrize(
    ("sqlstate", "message", "cause"),
    [
        pytest.param("0A000", 'extension "postgis" is not available', "environment", id="extension"),
        pytest.param("58P01", 'could not access file "$libdir/x": No such file', "environment", id="library"),
        pytest.param("53100", "could not extend file: No space left on device", "environment", id="disk"),
        pytest.param("42P01", 'relation "public.t" does not exist', "archive", id="relation"),
        pytest.param("23505", "could not create unique index", "archive", id="key"),
    ],
)
def test_what_the_server_refused_is_blamed_on_who_can_mend_it(sqlstate: str, message: str, cause: str) -> None:
    (finding,) = check_restore(facts(error("TABLE public.t", sqlstate, message)))
    assert (finding.cause, finding.status) == (cause, "fault" if cause == "archive" else "gap")
    assert finding.hint


def test_money_in_an_unknown_locale_says_nothing_against_the_archive() -> None:
    unread = error("TABLE DATA public.plata", "22P02", "invalid input syntax for type money")
    (finding,) = check_restore(facts(unread))
    assert (finding.status, finding.cause) == ("gap", "environment")
    assert "pgdrill manifest" in finding.hint


def test_what_follows_from_something_lacking_is_lacking_too_and_what_came_before_is_not() -> None:
    seen = facts(
        error("TABLE public.before", "42P01", 'relation "x" does not exist'),
        error("EXTENSION postgis", "0A000", 'extension "postgis" is not available'),
        error("TABLE public.lugar", "42704", 'type "public.geometry" does not exist'),
        error("INDEX public.unico", "23505", "could not create unique index"),
    )
    assert lacked(seen) == {"EXTENSION postgis", "TABLE public.lugar"}


def test_a_command_for_psql_is_a_fault_said_once() -> None:
    (finding,) = check_restore(facts(refused=("\\!", "\\!")))
    assert (finding.object, finding.status) == ("\\!", "fault")


def test_a_gap_in_place_of_a_fault_keeps_what_was_seen() -> None:
    gap = excused(fault("TABLE public.t"))
    assert (gap.object, gap.status, gap.cause) == ("TABLE public.t", "gap", "environment")


def test_many_faults_are_cut_to_a_list_that_says_how_many_more_there_are() -> None:
    cut = capped([fault(f"t{n}") for n in range(LISTED + 30)])
    assert len(cut) == LISTED + 1
    assert cut[-1].object == "30 more"
    assert some(["a", "b", "c"], 2) == "a, b and 1 more"


def test_losing_one_of_three_entries_of_one_name_is_one_missing_and_none_changed() -> None:
    three = [entry("cast", digest, kind="CAST") for digest in "abc"]
    pairs = pair_entries(three, [three[0], three[2]])
    assert (pairs.missing, pairs.changed, pairs.extra) == ([1], [], [])


def test_a_database_is_the_same_entry_wherever_the_dump_places_it() -> None:
    pairs = pair_entries([entry("shop", kind="DATABASE")], [entry("shop", kind="DATABASE", database="shop")])
    assert pairs.same == [(0, 0)]


def test_equal_entries_of_two_databases_are_not_one_another() -> None:
    pairs = pair_entries([entry("t", database="a")], [entry("t", database="b")])
    assert (pairs.missing, pairs.extra) == ([0], [0])
