"""The command `pgdrill`: thin modules that parse, call, print and exit."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import TracebackType

from backup_lib.errors import BackupError

BUG_STATUS = 70
_FILE_HINT = "see that it is there, that this account may read and write it, and that its disk has room"


def main() -> None:
    """Run the command line; ends the process. 1 always means that a check failed, never that pgdrill broke."""
    from backup_lib.cli.app import app
    from backup_lib.cli.configured import hoist_config
    from backup_lib.cli.talk import say, say_error

    # What the driver logs of a connection that an interruption left behind is nothing to act on; -v shows it.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    _be_interrupted_by(signal.SIGTERM, signal.SIGHUP)
    try:
        app(args=hoist_config(sys.argv[1:]), prog_name="pgdrill")
    except BackupError as exc:
        _trace_if_asked()
        say_error(exc)
        sys.exit(exc.exit_status)
    except OSError as exc:
        _trace_if_asked()
        where = f"{exc.filename}: " if exc.filename else ""
        say_error(BackupError(f"{where}{exc.strerror or type(exc).__name__}", hint=_FILE_HINT))
        sys.exit(BackupError.exit_status)
    except Exception as exc:  # noqa: BLE001 - the very top: whatever gets here is a bug
        _trace_if_asked()
        # Not its message: it may quote a row.
        say(f"error: this is a bug in pgdrill ({type(exc).__name__} in {_place(exc.__traceback__)})")
        say("hint: report it with the command you ran and its output with PGDRILL_DEBUG=1, after reading that through")
        sys.exit(BUG_STATUS)


def _be_interrupted_by(*numbers: signal.Signals) -> None:
    """What ends the process comes as ^C does, so that a command undoes what it began and people are told."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)


def _trace_if_asked() -> None:
    from backup_lib.cli.talk import is_verbose

    if is_verbose() or os.environ.get("PGDRILL_DEBUG"):
        import traceback

        traceback.print_exc()


def _place(trace: TracebackType | None) -> str:
    """Where it was raised: `listing.py:31`."""
    place = "?"
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition(os.sep)[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
