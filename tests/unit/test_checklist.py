"""The checklists tick what was seen and nothing else, in two languages, and keep the record."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archives import Shelf, put_record
from test_cli import Pgdrill, pgdrill  # noqa: F401 - a fixture

from backup_lib.configuration import load_configuration
from backup_lib.monitor.checklist import Checklist, needing_drill, run_checklist
from backup_lib.monitor.checklist_items import LISTS, Period
from backup_lib.monitor.checklist_texts import render_markdown, render_text, texts
from backup_lib.monitor.status import examine

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SHOP = '[databases.shop]\nurl = "postgresql://u@h/shop"\n'
ROOT = Path(__file__).parents[2]
FOR_A_PERSON = {"logs", "documentation", "retention"}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    return Shelf(folder=tmp_path / "backups", now=NOW)


def note_run(status: int, *, hours_ago: float = 7) -> None:
    ago = (NOW - timedelta(hours=hours_ago)).isoformat()
    Path("reports").mkdir(exist_ok=True)
    Path("reports/schedule.json").write_text(json.dumps({"backup": {"due_at": ago, "ended_at": ago, "status": status}}))


def checklist(period: Period, *, toml: str = SHOP, env: dict[str, str] | None = None) -> Checklist:
    Path("pgdrill.toml").write_text(toml)
    configuration = load_configuration(env or {}, Path.cwd())
    done = run_checklist(period, examine(configuration, now=NOW), configuration)
    for item in done.items:
        if item.key in FOR_A_PERSON:
            assert item.state == "person"
    return done


def states(done: Checklist) -> dict[str, str]:
    return {item.key: item.state for item in done.items}


def keys(done: Checklist, item: str) -> list[str]:
    return [seen.key for one in done.items if one.key == item for seen in one.seen]


# daily


def test_a_schedule_that_waits_for_its_first_time_is_not_somebody_else_s(shelf: Shelf) -> None:
    shelf.put(age_h=1)
    Path("reports").mkdir()
    began = (NOW - timedelta(hours=1)).isoformat()
    Path("reports/schedule.json").write_text(json.dumps({"backup": {"due_at": began}}))
    done = checklist("daily")
    assert states(done)["automatic-run"] == "unproved"
    assert "the first time is 2026-11-25 02:00 UTC" in render_text(done, "en")
    Path("reports/schedule.json").write_text(json.dumps({"backup": {"due_at": "2026-11-22T09:00:00Z"}}))
    assert states(checklist("daily"))["automatic-run"] == "failed"  # nobody ran it then


def well(shelf: Shelf) -> None:
    note_run(0)
    shelf.put(age_h=7, drill=shelf.drill())


def test_a_good_day_is_ticked_with_the_figures(shelf: Shelf) -> None:
    well(shelf)
    done = checklist("daily")
    assert set(states(done).values()) == {"proved"}
    assert done.exit_status == 0
    (seen,) = next(item for item in done.items if item.key == "integrity").seen
    assert (seen.key, seen.values["read_bytes"]) == ("hash-promised", 1000)
    text = render_text(done, "en")
    assert "[x] Verify that the archive is intact: proved" in text
    assert f"1000 B read, SHA-256 {hashlib.sha256(bytes(1000)).hexdigest()[:16]}…" in text


def flip_a_byte(shelf: Shelf) -> None:
    well(shelf)
    (path,) = shelf.folder.glob("*.sql.gz")
    path.write_bytes(b"\1" + path.read_bytes()[1:])


def cut_short(shelf: Shelf) -> None:
    note_run(0)
    shelf.put(age_h=7, promised=1001)


def stop(shelf: Shelf) -> None:
    note_run(0)
    shelf.put(age_h=60)


def fail_the_run(shelf: Shelf) -> None:
    well(shelf)
    note_run(3)


def miss_the_run(shelf: Shelf) -> None:
    well(shelf)
    note_run(0, hours_ago=40)


def damage_the_manifest(shelf: Shelf) -> None:
    note_run(0)
    shelf.put(age_h=7, manifest=b"{", drill=shelf.drill())


def come_from_the_future(shelf: Shelf) -> None:
    well(shelf)
    shelf.put(age_h=-30)


@pytest.mark.parametrize(
    ("spoil", "failed", "unproved"),
    [
        pytest.param(flip_a_byte, {"integrity"}, set(), id="altered"),
        pytest.param(cut_short, {"size"}, set(), id="not-as-long-as-promised"),
        pytest.param(stop, {"date"}, set(), id="old"),
        pytest.param(fail_the_run, {"automatic-run"}, set(), id="run-failed"),
        pytest.param(miss_the_run, {"automatic-run"}, set(), id="run-missed"),
        pytest.param(damage_the_manifest, {"integrity"}, {"size"}, id="manifest-damaged"),
        pytest.param(come_from_the_future, {"date"}, set(), id="future"),
        pytest.param(lambda _: note_run(0), {"integrity", "size", "date"}, set(), id="no-archive"),
    ],
)
def test_what_is_wrong_fails_its_own_item(
    shelf: Shelf, spoil: Callable[[Shelf], None], failed: set[str], unproved: set[str]
) -> None:
    spoil(shelf)
    done = checklist("daily")
    assert {key for key, state in states(done).items() if state == "failed"} == failed
    assert {key for key, state in states(done).items() if state == "unproved"} == unproved
    assert done.exit_status == 1
    assert all(seen.next for item in done.items for seen in item.seen if seen.state == "failed")


def test_nothing_wrong_is_said_beside_what_is(shelf: Shelf) -> None:
    cut_short(shelf)
    assert keys(checklist("daily"), "size") == ["problem"]


def test_what_nothing_promises_is_proved_only_by_a_drill_of_those_very_bytes(shelf: Shelf) -> None:
    shelf.put(age_h=7, manifest=b"")
    done = checklist("daily")
    assert states(done) == {"automatic-run": "person", "integrity": "unproved", "size": "unproved", "date": "proved"}
    assert done.exit_status == 3
    shelf.put(age_h=6, manifest=b"", drill=shelf.drill())
    assert keys(checklist("daily"), "integrity") == ["hash-drilled"]


def test_an_archive_that_cannot_be_read_fails(shelf: Shelf) -> None:
    name = shelf.put(age_h=7)
    (shelf.folder / name).unlink()
    (shelf.folder / name).mkdir()  # as root, no mode makes a file unreadable
    (shelf.folder / name / "x").mkdir()
    assert states(checklist("daily"))["integrity"] == "failed"


@pytest.mark.parametrize("period", LISTS)
def test_where_nothing_is_known_nothing_is_ticked(shelf: Shelf, period: Period) -> None:
    done = checklist(period, toml="")
    assert "proved" not in states(done).values()
    assert done.exit_status == 3


# weekly and monthly


@pytest.mark.parametrize(
    ("entry", "weekly", "monthly"),
    [
        pytest.param({}, "proved", "proved", id="today"),
        pytest.param({"age_h": 8 * 24}, "unproved", "proved", id="a-week-ago"),
        pytest.param({"age_h": 32 * 24}, "unproved", "unproved", id="a-month-ago"),
        pytest.param({"level": "restore"}, "proved", "unproved", id="not-compared"),
        pytest.param({"level": "integrity"}, "unproved", "unproved", id="only-read"),
        pytest.param({"age_h": -48}, "unproved", "unproved", id="in-the-future"),
        pytest.param({"verdict": "failed", "causes": ("archive",)}, "failed", "failed", id="failed"),
        pytest.param({"verdict": "failed", "causes": ("policy",)}, "failed", "failed", id="too-slow"),
        pytest.param({"verdict": "could_not_verify"}, "unproved", "unproved", id="not-carried-out"),
        pytest.param(None, "unproved", "unproved", id="never"),
    ],
)  # fmt: skip
def test_a_restore_is_proved_by_a_recent_drill(
    shelf: Shelf, entry: dict[str, object] | None, weekly: str, monthly: str
) -> None:
    shelf.put(age_h=7, drill=None if entry is None else shelf.drill(**entry))  # type: ignore[arg-type]
    assert states(checklist("weekly"))["restore"] == weekly
    assert states(checklist("monthly"))["recovery"] == monthly
    status = examine(load_configuration({}, Path.cwd()), now=NOW)
    assert bool(needing_drill(status, "weekly")) == (weekly != "proved")
    assert bool(needing_drill(status, "monthly")) == (monthly != "proved")


def test_each_database_and_kind_must_be_drilled(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    other = shelf.put(age_h=7, kind="schema")
    toml = SHOP + 'kinds = ["full", "schema"]\n'
    done = checklist("weekly", toml=toml)
    assert (states(done)["restore"], keys(done, "restore")) == ("unproved", ["drilled", "never-drilled"])
    assert needing_drill(examine(load_configuration({}, Path.cwd()), now=NOW), "weekly") == [f"backups/{other}"]


def test_the_recovery_time_is_told_beside_its_objective(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    put_record(Path("reports"), "d1", at=NOW)
    done = checklist("monthly")
    assert keys(done, "recovery") == ["drilled-within"]
    assert "recovery time 40.0 s, objective 60.0 s" in render_text(done, "en")
    assert "tiempo de recuperación 40,0 s, tiempo objetivo (RTO) 60,0 s" in render_text(done, "es")


def test_archives_that_should_be_gone_are_counted(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    done = checklist("weekly")
    assert (states(done)["cleaning"], keys(done, "cleaning")) == ("proved", ["cleaning-ok"])
    shelf.put(age_h=24 * 40, drill=shelf.drill())
    done = checklist("weekly")
    (seen,) = next(item for item in done.items if item.key == "cleaning").seen
    assert (seen.state, seen.values["due_count"], seen.next) == (
        "failed",
        1,
        "pgdrill prune --backups backups --dry-run",
    )
    assert len(list(shelf.folder.glob("*.sql.gz"))) == 2
    kept = checklist("weekly", toml=SHOP + "[retention]\nkeep_monthly = 12\n")
    assert states(kept)["cleaning"] == "proved"


def test_little_room_fails(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    assert states(checklist("weekly"))["room"] == "proved"
    assert states(checklist("weekly", toml=SHOP + "[status]\nroom = 1000000000000\n"))["room"] == "failed"


AGE = b"age-encryption.org/v1\n"


@pytest.mark.parametrize(
    ("begins", "opened", "env", "state", "key"),
    [
        pytest.param(AGE, True, {}, "proved", "encrypted", id="opened-by-a-drill"),
        pytest.param(AGE, False, {}, "unproved", "encrypted-unopened", id="never-opened"),
        pytest.param(b"", True, {}, "person", "not-encrypted", id="not-asked-for"),
        pytest.param(b"", True, {"BACKUP_ENCRYPT": "true"}, "failed", "not-encrypted-though-asked", id="asked-for"),
        pytest.param(
            b"", True, {"BACKUP_RECIPIENTS": "age1x"}, "failed", "not-encrypted-though-asked", id="recipients"
        ),
        pytest.param(b"", True, {"BACKUP_ENCRYPT": "false"}, "person", "not-encrypted", id="refused"),
    ],
)
def test_encryption_is_proved_by_a_drill_that_opened_it(
    shelf: Shelf, begins: bytes, env: dict[str, str], state: str, key: str, *, opened: bool
) -> None:
    drill = shelf.drill(sha256=hashlib.sha256(begins + bytes(1000 - len(begins))).hexdigest())
    shelf.put(age_h=7, begins=begins, drill=drill if opened else None)
    done = checklist("monthly", env=env)
    assert (states(done)["encryption"], keys(done, "encryption")) == (state, [key])


# words


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_things_with_the_same_figures() -> None:
    english, spanish = texts("en"), texts("es")
    assert english.keys() == spanish.keys() - {"problems"}
    for section in english:
        assert english[section].keys() == spanish[section].keys()
        for key, text in english[section].items():
            assert fields(text) == fields(spanish[section][key]), key


def test_each_problem_and_each_thing_seen_has_its_words() -> None:
    monitor = ROOT / "backup_lib" / "monitor"
    source = "".join((monitor / name).read_text() for name in ("faults.py", "room.py", "status.py", "drift.py"))
    codes = set(re.findall(r'code="([\w-]+)"', source)) | {"size-fell", "rows-fell"}
    assert codes <= texts("es")["problems"].keys()
    guide = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
    assert [code for code in codes if f"`{code}`" not in guide] == []
    said = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', (monitor / "checklist_items.py").read_text()))
    assert texts("en")["found"].keys() - said == set()


def test_a_problem_is_told_in_spanish_with_commands_as_they_are(shelf: Shelf) -> None:
    shelf.put(age_h=60)
    text = render_text(checklist("daily"), "es")
    assert "Lista de control diaria de respaldos" in text
    assert "[ ] Verificar la fecha de creación: FALLÓ" in text
    assert "el respaldo más reciente de shop (full) es del 2026-11-21 21:00 UTC, hace 2 días; se permiten" in text
    assert "siguiente: pgdrill schedule health; pgdrill backup --database shop --kind full" in text


VARIANTS = {"", "series", "empty", "unread", "drill", "run", "failed", "schedule"}
ENGLISH = re.compile(r"\b(the|is|are|of|has|was|in)\b")


def ail(shelf: Shelf, what: str) -> None:
    """One thing that is wrong; what the names of these cases say."""
    if what == "missing":
        shelf.folder.mkdir(exist_ok=True)
    elif what == "future":
        shelf.put(age_h=-50)
    elif what == "run-failed":
        note_run(3)
    elif what == "run-missed":
        note_run(0, hours_ago=60)
    elif what == "size-differs":
        shelf.put(age_h=7)
        next(shelf.folder.glob("*.sql.gz")).write_bytes(b"")
    elif what == "manifest-damaged":
        shelf.put(age_h=7)
        next(shelf.folder.glob("*.manifest.json")).write_bytes(b"{}")
    elif what == "emptied":
        for age_h in range(7, 7 + 24 * 6, 24):
            shelf.put(age_h=age_h, rows={"public.ventas": 0 if age_h == 7 else 900, "public.otras": 5})
    elif what == "size-fell":
        for age_h in range(7, 7 + 24 * 6, 24):
            shelf.put(age_h=age_h, size=10 if age_h == 7 else 1_000_000)
    elif what == "rows-fell":
        for age_h in range(7, 7 + 24 * 6, 24):
            shelf.put(age_h=age_h, rows={"public.ventas": 1 if age_h == 7 else 90_000})


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("missing", "no hay ningún respaldo de shop (full) en"),
        ("future", "está en el futuro: no se cuenta"),
        ("run-failed", "la ejecución programada de backup falló el 2026-11-24 02:00 UTC con estado de salida 3"),
        ("run-missed", "la ejecución programada de backup debió ocurrir el 2026-11-22 02:00 UTC y no terminó"),
        ("size-differs", "mide 0 B y su manifiesto promete 1000 B"),
        ("manifest-damaged", "nada dice qué debe contener el respaldo"),
        ("emptied", "hay tablas vacías que antes tenían filas: public.ventas"),
        ("size-fell", "mide 10 B, mucho menos de lo usual, 976,6 KiB; se permite que baje un "),
        ("rows-fell", "tiene 1 filas, muchas menos de lo usual, 90.000;"),
    ],
)
def test_a_problem_is_told_in_spanish_with_its_figures_and_without_english(shelf: Shelf, what: str, told: str) -> None:
    ail(shelf, what)
    done = checklist("daily")
    assert done.exit_status == 1
    text = render_text(done, "es")
    assert told in text
    assert ENGLISH.findall(text.replace(str(shelf.folder), "")) == []


@pytest.mark.parametrize("lost", ["backups", "reports/schedule.json"])
def test_what_cannot_be_read_is_told_in_spanish_without_english(shelf: Shelf, lost: str) -> None:
    note_run(0)
    if lost == "backups":
        Path("backups").write_text("a file")
    else:
        shelf.put(age_h=7)
        Path(lost).write_text("{")
    text = render_text(checklist("weekly"), "es") + render_text(checklist("daily"), "es")
    assert "no se puede leer" in text
    assert lost in text
    assert ENGLISH.findall(text.replace(str(shelf.folder), "")) == []


def test_each_problem_gives_what_its_spanish_text_wants() -> None:
    """Each place in the source that makes one, whether or not a test comes by there."""
    checked = set()
    for name in ("faults.py", "room.py", "status.py", "drift.py"):
        for made in ast.walk(ast.parse((ROOT / "backup_lib" / "monitor" / name).read_text())):
            if isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "Problem":
                given = {one.arg: one.value for one in made.keywords}
                code = given["code"]
                if not isinstance(code, ast.Constant):
                    continue
                variants = strings(given["variant"]) & VARIANTS if "variant" in given else {""}
                for key in (f"{code.value}-{variant}".rstrip("-") for variant in variants):
                    assert fields(texts("es")["problems"][key]) <= values_of(given.get("values")), key
                    checked.add(key)
    assert texts("es")["problems"].keys() - checked == {"size-fell", "rows-fell"}  # made from one f-string; run above


def strings(node: ast.expr) -> set[str]:
    return {str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)}


def values_of(node: ast.expr | None) -> set[str]:
    if node is None:
        return set()
    if isinstance(node, ast.Name):  # the one that all problems of a drill share
        return {"archive", "drill", "ended_at"}
    named = {"database", "kind"} if "_named" in ast.unparse(node) else set()
    return strings(node) | named


def test_a_name_cannot_tick_a_line_of_the_record(shelf: Shelf) -> None:
    shelf.put(age_h=7, database="x\n- [x] **all**")
    text = render_markdown(checklist("daily", toml=""), "en")
    assert "- [x] **all**" not in text
    assert "Approved by: ___" in text


# the command


def test_the_record_is_kept_and_a_dry_run_keeps_none(pgdrill: Pgdrill, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    shelf = Shelf(folder=tmp_path / "backups", now=now)
    name = shelf.put(age_h=1, drill=shelf.drill())
    said = pgdrill("checklist", "weekly", "--dry-run")
    assert (said.status, "[x] Prove that an archive restores" in said.out) == (0, True)
    assert not (tmp_path / "reports").exists()
    said = pgdrill("checklist", "daily", "--json", "--lang", "es")
    assert said.status == 0
    (kept,) = (tmp_path / "reports" / "checklists").glob("*-daily.json")
    assert json.loads(kept.read_text()) == json.loads(said.out)
    assert kept.stat().st_mode & 0o777 == 0o600
    page = kept.with_suffix(".md").read_text()
    assert "- [x] **Verificar la integridad del archivo**: comprobado" in page
    assert name in page
    for _ in range(4):  # most of them in one second
        pgdrill("checklist", "daily")
    records = sorted((tmp_path / "reports" / "checklists").glob("*-daily.json"))
    assert len(records) == len(list(kept.parent.glob("*-daily.md"))) == 5
    (shelf.folder / name).write_bytes(b"\1" * 1000)
    assert pgdrill("checklist", "daily", "--dry-run").status == 1


def test_a_record_that_was_not_finished_leaves_nothing(
    pgdrill: Pgdrill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a name of its own, so no later one would take its place."""
    shelf = Shelf(folder=tmp_path / "backups", now=datetime.now(UTC))
    shelf.put(age_h=1, drill=shelf.drill())
    kept = tmp_path / "reports" / "checklists"
    kept.mkdir(parents=True)
    (kept / ".20250101T020000Z-daily.json.partial").write_text("{")  # killed while it was written
    assert pgdrill("checklist", "daily").status == 0
    assert len(list(kept.iterdir())) == 2
    fsync, calls = os.fsync, [0]

    def interrupted(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == 3:  # of the second file
            raise KeyboardInterrupt
        fsync(descriptor)

    for path in kept.iterdir():
        path.unlink()
    monkeypatch.setattr(os, "fsync", interrupted)
    assert pgdrill("checklist", "daily").status == 130
    assert list(kept.iterdir()) == []
