"""The commands by name. A module is imported when its command is called: `--help` must be quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from backup_lib.cli.configured import configure
from backup_lib.cli.lazy import Lazy, LazyGroup
from backup_lib.cli.talk import be_verbose, put

_STATUSES = """Exit statuses:

\b
  0  ok, everything asked for was verified
  1  verification failed, or an archive or its evidence is damaged
  2  usage or configuration
  3  could not be carried out: no server, no disk, no network
  4  the data is fine, an objective (RTO, RPO) was missed
 10  no such archive
 11  locked by another run
 12  wrong key, or an encrypted archive and no key
 70  a bug in pgdrill
130  interrupted
"""

_NOT_CONFIGURED = ("init", "config", "completion")  # they are there for a configuration with mistakes

# Name → where it is, and the first sentence of its help.
COMMANDS = {
    "backup": ("backup:backup", "Back up a database, or all that are configured, and record what must be in each."),
    "manifest": ("backup:manifest", "Record what somebody else's archive must contain."),
    "list": ("listing:list_archives", "List the archives, the newest first."),
    "show": ("listing:show", "Show what an archive holds, table by table."),
    "restore": ("restore:restore", "Restore an archive into a server that exists."),
    "verify": ("verify:verify", "Prove that archives restore, in throwaway servers."),
    "status": (
        "status:status",
        "Say how archives, drills, places and the schedule stand, and what is wrong.",
    ),
    "metrics": (
        "metrics:metrics",
        "Print or write the status as metrics for Prometheus, or what alerts on them and shows them.",
    ),
    "checklist": (
        "checklist:checklist",
        "Go through the daily, weekly or monthly checklist, tick what is proved, and keep the record.",
    ),
    "report": (
        "report:report",
        "Show what bounds a recovery, step by step, and project it for another size and machine.",
    ),
    "prune": (
        "prune:prune",
        "Delete old archives; only verified ones count, and the newest verified one is never deleted.",
    ),
    "rotate": ("rotate:rotate", "Pack the archives of months past into bundles, which are proved before those go."),
    "sync": ("sync:sync", "Copy what a place lacks, and mend copies that have rotted; nothing is overwritten."),
    "rewrap": ("rewrap:rewrap", "Give archives that exist another key, proved before the old one goes aside."),
    "init": ("init:init", "Write a configuration in which every setting is explained; asks four questions at most."),
    "config": ("config:app", "Check the configuration, and show what counts."),
    "demo": ("demo:demo", "See it work: a good archive, and two damaged ones."),
    "sample-backup": ("demo:sample_backup", "Back up a sample database, to try things on."),
    "doctor": ("doctor:doctor", "See whether this machine has what drills need."),
    "install-server": ("servers:install_server", "Bring the programs of a PostgreSQL major."),
    "notify": ("notify:app", "See whether people can be told how runs end."),
    "schedule": ("schedule:app", "Run backups and drills at their times, or have them run."),
    "completion": ("completion:completion", "Print a script that completes commands, options and archives in a shell."),
    "evidence": ("evidence:app", "Look after the evidence of drills."),
}


class _Commands(LazyGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (place, line) in COMMANDS.items():
            self.add_command(Lazy(name, f"backup_lib.cli.{place}", line))


# Plain help, since Rich's frames cost more time than the rest of --help.
app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    add_completion=False,  # typer's own starts Python and all it imports at each TAB
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _put_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from importlib.metadata import version

        put(f"pgdrill {version('pgdrill')}")
        raise typer.Exit


@app.callback(epilog=_STATUSES)
def pgdrill(
    *,
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The configuration; default PGDRILL_CONFIG or ./pgdrill.toml. Here or after.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Log the programs that are run; tracebacks.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_put_version, help="Print the version.")
    ] = False,
) -> None:
    """Back up PostgreSQL, restore every archive into a throwaway server, and prove that both are the same."""
    if verbose:
        be_verbose()
    context.obj = configure(file, apply=context.invoked_subcommand not in _NOT_CONFIGURED)
