"""What the container sandbox finds on this machine, as JSON, for `pgdrill doctor`: `python -m verification.doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from docker.errors import DockerException
from requests.exceptions import RequestException

from backup_lib.errors import BackupError
from backup_lib.server_programs import NEWEST_MAJOR, OLDEST_MAJOR
from verification.sandbox.engine import engine, engine_status

STATUS_S = 10


def describe_containers() -> dict[str, Any]:
    """Whether an engine answers, and which of the images that drills want it holds; fetches nothing."""
    status = engine_status()
    wanted = [f"postgres:{major}" for major in range(OLDEST_MAJOR, NEWEST_MAJOR + 1)]
    held: set[str] = set()
    if status.answers:
        try:
            with engine(STATUS_S) as client:
                held = _tags(client.api.images())
        except (BackupError, DockerException, RequestException):
            held = set()  # it answered a moment ago: then nothing can be said of its images
    return {
        "answers": status.answers,
        "name": status.name,
        "reason": status.reason,
        "hint": status.hint,
        "images": {name: name in held for name in wanted},
    }


def _tags(images: Iterable[dict[str, Any]]) -> set[str]:
    """Names with tags as people write them; Podman's begin with their registry."""
    tags = {tag for image in images for tag in image.get("RepoTags") or ()}
    return tags | {tag.removeprefix("docker.io/library/") for tag in tags}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe_containers()) + "\n")
