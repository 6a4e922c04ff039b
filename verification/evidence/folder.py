"""The folder of one drill's evidence: the record, its views, and digests of them all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from backup_lib.half_written import remove
from backup_lib.process import owner_id, owner_is_alive, owner_is_in_sight
from verification.evidence.record import Record, render_record

RECORD = "record.json"
SUMS = "SHA256SUMS"
_PASSING = "-by-"  # in the name of what a run leaves there for moments, before its owner
_LEASE_S = 24 * 3600


def write_evidence(reports: Path, record: Record) -> Path:
    """Write `reports/<drill id>/` whole or not at all, and let `reports/latest` name it.

    :raises OSError: when the folder cannot be written.
    """
    # They bring Jinja and Rich, which collecting tests need not wait for.
    from verification.report.html import render_html
    from verification.report.markdown import render_markdown

    folder = reports / record.drill_id
    partial = passing(reports, f"{record.drill_id}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    reports.mkdir(mode=0o700, parents=True, exist_ok=True)  # what a drill found is not for every account
    partial.mkdir(mode=0o700)
    try:
        _write(partial / RECORD, render_record(record))
        _write(partial / "report.html", render_html(record).encode())
        _write(partial / "report.md", render_markdown(record).encode())
        write_sums(partial)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _name_latest(reports, record.drill_id)
    return folder


def passing(reports: Path, name: str) -> Path:
    """Where this process may put what is gone when it ends; `clear` knows whose it was."""
    return reports / f".{name}{_PASSING}{owner_id()}"


def clear(reports: Path) -> None:
    """Remove what killed runs left, and what runs of other machines or containers left for a day."""
    for path in reports.glob(f".*{_PASSING}*"):
        owner = path.name.rpartition(_PASSING)[2]
        with suppress(OSError):  # the next run tries again
            old = time.time() - path.lstat().st_mtime > _LEASE_S
            if old if not owner_is_in_sight(owner) else not owner_is_alive(owner):
                remove(path)


def add_file(folder: Path, name: str, data: bytes) -> None:
    """Add what is only known after the drill, such as pytest's own JUnit file."""
    _write(folder / name, data)
    try:
        write_sums(folder)
    except OSError:  # what no sum is of would pass for what somebody put there
        (folder / name).unlink()
        raise


def write_sums(folder: Path) -> None:
    """`SHA256SUMS` over the folder's files, for `sha256sum --check`."""
    _write(folder / SUMS, "".join(_sum_lines(folder)).encode())


def _sum_lines(folder: Path) -> Iterable[str]:
    for path in sorted(folder.iterdir()):
        if path.name != SUMS and not path.name.startswith("."):
            yield f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _name_latest(reports: Path, drill_id: str) -> None:
    link = passing(reports, "latest")
    link.unlink(missing_ok=True)
    link.symlink_to(drill_id)
    link.rename(reports / "latest")
