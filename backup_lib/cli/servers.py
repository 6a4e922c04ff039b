"""`pgdrill install-server`."""

from __future__ import annotations

from typing import Annotated

import typer

from backup_lib.cli.talk import put, say


def install_server(major: Annotated[int, typer.Argument(help="14 to 18.")]) -> None:
    """Bring the programs of a PostgreSQL major.

    Server and clients, into the user's cache; needs no root.
    """
    from backup_lib.install_server import install_server as install

    programs = install(major, progress=say)
    put(programs.label)
