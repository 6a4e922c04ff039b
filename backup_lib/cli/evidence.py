"""`pgdrill evidence …`: whether the files of a drill are still as the drill wrote them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json
from backup_lib.errors import NoSuchArchiveError, StoreError
from backup_lib.quantity import number_of

_SUMS, _RECORD = "SHA256SUMS", "record.json"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/]+)")

app = typer.Typer(no_args_is_help=True, help="Look after the evidence of drills.")


@app.callback()
def evidence() -> None:
    """Look after the evidence of drills."""


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A drill's folder, such as reports/latest.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Check a drill's files against their digests, and that its record can be read; exits 1 on a mismatch."""
    if not folder.is_dir():
        raise NoSuchArchiveError(f"there is no folder {folder}", hint="name a drill's folder, such as reports/latest")
    intact, faults = check_folder(folder)
    if as_json:
        put_json({"folder": folder, "intact": intact, "faults": faults})
    else:
        for fault in faults:
            put(f"FAULT  {fault}")
        put(
            f"{folder}: {number_of(len(intact), 'file')} as they were written"
            + (f", {number_of(len(faults), 'fault')}" if faults else "")
        )
    raise typer.Exit(1 if faults else 0)


def check_folder(folder: Path) -> tuple[list[str], list[str]]:
    """The files that are as they were written, and what is wrong, a sentence each."""
    from backup_lib.codec import digest_file

    sums = folder / _SUMS
    if not sums.is_file():
        return [], [f"{_SUMS} is missing: nothing says how the files were"]
    promised: dict[str, str] = {}
    faults: list[str] = []
    for number, line in enumerate(sums.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if found := _LINE.fullmatch(line):
            promised[found[2]] = found[1]
        else:
            faults.append(f"{_SUMS}, line {number}, is no digest and file name")
    intact: list[str] = []
    for name, sha256 in promised.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif digest_file(path).sha256 != sha256:
            faults.append(f"{name} was altered")
        else:
            intact.append(name)
    others = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - promised.keys() - {_SUMS}
    faults += [f"{name} was added" for name in sorted(others)]
    return intact, faults + _record_faults(folder / _RECORD, listed=_RECORD in promised)


def _record_faults(record: Path, *, listed: bool) -> list[str]:
    from backup_lib.cli.suite import read_record

    if not listed:
        return [f"{_SUMS} does not name {_RECORD}"]
    if not record.is_file():
        return []  # said already
    try:
        read_record(record)
    except StoreError as exc:
        return [exc.message]
    return []
