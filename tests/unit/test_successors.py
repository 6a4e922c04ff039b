"""What was set aside for another archive goes only when that is proved to stand in for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from archives import a_manifest
from test_cli import Pgdrill, pgdrill  # noqa: F401 - a fixture
from test_expiry import DUMP, FAILED, FINE, NOW, drill, names, put, store  # noqa: F401 - a fixture

from backup_lib.expiry import QUARANTINE, REPLACED, Planned, expire, plan_expiry
from backup_lib.ledger import SUFFIX, Ledger, Origin, digest_stored, read_ledger, write_ledger
from backup_lib.manifest import SUFFIX as MANIFEST
from backup_lib.manifest import render_manifest
from backup_lib.retention import Policy
from backup_lib.store import LocalStore

LATER = NOW + timedelta(days=40)


def replace_key(store: LocalStore, days: int) -> str:
    """As `rewrap` leaves it: the old one aside with what was known of it, the new one made from it."""
    name = put(store, days, FINE)
    old = read_ledger(store, name)
    for each in (name, name + SUFFIX):
        store.keep(each, REPLACED)
    store.path(name).unlink()
    store.path(name).write_bytes(DUMP + b"another key of " + name.encode())
    size_bytes, sha256 = digest_stored(store, name)
    (entry,) = old.entries
    carried = replace(entry, sha256=sha256, size_bytes=size_bytes, rewrapped_from=entry.sha256)
    write_ledger(store, name, replace(old, entries=(carried,)))
    return name


def replace_key_undrilled(store: LocalStore, days: int) -> str:
    """The same of an `openssl enc` file that nobody ever drilled; the new one was drilled since."""
    name = put(store, days)
    old = name + ".enc"
    store.path(name).rename(store.path(old))
    old_sha256 = digest_stored(store, old)[1]
    store.move(old, REPLACED)
    new = name + ".age"
    store.path(new).write_bytes(DUMP + b"another key of " + name.encode())
    origin = Origin(sha256=digest_stored(store, new)[1], made_from=("0" * 64, old_sha256))
    write_ledger(store, new, Ledger(origin=origin))
    drill(store, new, FINE)
    return old


def set_copy_aside(store: LocalStore, days: int) -> str:
    """As `sync` leaves it: the damaged copy alone in quarantine, a sound one with its manifest in its place."""
    name = put(store, days)
    store.move(name, QUARANTINE)
    store.path(name).write_bytes(DUMP + b"as it was")
    size_bytes, sha256 = digest_stored(store, name)
    manifest = a_manifest()
    assert manifest.archive
    facts = replace(manifest.archive, name=name, size_bytes=size_bytes, sha256=sha256)
    source = replace(manifest.source, snapshot_at=NOW - timedelta(days=days))
    store.path(name + MANIFEST).write_bytes(render_manifest(replace(manifest, archive=facts, source=source)))
    return name


def of(planned: list[Planned], folder: str) -> Planned:
    (one,) = [item for item in planned if item.folder == folder]
    return one


def served(store: LocalStore) -> Policy:
    """The first prune has seen it, and an archive was verified so long after that that it may go."""
    expire(store, Policy(keep_days=90), now=NOW)
    put(store, -35, FINE)
    return Policy(keep_days=90, quarantine_days=30)


@pytest.mark.parametrize(
    ("make", "folder"), [(replace_key, REPLACED), (replace_key_undrilled, REPLACED), (set_copy_aside, QUARANTINE)]
)
def test_it_goes_after_its_days_when_the_other_is_proved(
    store: LocalStore,
    make: Callable[[LocalStore, int], str],
    folder: str,
) -> None:
    name = make(store, 10)
    before = names(store)
    first = of(plan_expiry(store, Policy(), now=NOW), folder)
    assert (first.action, "from the first prune" in first.reason) == ("keep", True)
    policy = served(store)
    early = of(expire(store, replace(policy, quarantine_days=36), now=LATER), folder)
    assert (early.action, "for 36 days at least" in early.reason) == ("keep", True)
    assert name in names(store.under(folder))
    gone = of(expire(store, policy, now=LATER), folder)
    assert (gone.action, gone.failure, gone.label) == ("delete", "", f"{folder}/{name}")
    assert names(store.under(folder)) == set()
    assert before <= names(store)


def undrilled(store: LocalStore, new: str) -> None:
    write_ledger(store, new, replace(read_ledger(store, new), entries=()))


def other_file(store: LocalStore, new: str) -> None:
    """Somebody's own, under the same name, and verified."""
    store.path(new).write_bytes(DUMP + b"another one")
    drill(store, new, FINE)


