"""The container engine: whether one answers, which images it holds or can fetch. Import late: it costs 0.3 s."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException
from testcontainers.core.docker_client import DockerClient, get_docker_host

from backup_lib.errors import ServerError

STATUS_TIMEOUT_S = 2.8
_PODMAN_SOCKETS = (f"/run/user/{os.getuid()}/podman/podman.sock", "/run/podman/podman.sock")
_WITHOUT = "or verify with --sandbox embedded, which needs no container engine"


class EngineError(ServerError):
    """No container engine answers; the message says why."""


class NoSuchImageError(ServerError):
    """The registry answered: it has no such image, or does not show it to us."""


class RegistryError(ServerError):
    """The image is not here, and its registry cannot be reached or did not deliver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    answers: bool
    name: str = ""  # "Docker 20.10.24", when it answers
    reason: str = ""  # why it does not
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image the engine holds. Containers are started by `id`, so that what is recorded is what ran."""

    name: str
    id: str  # sha256:…
    digest: str | None  # as its registry knows it; None for an image built here
    volumes: tuple[str, ...]  # folders it declares; an engine makes an anonymous volume for each

    @property
    def label(self) -> str:
        return f"{self.name} ({(self.digest or self.id).rpartition('@')[2]})"


@contextmanager
def engine(timeout_s: float = 60) -> Iterator[docker.DockerClient]:
    """A client of the engine testcontainers would use: by DOCKER_HOST, its settings file, or Docker's context.

    :raises EngineError: when none answers.
    """
    try:
        _knock(engine_address(), timeout_s)
        client = DockerClient(timeout=timeout_s).client
    except (DockerException, RequestException, OSError) as exc:
        raise _unreachable(f"{type(exc).__name__}: {exc}") from exc
    try:
        yield client
    finally:
        client.close()


def engine_address() -> str:
    return get_docker_host() or "unix:///var/run/docker.sock"


def _knock(address: str, timeout_s: float) -> None:
    """Connect to the engine's socket, since the library leaves its own open when it cannot."""
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(address.removeprefix("unix://"))


def engine_status() -> EngineStatus:
    """Ask whether an engine answers; returns within 3 s."""
    answer: list[EngineStatus] = []

    def ask() -> None:
        try:
            with engine(STATUS_TIMEOUT_S) as client:
                answer.append(EngineStatus(answers=True, name=engine_name(client.version())))
        except EngineError as exc:
            answer.append(EngineStatus(answers=False, reason=exc.message, hint=exc.hint))
        except (DockerException, RequestException) as exc:
            error = _unreachable(str(exc))
            answer.append(EngineStatus(answers=False, reason=error.message, hint=error.hint))

    # A thread, because the time limit of a client does not cover ssh, names, nor two requests in a row.
    asking = Thread(target=ask, name="pgdrill-engine-status", daemon=True)
    asking.start()
    asking.join(STATUS_TIMEOUT_S)
    if answer:
        return answer[0]
    error = _unreachable("timed out")
    return EngineStatus(answers=False, reason=error.message, hint=error.hint)


def engine_name(version: Mapping[str, Any]) -> str:
    """`Docker 20.10.24` or `Podman 4.3.1`, from what the engine says of itself."""
    components = " ".join(str(part.get("Name")) for part in version.get("Components") or ())
    product = "Podman" if "podman" in components.lower() else "Docker"
    return f"{product} {str(version.get('Version', '?')).partition('+')[0]}"


def find_image(name: str, *, pull_timeout_s: float = 600) -> Image:
    """The image the engine holds under this name, fetched from its registry if it is not there.

    :raises EngineError: when no engine answers.
    :raises NoSuchImageError: when the registry does not have it.
    :raises RegistryError: when the registry cannot be reached, or not within `pull_timeout_s`.
    """
    with engine() as client:
        image = _held_image(client, name)
        if image is None:
            _pull(client, name, pull_timeout_s)
            image = _held_image(client, name)
        if image is None:
            raise NoSuchImageError(
                f"{name} was fetched, and still the engine does not hold it",
                hint=f"look at `docker image ls {name}`; another program may be removing images",
            )
        return image


