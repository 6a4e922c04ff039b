"""A program run inside a container: what it prints as a stream, what it complains about, how it ended."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from docker.api.client import APIClient
from docker.errors import DockerException
from docker.models.containers import Container
from requests import Response
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from backup_lib.errors import ProgramError
from verification.sandbox.engine import explain

_CHUNK_BYTES = 256 * 1024
_TAIL_BYTES = 4096
_EXIT_TIMEOUT_S = 10
_STDERR = 2
_HEADER = struct.Struct(">BxxxL")  # stream, length; Engine API, "Attach to a container", Stream format
_TELL_PID = 'echo "$$" >&2; exec "$@"'  # so that it can be ended: the engine itself cannot end an exec
_ENGINE_ERRORS = (DockerException, RequestException, HTTPError, OSError)


@contextmanager
def stream_program(container: Container, argv: Sequence[str]) -> Iterator[Iterator[bytes]]:
    """Run `argv` in a running container; the chunks of its stdout. Leaving early ends the program.

    :raises ProgramError: on leaving, when it did not exit with 0; with the end of its stderr.
    """
    api = container.client.api
    try:
        exec_id = api.exec_create(container.id, ["sh", "-c", _TELL_PID, "sh", *argv])["Id"]
        # Not `exec_start`: it reads from the bare socket, and loses what came together with the headers.
        url = f"{api.base_url}/v{api.api_version}/exec/{exec_id}/start"
        response = api.post(url, json={"Detach": False, "Tty": False}, stream=True, timeout=(10, None))
        response.raise_for_status()
    except _ENGINE_ERRORS as exc:
        raise ProgramError(f"{argv[0]} could not be started in the sandbox: {explain(exc)}") from exc
    output = _Output(response.raw, argv[0])
    try:
        yield output.chunks()
        if output.ended:
            output.check(_exit_status(api, exec_id))
    finally:
        if output.ended:
            response.close()
        else:
            _end(container, output, response)


class _Output:
    """The two streams of one program, as the engine interleaves them in frames."""

    def __init__(self, raw: Any, program: str) -> None:
        self._raw = raw
        self._program = program
        self._stderr = bytearray()
        self.pid = 0  # inside the container; 0 until its shell has told
        self.ended = False

    def chunks(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        while (frame := self.read_frame()) is not None:
            if not frame:
                continue
            parts.append(frame)
            size += len(frame)
            if size >= _CHUNK_BYTES:
                yield b"".join(parts)
                parts.clear()
                size = 0
        if parts:
            yield b"".join(parts)

    def read_frame(self) -> bytes | None:
        """What was printed: b"" for a frame of stderr, None at the end."""
        try:
            header = self._raw.read(_HEADER.size)
            if not header:
                self.ended = True
                return None
            stream, length = _HEADER.unpack(header)
            data: bytes = self._raw.read(length)
        except (*_ENGINE_ERRORS, struct.error) as exc:
            raise self._cut_off() from exc
        if len(data) < length:
            raise self._cut_off()
        if stream == _STDERR:
            self._complain(data)
            return b""
        return data

    def check(self, exit_status: int | None) -> None:
        if exit_status == 0:
            return
        said = self._stderr[-_TAIL_BYTES:].decode(errors="replace").strip()
        how = f"exited {exit_status}" if exit_status is not None else "was cut off"
        raise ProgramError(f"{self._program} {how} in the sandbox: {said or 'it said nothing'}")

    def _complain(self, data: bytes) -> None:
        self._stderr += data
        if not self.pid and b"\n" in self._stderr:
            pid, _, rest = self._stderr.partition(b"\n")
            self.pid = int(pid) if pid.isdigit() else -1
            self._stderr = rest if pid.isdigit() else self._stderr
        del self._stderr[: -2 * _TAIL_BYTES]

    def _cut_off(self) -> ProgramError:
        return ProgramError(
            f"the engine cut off {self._program} while it ran in the sandbox",
            hint="look at the engine's log (`journalctl -u docker`): it was restarted, or the container removed",
        )


def _exit_status(api: APIClient, exec_id: str) -> int | None:
    """None when the engine cannot tell, as when the container ended at the same time."""
    deadline = time.monotonic() + _EXIT_TIMEOUT_S
    try:
        # The end of its output comes a moment before the engine knows that it has exited.
        while (state := api.exec_inspect(exec_id))["Running"] and time.monotonic() < deadline:
            time.sleep(0.01)
    except _ENGINE_ERRORS:
        return None
    status: int | None = state["ExitCode"]
    return status


def _end(container: Container, output: _Output, response: Response) -> None:
    """End a program nobody listens to any more, or it would hold its locks, and block at a full pipe."""
    try:
        while not output.pid and output.read_frame() is not None:
            pass
        # Close first, and do not wait for the other program: the engine takes no notice of a program's exit
        # while it cannot get rid of what another one printed before.
        response.close()
        if output.pid > 0:
            container.exec_run(["sh", "-c", f"kill -KILL {output.pid}"], detach=True)
    except (ProgramError, *_ENGINE_ERRORS):
        response.close()  # the container has ended, and the program with it
