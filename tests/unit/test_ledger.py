"""The ledger beside an archive: which drills count for the file that lies there."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_lib.errors import StoreError
from backup_lib.ledger import SUFFIX, Entry, Ledger, digest_stored, note_drill, read_ledger, write_ledger
from backup_lib.store import LocalStore

AT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


def an_entry(
    verdict: str = "verified", *, level: str = "full", causes: tuple[str, ...] = (), sha256: str = A, size: int = 4
) -> Entry:
    return Entry(
        drill_id="d1",
        verdict=verdict,  # type: ignore[arg-type]
        level=level,
        causes=causes,
        finished_at=AT,
        sha256=sha256,
        size_bytes=size,
        pgdrill="0.1.0",
    )


@pytest.mark.parametrize(
    ("entry", "standing"),
    [
        pytest.param(an_entry(), "verified", id="verified"),
        pytest.param(an_entry(level="restore"), "verified", id="restored-and-counted"),
        pytest.param(an_entry(level="integrity"), None, id="only-read"),
        pytest.param(an_entry("failed", causes=("archive",)), "failed", id="damaged"),
        pytest.param(an_entry("failed", causes=("archive",), level="integrity"), "failed", id="read-and-damaged"),
        pytest.param(an_entry("failed", causes=("policy",)), "verified", id="objective-missed"),
        pytest.param(an_entry("failed", causes=("environment", "policy")), "unverified", id="not-all-compared"),
        pytest.param(an_entry("failed", causes=("archive", "policy")), "failed", id="damaged-and-late"),
        pytest.param(an_entry("failed", causes=("source",)), "unverified", id="the-source-was-corrupt"),
        pytest.param(an_entry("failed"), "unverified", id="nothing-compared"),
        pytest.param(an_entry("could_not_verify", causes=("environment",)), None, id="no-conclusion"),
    ],
)
def test_a_drill_makes_of_the_file(entry: Entry, standing: str | None) -> None:
    assert entry.standing == standing


def test_the_last_conclusion_counts_and_a_drill_without_one_takes_nothing_back() -> None:
    open_, failed = an_entry("could_not_verify"), an_entry("failed", causes=("archive",))
    assert Ledger(entries=(an_entry(), open_)).conclusion(size_bytes=4) == an_entry()
    assert Ledger(entries=(an_entry(), failed)).conclusion(size_bytes=4) == failed
    assert Ledger(entries=(failed, an_entry())).conclusion(size_bytes=4) == an_entry()
    assert Ledger(entries=(an_entry(), open_)).last(size_bytes=4) == open_


def test_an_entry_speaks_of_one_file_only() -> None:
    ledger = Ledger(entries=(an_entry(sha256=A), an_entry("failed", causes=("archive",), sha256=B)))
    conclusion = ledger.conclusion(size_bytes=4, sha256=A)
    assert conclusion
    assert conclusion.standing == "verified"
    assert ledger.conclusion(size_bytes=4, sha256="c" * 64) is None
    assert ledger.conclusion(size_bytes=5) is None
    assert ledger.last(size_bytes=5) is None


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "a.sql").write_bytes(b"text")
    return LocalStore(tmp_path)


def test_a_drill_is_noted_beside_the_archive_and_read_back(store: LocalStore) -> None:
    note_drill(store, "a.sql", an_entry())
    note_drill(store, "a.sql", an_entry("failed"))
    assert [entry.verdict for entry in read_ledger(store, "a.sql").entries] == ["verified", "failed"]
    assert store.path(f"a.sql{SUFFIX}").stat().st_mode & 0o777 == 0o600


def test_drills_that_end_together_are_all_noted(store: LocalStore) -> None:
    entries = [replace(an_entry(), drill_id=f"d{n}") for n in range(8)]
    threads = [threading.Thread(target=note_drill, args=(store, "a.sql", entry)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.drill_id for entry in read_ledger(store, "a.sql").entries} == {entry.drill_id for entry in entries}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b'{"entries":[{"verdict":"verified"}]}', b'{"schema_version":9}']
)
def test_a_ledger_that_cannot_be_read_proves_nothing(store: LocalStore, data: bytes) -> None:
    store.path(f"a.sql{SUFFIX}").write_bytes(data)
    assert read_ledger(store, "a.sql") == Ledger()


def test_an_archive_that_is_gone_gets_no_ledger(store: LocalStore) -> None:
    with pytest.raises(StoreError, match="no longer in"):
        note_drill(store, "b.sql", an_entry())
    assert not store.exists(f"b.sql{SUFFIX}")


def test_a_ledger_is_replaced_whole(store: LocalStore) -> None:
    write_ledger(store, "a.sql", Ledger(entries=(an_entry(),)))
    write_ledger(store, "a.sql", Ledger())
    assert read_ledger(store, "a.sql") == Ledger()
    assert not list(store.folder.glob(".*partial"))


def test_the_digest_is_of_the_bytes_that_lie_there(store: LocalStore) -> None:
    size_bytes, sha256 = digest_stored(store, "a.sql")
    assert (size_bytes, sha256[:8]) == (4, "982d9e3e")
