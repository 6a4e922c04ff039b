"""The command `pgdrill`. Thin: parse, call, print, exit."""

from __future__ import annotations

import os
import sys
import traceback

from backup_lib.errors import BackupError

ISSUES = "please report it with what `PGDRILL_DEBUG=1` prints"


def main() -> None:
    """Run the command; every way out has its own exit status."""
    from backup_lib.cli.app import app

    try:
        app()
    except BackupError as exc:
        print(f"pgdrill: {exc.message}", file=sys.stderr)  # noqa: T201
        if exc.hint:
            print(f"hint: {exc.hint}", file=sys.stderr)  # noqa: T201
        sys.exit(exc.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as exc:  # noqa: BLE001 - the top: 1 must always mean that a check failed
        if os.environ.get("PGDRILL_DEBUG"):
            traceback.print_exc()
        print(f"pgdrill: a bug in pgdrill ({type(exc).__name__}): {ISSUES}", file=sys.stderr)  # noqa: T201
        sys.exit(70)
