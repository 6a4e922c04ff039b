"""`pgdrill install-server`."""

from __future__ import annotations

from typing import Annotated

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, say


def install_server(
    major: Annotated[int, typer.Argument(help="14 to 18.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Bring the programs of a PostgreSQL major.

    Server and clients, into the user's cache; needs no root.
    """
    from backup_lib.install_server import install_server as install

    programs = install(major, progress=say)
    if as_json:
        put_json({"major": programs.major, "version": programs.version, "bin_dir": programs.bin_dir})
    else:
        put(programs.label)
