"""`pgdrill checklist`: what is to be looked at each day, week and month, ticked only where it was seen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backup_lib.cli.configured import load
from backup_lib.cli.options import AsJson
from backup_lib.cli.status import Place
from backup_lib.cli.talk import put, put_json, say
from backup_lib.errors import LockedError, StoreError

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration
    from backup_lib.monitor.checklist import Checklist
    from backup_lib.monitor.checklist_texts import Language


def checklist(
    period: Annotated[Literal["daily", "weekly", "monthly"], typer.Argument(help="Which list.", show_default=False)],
    *,
    drill: Annotated[
        bool, typer.Option("--drill", help="Weekly and monthly: drill what was not drilled since the last time.")
    ] = False,
    lang: Annotated[Literal["en", "es"], typer.Option("--lang", help="English or Spanish.")] = "en",
    backups: Place = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Keep no record, and run no drill.")] = False,
    as_json: AsJson = False,
) -> None:
    """Go through the daily, weekly or monthly checklist, tick what is proved, and keep the record.

    Exits 0 if nothing is left but what a person must do, 1 if something is wrong, 3 if something could not be proved.
    """
    from backup_lib.monitor.checklist import needing_drill, run_checklist
    from backup_lib.monitor.checklist_texts import render_text, texts
    from backup_lib.monitor.status import examine

    configuration = load()
    status = examine(configuration, now=datetime.now(UTC), place=backups)
    if drill and period != "daily" and not dry_run and (wanted := needing_drill(status, period)):
        _drill(wanted, configuration, period)
        status = examine(configuration, now=datetime.now(UTC), place=backups)
    done = run_checklist(period, status, configuration)
    if as_json:
        put_json(_describe(done))
    else:
        put(render_text(done, lang))
    if not dry_run:
        at = _keep(done, lang, Path(configuration.settings.verify.reports) / "checklists")
        say(f"{texts(lang)['words']['kept']}: {at}")
    raise typer.Exit(done.exit_status)


def _drill(addresses: Sequence[str], configuration: Configuration, period: str) -> None:
    """What it finds is noted beside the archives, and read there."""
    from backup_lib.cli.suite import run_suite

    level = "full" if period == "monthly" else "restore"
    if configuration.settings.verify.level == "full":
        level = "full"
    arguments = [f"--archive={address}" for address in addresses]
    arguments += [f"--reports={configuration.settings.verify.reports}"]
    run_suite([*arguments, f"--level={level}"], output=sys.stderr.fileno())


def _describe(done: Checklist) -> dict[str, object]:
    import msgspec

    items = [
        {
            "key": item.key,
            "state": item.state,
            "seen": [
                {"state": seen.state, "key": seen.key, "values": seen.values, "next": seen.next or None}
                for seen in item.seen
            ],
        }
        for item in done.items
    ]
    told = {"period": done.period, "at": done.at, "exit_status": done.exit_status, "items": items}
    described: dict[str, object] = msgspec.to_builtins(told)
    return described


def _keep(done: Checklist, lang: Language, folder: Path) -> Path:
    """The record, by its date: figures as JSON, and for people. Of two in one second both are kept."""
    import msgspec

    from backup_lib.half_written import clear, remove
    from backup_lib.monitor.checklist_texts import render_markdown
    from backup_lib.store import LocalStore

    store, begins = LocalStore(folder), f"{done.at:%Y%m%dT%H%M%SZ}"
    figures = msgspec.json.format(msgspec.json.encode(_describe(done)), indent=1) + b"\n"
    clear(folder, "")  # what killed ones left: no other has their names, so nobody else would
    for number in count(1):
        name = f"{begins}-{done.period}" if number == 1 else f"{begins}.{number}-{done.period}"
        try:
            with store.create(f"{name}.json") as sink:
                sink.write(figures)
            break
        except LockedError:
            continue
        except StoreError:
            if not store.exists(f"{name}.json"):
                raise
    try:
        store.replace(f"{name}.md", render_markdown(done, lang).encode())
    except BaseException:  # both or none
        remove(folder / f"{name}.json")
        raise
    return folder / f"{name}.md"