def _held_image(client: docker.DockerClient, name: str) -> Image | None:
    try:
        attributes = client.images.get(name).attrs
    except ImageNotFound:
        return None
    except (DockerException, RequestException) as exc:
        raise EngineError(f"the engine cannot look up the image {name}: {explain(exc)}") from exc
    return Image(
        name=name,
        id=attributes["Id"] if ":" in attributes["Id"] else f"sha256:{attributes['Id']}",
        digest=next(iter(attributes.get("RepoDigests") or ()), None),
        volumes=tuple(attributes["Config"].get("Volumes") or ()),
    )


def _pull(client: docker.DockerClient, name: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    last_part = name.rpartition("/")[2]
    # Without a tag the engine would fetch them all.
    tag = None if ":" in last_part or "@" in last_part else "latest"
    try:
        for progress in client.api.pull(name, tag=tag, stream=True, decode=True):
            # Once the engine has begun to answer, failures come as lines of the answer.
            if failure := progress.get("error"):
                raise _pull_error(name, str(failure), missing=_says_missing(str(failure)))
            if time.monotonic() > deadline:
                raise RegistryError(f"the image {name} was not fetched within {timeout_s:g} s", hint=_pull_hint(name))
    except (DockerException, RequestException) as exc:
        raise _pull_error(name, explain(exc), missing=_is_missing(exc)) from exc


def _pull_error(name: str, reason: str, *, missing: bool) -> ServerError:
    if missing:
        return NoSuchImageError(
            f"there is no image {name}: {reason}",
            hint=f"name another with --postgres-image, `docker login` if it is private, {_WITHOUT}",
        )
    return RegistryError(
        f"the image {name} is not here, and its registry does not deliver it: {reason}", hint=_pull_hint(name)
    )


def _pull_hint(name: str) -> str:
    return (
        f"try `docker pull {name}`; load it with `docker load`, name one that is here with --postgres-image, {_WITHOUT}"
    )


def _is_missing(exc: Exception) -> bool:
    return isinstance(exc, NotFound) or _says_missing(explain(exc))


def _says_missing(reason: str) -> bool:
    """Registries name it in many ways; Docker's own says `denied` of a repository that does not exist."""
    text = reason.lower()
    signs = ("manifest unknown", "manifest for", "name unknown", "not exist", "access denied", "not found: ")
    return any(sign in text for sign in signs)


def explain(exc: Exception) -> str:
    """What an engine's error says, in one line and without the address of the request."""
    return " ".join(str(getattr(exc, "explanation", None) or exc).split())


def _unreachable(cause: str) -> EngineError:
    """Say why no engine answers, from the exception's text: the library keeps no more of what was below it."""
    where = engine_address().rpartition("@")[2]
    cases: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("FileNotFoundError", f"there is no container engine at {where}", _no_socket_hint),
        ("PermissionError", f"this account may not use the container engine at {where}", _permission_hint),
        ("refused", f"the container engine at {where} is not running", _not_running_hint),
        ("timed out", f"the container engine at {where} does not answer in time", _not_running_hint),
    )
    for sign, message, hint in cases:
        if sign in cause:
            return EngineError(message, hint=hint())
    return EngineError(
        f"the container engine at {where} cannot be used: {' '.join(cause.split())}",
        hint=f"set DOCKER_HOST to an engine that runs, {_WITHOUT}",
    )


def _no_socket_hint() -> str:
    for path in _PODMAN_SOCKETS:
        try:
            if Path(path).is_socket():
                return f"Podman is here: export DOCKER_HOST=unix://{path}"
        except PermissionError:
            continue  # another user's
    return f"install Docker or Podman and start it, {_WITHOUT}"


def _permission_hint() -> str:
    return f"`sudo usermod -aG docker $USER` and log in again, take rootless Podman, {_WITHOUT}"


def _not_running_hint() -> str:
    return f"start or restart it (`sudo systemctl restart docker`), {_WITHOUT}"
