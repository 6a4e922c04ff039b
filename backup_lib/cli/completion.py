"""`pgdrill completion SHELL`: a script that completes without starting Python, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backup_lib.cli.talk import put

if TYPE_CHECKING:
    from typer.core import TyperGroup

_CHOICES = re.compile(r"<?((?:[\w.-]+\|)+[\w.-]+)>?")
_FILES, _FOLDERS = ("FILE",), ("FOLDER", "PLACE", "DIRECTORY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What may stand in a place: one of these words, or a file, a folder, an archive, or nothing we know."""

    words: tuple[str, ...] = ()
    kind: Literal["words", "file", "folder", "archive", "other"] = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    names: tuple[str, ...]
    help: str
    value: Value | None  # None: a flag


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command as it is typed: `("schedule", "run")`; the program itself is `()`."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    argument: Value | None
    commands: tuple[tuple[str, str], ...]  # of a group: name and line of help


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="For this shell.")],
) -> None:
    """Print a script that completes commands, options and archives in a shell.

    For this session: `source <(pgdrill completion bash)`; in fish: `pgdrill completion fish | source`.
    """
    from backup_lib.cli.app import app

    commands = list(read_commands(typer.main.get_group(app)))
    put(render_fish(commands) if shell == "fish" else render_bash(commands, zsh=shell == "zsh"))


def read_commands(group: TyperGroup) -> Iterator[Command]:
    """The program, then its commands and theirs."""
    yield from _read(group, ())


def _read(command: Any, path: tuple[str, ...]) -> Iterator[Command]:
    from backup_lib.cli.lazy import Lazy

    if isinstance(command, Lazy):
        command = command.load()
    within = {name: sub for name, sub in getattr(command, "commands", {}).items() if not sub.hidden}
    context = command.context_class(command, info_name=path[-1] if path else "pgdrill")
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    yield Command(
        path=path,
        help=_first_line(command.help),
        options=(
            *(
                Option(
                    names=(*option.opts, *option.secondary_opts),
                    help=_first_line(option.help),
                    value=None if option.is_flag else _value(option.get_help_record(context)[0].rpartition(" ")[2]),
                )
                for option in options
            ),
            Option(names=("--help", "-h") if not path else ("--help",), help="Show this message.", value=None),
        ),
        argument=_value(arguments[0].get_help_record(context)[0].partition(" ")[0]) if arguments else None,
        commands=tuple((name, _first_line(sub.help)) for name, sub in within.items()),
    )
    for name, sub in within.items():
        yield from _read(sub, (*path, name))


