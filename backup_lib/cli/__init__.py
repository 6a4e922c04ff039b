"""The command `pgdrill`: thin modules that parse, call, print and exit."""

from __future__ import annotations

import os
import sys
import traceback

from backup_lib.errors import BackupError

BUG_STATUS = 70


def main() -> None:
    """Run the command line; ends the process. 1 always means that a check failed, never that pgdrill broke."""
    from backup_lib.cli.app import app
    from backup_lib.cli.talk import is_verbose, say, say_error

    try:
        app(prog_name="pgdrill")
    except BackupError as exc:
        if is_verbose():
            traceback.print_exc()
        say_error(exc)
        sys.exit(exc.exit_status)
    except Exception as exc:  # noqa: BLE001 - the very top: whatever gets here is a bug
        if is_verbose() or os.environ.get("PGDRILL_DEBUG"):
            traceback.print_exc()
        # Not its message: it may quote a row.
        say(f"error: this is a bug in pgdrill ({type(exc).__name__} in {_place(exc)})")
        say("hint: report it with the command you ran and its output with PGDRILL_DEBUG=1, after reading that through")
        sys.exit(BUG_STATUS)


def _place(exc: Exception) -> str:
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119 - of a code object's name
