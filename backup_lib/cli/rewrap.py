"""`pgdrill rewrap`: other keys for archives that exist; each with what was done, or why not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.options import (
    DEFAULT_PLACE,
    AsJson,
    Backups,
    Identities,
    Recipients,
    RecipientsFiles,
    choose_keys,
    choose_recipients,
)
from backup_lib.cli.talk import Progress, put, put_json, render_columns, render_size, say
from backup_lib.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backup_lib.catalog import Found
    from backup_lib.rewrap import Rewrapped, Rewrapping


@dataclass(slots=True, kw_only=True)
class _Outcome:
    found: Found
    plan: Rewrapping | None = None
    done: Rewrapped | None = None
    failure: BackupError | None = None


@announced("rewrap", lambda given: ", ".join(given["archives"]))
def rewrap(
    archives: Annotated[
        list[str], typer.Argument(metavar="ARCHIVE…", help="Names, paths, globs, latest, latest:DATABASE:KIND or all.")
    ],
    *,
    backups: Backups = DEFAULT_PLACE,
    recipients: Recipients = None,
    recipients_files: RecipientsFiles = None,
    identities: Identities = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-old/--remove-old",
            help="Keep old ones in the folder replaced, or delete them once the new is proved.",
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try the keys, and say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give archives that exist another key, proved before the old one goes aside.

    Files of openssl enc, age files, and archives in plain become age files, for the recipients named, else with
    BACKUP_ENCRYPT_PASSWORD. They are opened with BACKUP_OLD_ENCRYPT_PASSWORD, else that one, or an --identity, of
    which give the new one, too. The database is not needed. One that fails stays as it was and stops no other.
    """
    from backup_lib.catalog import resolve
    from backup_lib.encryption import Keys, choose_lock, keys_before
    from backup_lib.rewrap import plan_rewrap
    from backup_lib.rewrap import rewrap as rewrap_one
    from backup_lib.staging import finish_interrupted

    given = choose_keys(identities)
    lock = choose_lock(os.environ, encrypt=True, recipients=choose_recipients(recipients, recipients_files))
    assert lock is not None  # noqa: S101 - with `encrypt` there is one, or an error
    old, new = keys_before(os.environ, given), Keys(passphrase=lock.passphrase, identity_files=given.identity_files)
    found = resolve(archives, backups)
    if not dry_run:
        for store in {archive.store.location: archive.store for archive in found}.values():
            finish_interrupted(store)
        found = resolve(archives, backups)

    def convert(outcome: _Outcome) -> None:
        plan = outcome.plan = plan_rewrap(outcome.found, lock, old, new)
        if dry_run or plan.reason:
            return
        progress = Progress(f"{outcome.found.name}: read", total_bytes=outcome.found.size_bytes)
        try:
            outcome.done = rewrap_one(plan, lock, old, new, keep=keep, progress=progress)
        finally:
            progress.done()

    outcomes = [_tried(archive, convert) for archive in found]
    if as_json:
        put_json({"dry_run": dry_run, "archives": [_describe(outcome) for outcome in outcomes]})
    else:
        _put(outcomes, dry_run=dry_run, keep=keep)
    note(*(f"{outcome.found.name}: {outcome.failure.message}" for outcome in outcomes if outcome.failure))
    note(_sum_up(outcomes, dry_run=dry_run), *(f"next: {hint}" for hint in _hints(outcomes)))
    if failed := [outcome.failure.exit_status for outcome in outcomes if outcome.failure]:
        raise typer.Exit(1 if 1 in failed else max(failed))


def _tried(found: Found, convert: Callable[[_Outcome], None]) -> _Outcome:
    outcome = _Outcome(found=found)
    try:
        convert(outcome)
    except BackupError as exc:
        outcome.failure = exc
    return outcome


def _word(outcome: _Outcome, *, dry_run: bool) -> str:
    if outcome.failure:
        return "failed"
    if outcome.plan and outcome.plan.reason:
        return "stays"
    return "would" if dry_run else "done"


def _describe(outcome: _Outcome) -> dict[str, Any]:
    plan, done = outcome.plan, outcome.done
    return {
        "name": outcome.found.name,
        "folder": outcome.found.store.location,
        "new_name": plan.name if plan and not plan.reason else None,
        "was": plan.was if plan else None,
        "reason": plan.reason or None if plan else None,
        "size_bytes": done.size_bytes if done else None,
        "sha256": done.sha256 if done else None,
        "inner_sha256": done.inner_sha256 if done else None,
        "standing_carried": done.standing_carried if done else None,
        "failure": outcome.failure.message if outcome.failure else None,
        "hint": outcome.failure.hint or None if outcome.failure else None,
    }


def _put(outcomes: Sequence[_Outcome], *, dry_run: bool, keep: bool) -> None:
    rows = [
        (_word(outcome, dry_run=dry_run), outcome.found.name, render_size(outcome.found.size_bytes), _told(outcome))
        for outcome in outcomes
    ]
    put(render_columns(("", "archive", "size", ""), rows, right=[2]) + "\n")
    for hint in _hints(outcomes):
        say(f"hint: {hint}")
    put(_sum_up(outcomes, dry_run=dry_run))
    changed = _changed(outcomes)
    if changed and keep and not dry_run:
        say("note: the old ones lie in replaced/, and the old key opens them still: pgdrill prune deletes them in time")
    if any(outcome.plan and not outcome.plan.authenticated for outcome in changed):
        say(
            "note: openssl enc authenticates nothing, so that nobody altered those before is not proved by this: "
            "drill them, pgdrill verify"
        )


def _hints(outcomes: Sequence[_Outcome]) -> list[str]:
    return list(dict.fromkeys(one.failure.hint for one in outcomes if one.failure and one.failure.hint))


def _changed(outcomes: Sequence[_Outcome]) -> list[_Outcome]:
    return [outcome for outcome in outcomes if outcome.plan and not outcome.plan.reason and not outcome.failure]


def _sum_up(outcomes: Sequence[_Outcome], *, dry_run: bool) -> str:
    changed, failed = len(_changed(outcomes)), sum(outcome.failure is not None for outcome in outcomes)
    would = "would be " if dry_run else ""
    return f"{changed} {would}rewrapped, {len(outcomes) - changed - failed} stay as they are, {failed} failed"


def _told(outcome: _Outcome) -> str:
    if outcome.failure:
        return outcome.failure.message
    plan = outcome.plan
    if plan is None or plan.reason:
        return plan.reason if plan else ""
    becomes = "the same name" if plan.name == plan.found.name else plan.name
    proved = f", proved; inner sha256 {outcome.done.inner_sha256[:12]}…" if outcome.done else ""
    standing = ", its drills count on" if outcome.done and outcome.done.standing_carried else ""
    return f"{plan.was}: age, {becomes}{proved}{standing}"
