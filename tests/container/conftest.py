"""The container engine that these tests need; without one they are skipped, and in CI they fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import docker
import pytest

from backup_lib.process import owner_id, owner_is_alive
from verification.sandbox.container import OWNER_LABEL
from verification.sandbox.engine import EngineStatus, engine_status

MAJORS = (14, 15, 16, 17, 18)


def _without(reason: str) -> NoReturn:
    message = f"{reason}; bring engine and images with scripts/install-test-containers"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def container_engine() -> EngineStatus:
    status = engine_status()
    if not status.answers:
        _without(status.reason)
    return status


@pytest.fixture
def engine_client(container_engine: EngineStatus):
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image_of(container_engine: EngineStatus) -> Callable[[int | str], str]:
    """`image_of(15)`: the image of that major, or whichever tag is named."""
    images = docker.from_env().images

    def image_of(tag: int | str) -> str:
        name = f"postgres:{tag}"
        if not images.list(name):
            _without(f"the engine has no image {name}")
        return name

    return image_of


def _is_of_another_run(owner: str | None) -> bool:
    return owner is not None and owner != owner_id() and owner_is_alive(owner)


@pytest.fixture
def leaves_nothing_behind(engine_client: docker.DockerClient):
    """No container and no volume more than before; those of other runs, which go on, are their own affair."""

    def everything() -> set[str]:
        containers = engine_client.containers.list(all=True, ignore_removed=True)
        ours = {container.id for container in containers if not _is_of_another_run(container.labels.get(OWNER_LABEL))}
        return ours | {volume.name for volume in engine_client.volumes.list()}

    before = everything()
    yield
    assert everything() <= before
