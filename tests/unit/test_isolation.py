"""What is put before a server's argv, and what is said where a machine does not allow it."""

from __future__ import annotations

import os
import shutil

import pytest

from backup_lib import isolation as subject
from backup_lib.errors import ServerError
from backup_lib.isolation import isolate


@pytest.fixture(autouse=True)
def everything_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, subject._NAMESPACES[0])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")


def allow(monkeypatch: pytest.MonkeyPatch, namespaces: tuple[str, ...], refused: str = "") -> None:
    monkeypatch.setattr(subject, "_allowed_namespaces", lambda _network: (namespaces, refused))


def without(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in programs else f"/usr/bin/{name}")


def test_as_root_the_server_gets_an_account_of_its_own_and_loses_all_capabilities() -> None:
    isolation = isolate(lease_s=60, memory_bytes=None, network=False)
    assert 61184 <= isolation.uid < 65520
    assert {f"--reuid={isolation.uid}", "--clear-groups", "--bounding-set=-all", "--no-new-privs"} <= set(
        isolation.server
    )


def test_a_client_of_the_server_has_its_account_but_no_lease() -> None:
    isolation = isolate(lease_s=60, memory_bytes=None, network=False)
    assert f"--reuid={isolation.uid}" in isolation.client
    assert "timeout" not in isolation.client


def test_the_account_is_left_before_the_signal_is_asked_for() -> None:
    """The kernel forgets a parent-death signal when the account changes."""
    server = isolate(lease_s=60, memory_bytes=None, network=False).server
    assert max(i for i, word in enumerate(server) if word == "--pdeathsig") > server.index("--clear-groups")


def test_root_without_setpriv_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "setpriv")
    with pytest.raises(ServerError, match=r"no setpriv(.|\n)*util-linux"):
        isolate(lease_s=60, memory_bytes=None, network=False)


def test_an_ordinary_user_keeps_its_account_and_is_told_what_that_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    isolation = isolate(lease_s=60, memory_bytes=None, network=False)
    assert isolation.uid == 1000
    assert "--user" in isolation.server
    assert not [word for word in isolation.server if word.startswith(("--reuid", "--nproc"))]
    assert "files are within reach" in isolation.facts["account"]


def test_without_namespaces_the_server_hears_of_its_owners_death_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, (), "unshare: unshare failed: Operation not permitted")
    isolation = isolate(lease_s=60, memory_bytes=None, network=False)
    assert isolation.server[-4:] == ("setpriv", "--pdeathsig", "QUIT", "--")
    assert isolation.facts["network"].endswith("Operation not permitted")
    assert isolation.facts["processes"].endswith("Operation not permitted")


def test_bounds_that_cannot_be_set_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "prlimit", "timeout", "choom")
    facts = isolate(lease_s=60, memory_bytes=1 << 30, network=False).facts
    assert facts["memory"] == "not bounded"
    assert facts["lease"] == "none: no timeout program"


def test_memory_and_lease_are_bounded_and_said() -> None:
    isolation = isolate(lease_s=60, memory_bytes=1 << 30, network=False)
    assert f"--data={1 << 30}" in isolation.server
    assert isolation.facts["memory"].startswith("1073741824 bytes")
    assert isolation.facts["lease"] == "60 s"


@pytest.mark.parametrize("network", [True, False])
def test_the_most_that_a_machine_allows_is_found(monkeypatch: pytest.MonkeyPatch, network: bool) -> None:  # noqa: FBT001
    monkeypatch.undo()
    subject._allowed_namespaces.cache_clear()
    namespaces, refused = subject._allowed_namespaces(network)
    assert set(namespaces) <= set(subject._NAMESPACES[0])
    assert not (network and "net" in namespaces)
    assert "pid" in namespaces or refused