def _first_line(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _value(metavar: str) -> Value:
    if choices := _CHOICES.fullmatch(metavar):
        return Value(words=tuple(choices[1].split("|")), kind="words")
    if metavar.startswith("ARCHIVE"):
        return Value(kind="archive")
    if metavar.startswith(_FILES):
        return Value(kind="file")
    return Value(kind="folder") if metavar.startswith(_FOLDERS) else Value()


def render_bash(commands: Sequence[Command], *, zsh: bool = False) -> str:
    """For bash by itself, with no package for completion; and for zsh, which knows bash's way."""
    steps = [f"{' '.join(c.path)}:{name}" for c in commands for name, _ in c.commands]
    words = [f"{_case(c)} words='{_words(c)}' kind={c.argument.kind if c.argument else 'none'} ;;" for c in commands]
    values = [
        f"{_case(c, *option.names)} words='{' '.join(option.value.words)}' kind={option.value.kind} ;;"
        for c in commands
        for option in c.options
        if option.value is not None
    ]
    return (_ZSH_HEAD if zsh else "") + _BASH.replace("@STEPS@", "|".join(f'"{step}"' for step in steps)).replace(
        "@VALUED@", "|".join(name for o in commands[0].options if o.value for name in o.names)
    ).replace("@WORDS@", "\n        ".join(words)).replace("@VALUES@", "\n        ".join(values))


def _case(command: Command, *previous: str) -> str:
    places = [f"{_path(command)} {name}" for name in previous] or [_path(command)]
    return "|".join(f'"{place}"' for place in places) + ")"


def _path(command: Command) -> str:
    return " ".join(command.path)


def _words(command: Command) -> str:
    """What may come next: names of commands or choices, then options."""
    own = [name for name, _ in command.commands] + list(command.argument.words if command.argument else ())
    return " ".join((*own, *(name for option in command.options for name in option.names if name.startswith("--"))))


_ZSH_HEAD = """#compdef pgdrill
autoload -U +X compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""

_BASH = r"""_pgdrill() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
    local IFS=$'\n' at= words= kind= dir=${BACKUP_DIR:-backups}
    COMPREPLY=()
    # bash parts words at the = in --option=value, zsh does not
    if [ "$cur" = "=" ]; then cur=; elif [ "$prev" = "=" ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at:${COMP_WORDS[i]}" in
            *:@VALUED@) ((i++)) ;;
            *:--backups) dir=${COMP_WORDS[i+1]}; [ "$dir" = "=" ] && dir=${COMP_WORDS[i+2]} ;;
            @STEPS@) at="$at${at:+ }${COMP_WORDS[i]}" ;;
        esac
    done
    case "$at" in
        @WORDS@
    esac
    case "$at $prev" in
        @VALUES@
    esac
    case "$cur" in -*) kind=words ;; esac
    case "$kind" in
        file) COMPREPLY=($(compgen -f -- "$cur")) ;;
        folder) COMPREPLY=($(compgen -d -- "$cur")) ;;
        archive)
            COMPREPLY=($(compgen -W "latest${IFS}all" -- "$cur") $(compgen -f -- "$cur"))
            [ -z "$ZSH_VERSION" ] || setopt localoptions glob nullglob
            for i in "$dir/$cur"*; do  # never by compgen -W, which would run what a name holds
                case "$i" in *.manifest.json|*.verified.json|*/quarantine) continue ;; esac
                [ -e "$i" ] && COMPREPLY+=("${i##*/}")
            done ;;
        *) COMPREPLY=($(compgen -W "${words// /$IFS}" -- "$cur")) ;;
    esac
}
complete -o filenames -F _pgdrill pgdrill"""


def render_fish(commands: Sequence[Command]) -> str:
    steps = " ".join(f"{_quoted(f'{_path(c)}:{name}')}" for c in commands for name, _ in c.commands)
    valued = " ".join(f"'*:{name}'" for o in commands[0].options if o.value for name in o.names)
    lines = [_FISH.replace("@STEPS@", steps).replace("@VALUED@", valued)]
    for command in commands:
        lead = f"complete -c pgdrill -n {_quoted(f'__pgdrill_at {_quoted(_path(command))}')}"
        lines += [f"{lead} -a {name} -d {_quoted(line)}" for name, line in command.commands]
        if command.argument is not None:
            lines.append(f"{lead} {_fish_value(command.argument)}")
        for option in command.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            value = _fish_option_value(option.value) if option.value else ""
            lines.append(f"{lead} {names}{value} -d {_quoted(option.help)}")
    return "\n".join(lines)


def _fish_option_value(value: Value) -> str:
    return f" -{'r' if value.kind == 'file' else 'x'} {_fish_value(value)}".rstrip()


def _fish_value(value: Value) -> str:
    match value.kind:
        case "words":
            return f"-a {_quoted(' '.join(value.words))}"
        case "archive":
            return "-F -a '(__pgdrill_archives)'"
        case "folder":
            return "-a '(__fish_complete_directories (commandline -ct))'"
        case "file":
            return "-F"
        case "other":
            return ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_FISH = r"""function __pgdrill_at
    set -l at
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
            continue
        end
        switch "$at:$word"
            case @VALUED@
                set skip 1
            case @STEPS@
                set at (string trim "$at $word")
        end
    end
    test "$at" = "$argv"
end
function __pgdrill_archives
    set -l dir $BACKUP_DIR
    test -n "$dir"; or set dir backups
    printf '%s\n' latest all
    for file in $dir/*
        string match -qr '\.(manifest|verified)\.json$|/quarantine$' -- $file; or path basename $file
    end
end
complete -c pgdrill -f"""