def other_old_file(store: LocalStore, new: str) -> None:
    rot(store.under(REPLACED), new.replace(".age", ".enc"))


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (undrilled, "is not verified"),
        (other_file, "was made from it"),
        (other_old_file, "was made from it"),
        (lambda store, new: store.delete(new), "no archive here says"),
    ],
    ids=["undrilled", "other-file", "other-old-file", "lost"],
)
def test_a_file_that_was_never_drilled_stays_while_the_new_one_is_not_proved(
    store: LocalStore, spoil: Callable[[LocalStore, str], None], because: str
) -> None:
    old = replace_key_undrilled(store, 10)
    policy = served(store)
    spoil(store, old.replace(".enc", ".age"))
    kept = of(expire(store, policy, now=LATER), REPLACED)
    assert (kept.action, because in kept.reason) == ("keep", True), kept.reason
    assert old in names(store.under(REPLACED))


def test_time_alone_proves_nothing(store: LocalStore) -> None:
    name = replace_key(store, 10)
    expire(store, Policy(), now=NOW)
    assert of(expire(store, Policy(), now=NOW + timedelta(days=999)), REPLACED).action == "keep"
    assert name in names(store.under(REPLACED))


def rot(store: LocalStore, name: str) -> None:
    store.path(name).write_bytes(store.path(name).read_bytes().replace(b"PostgreSQL", b"PostgresQL"))


def lose(store: LocalStore, name: str) -> None:
    store.delete(name)


def fail(store: LocalStore, name: str) -> None:
    drill(store, name, ("failed", ("source",)))


def rot_old(store: LocalStore, name: str) -> None:
    rot(store.under(REPLACED), name)


def forget_origin(store: LocalStore, name: str) -> None:
    known = read_ledger(store, name)
    write_ledger(store, name, replace(known, entries=tuple(replace(e, rewrapped_from=None) for e in known.entries)))


def other_origin(store: LocalStore, name: str) -> None:
    """Its verified drill is of its own bytes, and what was carried over speaks of others."""
    known = read_ledger(store, name)
    write_ledger(store, name, replace(known, entries=tuple(replace(e, sha256="0" * 64) for e in known.entries)))
    drill(store, name, FINE)


def carry_failure(store: LocalStore, name: str) -> None:
    drill(store, name, FAILED)


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (rot, "was made from it"),
        (lose, "no archive here says"),
        (fail, "is not verified"),
        (rot_old, "was made from it"),
        (forget_origin, "no archive here says"),
        (other_origin, "was made from it"),
        (carry_failure, "is not verified"),
    ],
)
def test_an_old_keys_file_stays_while_the_new_one_is_not_proved(
    store: LocalStore,
    spoil: Callable[[LocalStore, str], None],
    because: str,
) -> None:
    name = replace_key(store, 10)
    policy = served(store)
    spoil(store, name)
    kept = of(expire(store, policy, now=LATER), REPLACED)
    assert (kept.action, because in kept.reason) == ("keep", True), kept.reason
    assert name in names(store.under(REPLACED))


@pytest.mark.parametrize(
    ("spoil", "because"),
    [
        (rot, "not what its manifest promises"),
        (lose, "no other copy of it is here"),
        (lambda store, name: store.delete(name + MANIFEST), "could not be proved sound"),
        (lambda store, name: store.path(name + MANIFEST).write_bytes(b"{}"), "could not be proved sound"),
    ],
    ids=["rotten", "lost", "without-manifest", "with-a-damaged-manifest"],
)
def test_a_damaged_copy_stays_while_the_one_in_its_place_is_not_sound(
    store: LocalStore,
    spoil: Callable[[LocalStore, str], None],
    because: str,
) -> None:
    name = set_copy_aside(store, 10)
    policy = served(store)
    spoil(store, name)
    kept = of(expire(store, policy, now=LATER), QUARANTINE)
    assert (kept.action, because in kept.reason) == ("keep", True), kept.reason
    assert name in names(store.under(QUARANTINE))


@pytest.mark.parametrize("is_rotten", [False, True])
def test_it_goes_with_the_one_that_stands_in_for_it_if_that_is_proved(
    store: LocalStore,
    *,
    is_rotten: bool,
) -> None:
    """Later nothing could prove it any more, and it would stay for ever."""
    name = replace_key(store, 90)
    put(store, 1, FINE)
    if is_rotten:
        rot(store, name)
    planned = expire(store, Policy(), now=NOW)
    assert of(planned, REPLACED).action == ("keep" if is_rotten else "delete")
    assert (name in names(store.under(REPLACED))) == is_rotten


def test_an_old_keys_file_proves_nothing_for_the_others(store: LocalStore) -> None:
    """Only what can be restored with the key of today counts as verified."""
    old, name = put(store, 90, FINE), replace_key(store, 1)
    rot(store, name)
    expire(store, Policy(), now=NOW)
    assert old in names(store)


def test_a_dry_run_tells_it_with_its_folder(pgdrill: Pgdrill, store: LocalStore) -> None:
    name = replace_key(store, 10)
    said = pgdrill("prune", "--dry-run")
    assert f"replaced/{name}" in said.out
    assert "from the first prune that sees it" in said.out
    assert read_ledger(store.under(REPLACED), name).quarantined_at is None
