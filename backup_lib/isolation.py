"""How a server is kept apart: another account, no network, its own processes, bounded memory, a lease.

All of it is done by the programs of util-linux, put before the server's own: what they do can be read off the
argv, and none needs a set-user-ID bit. What a machine does not allow is left out, and said in the facts.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from backup_lib.errors import ServerError
from backup_lib.process import run

# Accounts that exist only while used, as systemd's DynamicUser takes them: a server shares its with nobody,
# neither another drill's nor, as `postgres` would, the machine's real server and its files.
_FREE_UIDS = range(61184, 65520)
_PROCESSES = 1024
# From all to nothing; a container often allows none, and one with a masked /proc refuses a new one.
_NAMESPACES: tuple[tuple[str, ...], ...] = (("net", "pid", "ipc", "mount-proc"), ("net", "pid", "ipc"), ("net",), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What to put before a program's argv, and what that achieves."""

    uid: int
    gid: int
    server: tuple[str, ...]  # before a server: all of it
    client: tuple[str, ...]  # before a client of the same account: no namespaces, no lease
    namespaces: tuple[str, ...]
    facts: Mapping[str, str]


def isolate(*, lease_s: float, memory_bytes: int | None, network: bool) -> Isolation:
    """The strongest isolation this machine allows.

    :param memory_bytes: how much private memory each process of the server may have; a query that wants more
        fails with "out of memory", and the server lives on. Shared buffers do not count.
    :param network: leave it the machine's network.
    :raises ServerError: as root without setpriv: a server is never run as root.
    """
    uid = _free_uid() if os.geteuid() == 0 else os.geteuid()
    gid = uid if os.geteuid() == 0 else os.getegid()
    namespaces, refused = _allowed_namespaces(network)
    # With a pid namespace, everything in it dies with its first process. Without, the server must hear of it.
    server = [
        *_if_here("setpriv", "--pdeathsig", "KILL", "--"),
        *_unshare(namespaces),
        *_limits(memory_bytes),
        *_drop(uid, gid, "KILL"),
        *_if_here("timeout", "-s", "QUIT", "-k", "10", f"{lease_s:.0f}"),
        *([] if "pid" in namespaces else _if_here("setpriv", "--pdeathsig", "QUIT", "--")),
    ]
    return Isolation(
        uid=uid,
        gid=gid,
        server=tuple(server),
        client=tuple(_drop(uid, gid, "KILL")),
        namespaces=namespaces,
        facts=_facts(uid, namespaces, refused, memory_bytes, lease_s, network=network),
    )


def bare_account() -> tuple[int, int, tuple[str, ...]]:
    """uid, gid and argv prefix for initdb, which wants an account with a name."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid(), ()
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as exc:
        raise ServerError("as root, initdb needs the account nobody", hint="add it, or run as another user") from exc
    return nobody.pw_uid, nobody.pw_gid, tuple(_drop(nobody.pw_uid, nobody.pw_gid, "KILL"))


def _drop(uid: int, gid: int, death_signal: str) -> list[str]:
    account: list[str] = []
    if os.geteuid() == 0:
        account = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
        if shutil.which("setpriv") is None:
            raise ServerError(
                "no setpriv: as root, a server cannot be given another account",
                hint="install util-linux, or run as an ordinary user",
            )
    # Last, the signal: the kernel forgets it when the account changes.
    return _if_here("setpriv", *account, "--no-new-privs", "--pdeathsig", death_signal, "--")


def _limits(memory_bytes: int | None) -> list[str]:
    bound = [] if memory_bytes is None else [f"--data={memory_bytes}"]
    if os.geteuid() == 0:  # counted by account; another user has more processes than the server
        bound.append(f"--nproc={_PROCESSES}")
    # Should memory run out all the same, the machine is to end this server, and not its own.
    return [*_if_here("prlimit", "--core=0", *bound, "--"), *_if_here("choom", "-n", "900", "--")]


def _unshare(namespaces: Sequence[str]) -> list[str]:
    if not namespaces:
        return []
    account = [] if os.geteuid() == 0 else ["--user", f"--map-user={os.geteuid()}", f"--map-group={os.getegid()}"]
    forked = ["--fork", "--kill-child"] if "pid" in namespaces else []
    return ["unshare", *account, *(f"--{name}" for name in namespaces), *forked, "--"]


@cache
def _allowed_namespaces(network: bool) -> tuple[tuple[str, ...], str]:  # noqa: FBT001 - a cache key
    """The most namespaces that can be had here, and why not more."""
    if shutil.which("unshare") is None:
        return (), "no unshare program"
    refused = ""
    for wanted in _NAMESPACES:
        namespaces = tuple(name for name in wanted if not (network and name == "net"))
        tried = run([*_unshare(namespaces), "true"], check=False)
        if tried.status == 0:
            return namespaces, refused
        refused = refused or tried.stderr.partition("\n")[0] or f"unshare exited {tried.status}"
    return (), refused


def _facts(
    uid: int,
    namespaces: tuple[str, ...],
    refused: str,
    memory_bytes: int | None,
    lease_s: float,
    *,
    network: bool,
) -> dict[str, str]:
    is_root = os.geteuid() == 0
    privileges = "no new ones" + (", all capabilities dropped" if is_root else "")
    of_the_machine = "the machine's" if network else f"the machine's: {refused}"
    bounded = memory_bytes is not None and shutil.which("prlimit")
    whose = "nobody else's" if is_root else "the user's own: this user's files are within reach"
    return {
        "account": f"uid {uid}, {whose}",
        "privileges": privileges if shutil.which("setpriv") else "not restricted: no setpriv program",
        "network": "none: an empty network namespace" if "net" in namespaces else of_the_machine,
        "processes": "its own, all end with it" if "pid" in namespaces else f"among the machine's: {refused}",
        "memory": f"{memory_bytes} bytes of private memory per process" if bounded else "not bounded",
        "lease": f"{lease_s:.0f} s" if shutil.which("timeout") else "none: no timeout program",
    }


def _if_here(program: str, *arguments: str) -> list[str]:
    return [program, *arguments] if shutil.which(program) else []


def _free_uid() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return secrets.choice([uid for uid in _FREE_UIDS if uid not in taken])
