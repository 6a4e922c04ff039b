"""Whether an engine answers, and which images can be had: real engine, real sockets, a registry of our own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tarfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from verification.sandbox.engine import (
    NoSuchImageError,
    RegistryError,
    engine_name,
    engine_status,
    find_image,
)


@pytest.mark.container
def test_an_engine_that_runs_answers_with_its_name(container_engine):
    assert container_engine.answers
    assert container_engine.name.startswith(("Docker ", "Podman "))


@pytest.mark.parametrize(
    ("version", "name"),
    [
        pytest.param({"Version": "20.10.24+dfsg1", "Components": [{"Name": "Engine"}]}, "Docker 20.10.24", id="docker"),
        pytest.param({"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]}, "Podman 4.3.1", id="podman"),
        pytest.param({"Version": "27.0", "Components": None}, "Docker 27.0", id="nothing-but-a-version"),
    ],
)
def test_engines_are_told_apart(version, name):
    assert engine_name(version) == name


@pytest.fixture
def listening(tmp_path):
    """A socket that takes connections and never answers."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


def _refusing_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def test_no_socket_is_reported_as_no_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    status = engine_status()
    assert not status.answers
    assert status.reason.startswith("there is no container engine at unix://")
    assert "--sandbox embedded" in status.hint or "DOCKER_HOST" in status.hint


def test_a_stale_socket_is_reported_as_an_engine_that_is_not_running(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{_refusing_socket(tmp_path / 'docker.sock')}")
    status = engine_status()
    assert "is not running" in status.reason
    assert "systemctl restart docker" in status.hint


def test_a_silent_engine_is_given_up_within_three_seconds(monkeypatch, listening):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listening}")
    started = time.monotonic()
    status = engine_status()
    assert time.monotonic() - started < 3
    assert "does not answer in time" in status.reason


def test_a_malformed_address_is_reported_with_what_is_wrong(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "bogus")
    status = engine_status()
    assert not status.answers
    assert "DOCKER_HOST" in status.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an account without permission")
def test_a_socket_of_another_group_is_reported_as_a_missing_permission(tmp_path):
    path = _refusing_socket(tmp_path / "docker.sock")
    path.chmod(stat.S_IRWXU)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    program = (
        "import os\nfrom verification.sandbox.engine import engine_status\nos.setuid(65534)\nprint(engine_status())"
    )
    environment = os.environ | {"DOCKER_HOST": f"unix://{path}"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "may not use the container engine" in done.stdout, done.stderr
    assert "usermod -aG docker" in done.stdout


class Registry:
    """As much of a registry as a pull asks for: one image `tiny:1`, and `404` for any other."""

    def __init__(self) -> None:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("file"))
        diff_id = self.digest(layer.getvalue())
        self.blobs: dict[str, bytes] = {}
        packed = gzip.compress(layer.getvalue(), mtime=0)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Volumes": {"/data": {}}},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
        ).encode()
        media = "application/vnd.docker"
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{media}.distribution.manifest.v2+json",
                "config": self._blob(f"{media}.container.image.v1+json", config),
                "layers": [self._blob(f"{media}.image.rootfs.diff.tar.gzip", packed)],
            }
        ).encode()

    @staticmethod
    def digest(data: bytes) -> str:
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def _blob(self, media: str, data: bytes) -> dict[str, object]:
        self.blobs[self.digest(data)] = data
        return {"mediaType": media, "size": len(data), "digest": self.digest(data)}

    def answer(self, path: str) -> tuple[int, str, bytes]:
        last = path.rpartition("/")[2]
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if "/tiny/manifests/" in path and last in ("1", self.digest(self.manifest)):
            return 200, "application/vnd.docker.distribution.manifest.v2+json", self.manifest
        if "/blobs/" in path and last in self.blobs:
            return 200, "application/octet-stream", self.blobs[last]
        error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
        return 404, "application/json", json.dumps(error).encode()


@pytest.fixture
def registry(container_engine):
    if container_engine.name.startswith("Podman"):
        pytest.skip("Podman does not take a registry without TLS")
    content = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, media, body = content.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", content.digest(body))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name http.server looks for

        def log_message(self, *_: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"  # an engine takes a registry there without TLS
        server.shutdown()


@pytest.mark.container
def test_an_image_that_is_not_here_is_fetched_with_its_digest(registry, engine_client):
    name = f"{registry}/tiny:1"
    try:
        image = find_image(name)
        assert image.id.startswith("sha256:")
        assert image.digest is not None
        assert image.digest.startswith(f"{registry}/tiny@sha256:")
        assert image.volumes == ("/data",)
    finally:
        engine_client.images.remove(name)


@pytest.mark.container
def test_an_image_the_registry_does_not_have_is_told_from_a_registry_that_is_not_there(registry, engine_client):
    with pytest.raises(NoSuchImageError, match="there is no image") as missing:
        find_image(f"{registry}/tiny:99")
    assert "--postgres-image" in missing.value.hint
    with pytest.raises(RegistryError, match="is not here, and its registry does not deliver it") as unreachable:
        find_image("localhost:1/tiny:1")
    assert "docker load" in unreachable.value.hint
