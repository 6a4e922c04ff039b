"""`pgdrill verify`: the suite, run for you, and an exit status that tells how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Identities, choose_keys
from backup_lib.cli.talk import put_json, say
from backup_lib.errors import (
    BackupError,
    DamagedArchiveError,
    DamagedManifestError,
    NoSuchArchiveError,
    UsageError,
    WrongKeyError,
)

if TYPE_CHECKING:
    from backup_lib.catalog import Found
    from backup_lib.cli.suite import Drilled, Outcome
    from backup_lib.encryption import Keys
    from backup_lib.manifest import Manifest

_UNSEEDED = 0  # which ones `random` picks here does not matter: the suite picks for itself


@announced("drill", lambda given: "each" if given["each"] else ", ".join(given["archives"] or ["latest"]))
def verify(
    archives: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARCHIVE",
            help="latest (default), latest:DB:KIND, all, random:N, a name, a glob, a path or a URL.",
            show_default=False,
        ),
    ] = None,
    *,
    backups: Backups = DEFAULT_PLACE,
    sandbox: Annotated[
        Literal["auto", "container", "embedded"] | None,
        typer.Option(help="The throwaway server; default auto.", show_default=False),
    ] = None,
    postgres_image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Container image; default postgres:<major>.")
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="full, schema, data, or TABLE,…; default what its manifest says."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Of an archive that has none beside it."),
    ] = None,
    level: Annotated[
        Literal["integrity", "restore", "full"] | None,
        typer.Option(help="How far to go; default full.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Connections that restore; default one a processor."),
    ] = None,
    rto: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Recovery time objective.")] = None,
    rpo: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="Recovery point objective.")] = None,
    reports: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the records go; default reports.", show_default=False)
    ] = None,
    identities: Identities = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Damage copies of each archive too: every one of them must be caught.")
    ] = False,
    each: Annotated[
        bool,
        typer.Option("--each", help="The newest of each database and kind that is configured, wherever it lies."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that archives restore, in throwaway servers."""
    from backup_lib.catalog import resolve
    from backup_lib.cli.suite import run_suite

    if each and archives:
        raise UsageError("--each names the archives itself", hint="leave out either")
    requests, lacking = _each() if each else (archives or ["latest"], [])
    refuse_unreadable(resolve(requests, backups, seed=_UNSEEDED), choose_keys(identities))
    values = {
        "--backups": backups,
        "--sandbox": sandbox,
        "--postgres-image": postgres_image,
        "--expect": expect,
        "--manifest": manifest,
        "--level": level,
        "--jobs": jobs,
        "--rto": rto,
        "--rpo": rpo,
        "--reports": reports,
    }
    # With `=`, since a value may begin with a dash.
    arguments = [f"--archive={request}" for request in requests]
    arguments += [f"{name}={value}" for name, value in values.items() if value is not None]
    arguments += [f"--identity={path}" for path in identities or ()]
    arguments += ["--prove"] if prove else []
    outcome = run_suite(arguments, output=sys.stderr.fileno() if as_json else None)
    note(*(line for drill in outcome.drills for line in sum_up(drill)))
    if as_json:
        put_json(_describe(outcome))
    for sentence in lacking:
        say(f"error: {sentence}")
        note(sentence)
    raise typer.Exit(outcome.exit_status or (NoSuchArchiveError.exit_status if lacking else 0))


def _each() -> tuple[list[str], list[str]]:
    """Where the newest archive of each database and kind lies that is expected; and what is said of those without one.

    :raises NoSuchArchiveError: when none has one.
    """
    from datetime import UTC, datetime

    from backup_lib.cli.configured import load
    from backup_lib.concern import some
    from backup_lib.monitor.status import examine

    status = examine(load(), now=datetime.now(UTC))
    series = [one for one in status.series if one.expected]
    found = [one.newest.address for one in series if one.newest]
    lacking = [problem.message for one in series if not one.newest for problem in one.problems]
    if not found:
        hint = next((problem.hint for problem in status.problems), "make one with: pgdrill backup")
        if status.foreign:
            hint = f"of {', '.join(status.foreign[:3])} nothing says the database: pgdrill verify latest"
        raise NoSuchArchiveError("; ".join(lacking) or "no archive is expected or there", hint=hint)
    if status.foreign:
        left_out = f"left out, since nothing says of which database: {some(status.foreign)}"
        say(f"note: {left_out}; by name they are drilled: pgdrill verify NAME")
        note(left_out)
    return found, lacking


def refuse_unreadable(found: Sequence[Found], keys: Keys) -> None:
    """Say in one sentence what no drill can change: no key that fits, or packed in a way that is not read.

    A damaged archive is drilled: what it lacks is then on record. So is an unreadable one among others.
    """
    from backup_lib.dump_text import detect_archive, is_as_written

    refused: list[BackupError] = []
    for archive in found:
        try:
            if archive.path:
                detect_archive(archive.path, keys)
        except UsageError as exc:
            refused.append(exc)
        except WrongKeyError as exc:
            if archive.path and is_as_written(archive.path, _manifest_of(archive)):
                refused.append(exc)
        except DamagedArchiveError:
            pass
    if refused and len(refused) == len(found):
        raise refused[0]


def _manifest_of(archive: Found) -> Manifest | None:
    from backup_lib.manifest import parse_manifest

    if not archive.has_manifest:
        return None
    with suppress(DamagedManifestError):
        return parse_manifest(b"".join(archive.store.open_read(archive.manifest_name)))
    return None


def sum_up(drill: Drilled) -> Iterator[str]:
    """Its verdict, and its findings with the next command."""
    from backup_lib.notify.notice import sum_up_findings

    if drill.record is None:
        yield f"COULD NOT VERIFY {drill.archive}: none of its checks ran to the end"
        return
    yield f"{drill.verdict.replace('_', ' ').upper()} {drill.archive}: {drill.record.summary}"
    yield from sum_up_findings(drill.record.findings)
    if drill.verdict != "verified":
        yield f"report: {drill.folder}/report.html"


def _describe(outcome: Outcome) -> dict[str, object]:
    return {
        "exit_status": outcome.exit_status,
        "drills": [
            {
                "archive": drill.archive,
                "verdict": drill.verdict,
                "summary": drill.record.summary if drill.record else "none of its checks ran to the end",
                "folder": drill.folder,
            }
            for drill in outcome.drills
        ],
    }
