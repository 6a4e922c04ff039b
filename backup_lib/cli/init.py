"""`pgdrill init`: a commented pgdrill.toml, after a few questions at most."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, say
from backup_lib.errors import UsageError

if TYPE_CHECKING:
    from backup_lib.settings_template import Answers


def init(
    *,
    file: Annotated[
        Path, typer.Option("--file", metavar="FILE", help="The file to write; it must not exist yet.")
    ] = Path("pgdrill.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take the defaults.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print it instead of writing it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a configuration in which every setting is explained; asks four questions at most."""
    from backup_lib.settings_template import Answers, render_template

    if file.exists() and not dry_run:
        raise UsageError(f"{file} is there already, and is left as it is", hint="edit it, or name another: --file FILE")
    answers = Answers() if yes or not sys.stdin.isatty() else _ask(Answers())
    text = render_template(answers)
    if not dry_run:
        _write(file, text)
    if as_json:
        put_json({"path": file, "written": not dry_run, "text": text})
    elif dry_run:
        typer.echo(text, nl=False)
    else:
        put(f"{file} written: read it through, then: pgdrill config check")
    if dry_run:
        return
    if answers.url_variable:
        say(f"note: it reads the database's URL from the variable {answers.url_variable}; .env is a place for it")


def _ask(default: Answers) -> Answers:
    from dataclasses import replace

    from backup_lib.setting_types import parse_duration_s

    return replace(
        default,
        database=_prompt("What is the database called?", default.database, _name),
        dir=_prompt("Where do archives go, a folder or a URL?", default.dir, str),
        rto=_prompt("How long may a recovery take?", default.rto, lambda text: (parse_duration_s(text), text)[1]),
        rpo=_prompt("How old may the data be then?", default.rpo, lambda text: (parse_duration_s(text), text)[1]),
    )


def _prompt(question: str, default: str, parse: Callable[[str], str]) -> str:
    def value_of(text: str) -> str:
        try:
            return parse(text)
        except ValueError as exc:
            raise typer.BadParameter(str(exc)) from exc

    answer: Any = typer.prompt(question, default=default, value_proc=value_of, err=True)
    return str(answer)


def _name(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise ValueError("a name is wanted")
    return text.strip()


def _write(file: Path, text: str) -> None:
    """Whole or not at all, for this account only, and never over another file."""
    from backup_lib.store import LocalStore

    with LocalStore(file.absolute().parent).create(file.name) as sink:
        sink.write(text.encode())
