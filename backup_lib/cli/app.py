"""The commands by name. Each module imports what it needs when it is called: `--help` must be quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backup_lib.cli import (
    backup,
    config,
    demo,
    doctor,
    evidence,
    init,
    listing,
    prune,
    restore,
    schedule,
    servers,
    sync,
    verify,
)
from backup_lib.cli.configured import configure
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

_NOT_CONFIGURED = ("init", "config")  # they are there for a configuration with mistakes

# Plain help, since Rich's frames cost more time than the rest of --help.
app = typer.Typer(
    rich_markup_mode=None,
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


app.command("backup")(backup.backup)
app.command("manifest")(backup.manifest)
app.command("list")(listing.list_archives)
app.command("show")(listing.show)
app.command("restore")(restore.restore)
app.command("verify")(verify.verify)
app.command("prune")(prune.prune)
app.command("sync")(sync.sync)
app.command("init")(init.init)
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)
app.command("sample-backup")(demo.sample_backup)
app.command("doctor")(doctor.doctor)
app.command("install-server")(servers.install_server)
app.add_typer(schedule.app, name="schedule")
app.add_typer(evidence.app, name="evidence")
