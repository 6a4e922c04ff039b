"""Listing the commands imports none of them, and says what each says of itself."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer

from backup_lib.cli.app import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_help(name: str) -> None:
    place, line = COMMANDS[name]
    module, _, attribute = place.partition(":")
    found = getattr(import_module(f"backup_lib.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        callback = found.registered_callback.callback if found.registered_callback else None
        text = found.info.help or (callback.__doc__ if callback else None)
    else:
        text = found.__doc__
    assert isinstance(text, str)
    assert " ".join(text.strip().split("\n\n")[0].split()) == line


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], ["psycopg", "msgspec", "rich", "pytest", "backup_lib.cli.backup"]),
        (["list", "--backups", "nowhere"], ["psycopg", "pydantic", "pytest"]),
    ],
)
def test_a_command_imports_what_it_needs(words: list[str], unwanted: list[str]) -> None:
    code = (
        f"import sys\nfrom backup_lib.cli import main\nsys.argv = {['pgdrill', *words]!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([module for module in {unwanted!r} if module in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("words", "said"), [(["list"], False), (["-v", "list"], True)])
def test_what_the_driver_logs_is_for_those_who_ask(words: list[str], *, said: bool) -> None:
    code = (
        f"import logging, sys\nfrom backup_lib.cli import main\nsys.argv = {['pgdrill', *words, '--backups', 'nowhere']!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "logging.getLogger('psycopg').warning('a connection was left')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ("a connection was left" in run.stderr) is said
