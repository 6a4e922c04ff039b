"""Programs: the one module that starts any. Argv lists, secrets in the environment, exit statuses read."""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO

from backup_lib.errors import ProgramError

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
_READ_BYTES = 256 << 10
_NAP_S = 0.001
_TAIL_BYTES = 4096
_PROC = Path("/proc")
_NO_PROCESS = ("Z", "X")  # a zombie's files and sockets are closed already: it owns nothing

Environment = Mapping[str, str | None]
"""Variables on top of this process's own; None takes one away. Secrets go here, never into argv."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended. What it printed is not in its repr, since it may hold rows."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes = field(repr=False)
    stderr: str = field(repr=False)

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")


def run(
    argv: Sequence[str | Path],
    *,
    env: Environment | None = None,
    stdin: bytes | None = None,
    timeout_s: float = 60,
    check: bool = True,
) -> Completed:
    """Run a program to its end and keep what it prints.

    :param check: False if the caller reads the status itself.
    :raises ProgramError: when it cannot be started, exits with a failure, or runs longer than `timeout_s`.
    """
    with ExitStack() as cleanup:
        errors = cleanup.enter_context(tempfile.TemporaryFile())
        given = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        program = cleanup.enter_context(_popen(argv, env, given, subprocess.PIPE, errors))
        cleanup.callback(kill, program)  # runs before the context's wait; no-op once it has ended
        try:
            stdout, _ = program.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise _timed_out(program, timeout_s) from exc
        stderr = _tail(errors)
    if check and program.returncode:
        raise _failed(program, stderr)
    return Completed(argv=_words(argv), status=program.returncode, stdout=stdout, stderr=stderr)


def stream(
    argv: Sequence[str | Path],
    *,
    env: Environment | None = None,
    stdin: Path | Iterable[bytes] | None = None,
    timeout_s: float | None = None,
    idle_cpu_s: float | None = None,
    on_stderr: Callable[[str], object] | None = None,
) -> AbstractContextManager[Iterator[bytes]]:
    """Run a program and read what it prints while it runs, in chunks of up to 1 MiB.

    Leaving before the end kills it, and its status then means nothing. When everything was read and the
    program failed, its ProgramError replaces an error of the block: output cut short is what led to that.

    :param stdin: a file, or chunks, fed from another thread; an error they raise is raised on leaving.
    :param idle_cpu_s: kill it when it has used this much processor time without reading or writing a byte.
    :param on_stderr: is told the end of what it wrote to stderr, when it ended well.
    :raises ProgramError: on leaving, when the program failed, ran longer than `timeout_s`, or went round in circles.
    """
    return _Stream(argv, env, stdin, timeout_s, idle_cpu_s, on_stderr)


def passthrough(argv: Sequence[str | Path], *, env: Environment | None = None, output: int | None = None) -> int:
    """Run a program that talks to the person itself; call it from the main thread.

    ^C, SIGTERM and SIGHUP reach this process alone, see `_popen`. They are handed on as an interrupt, so that the
    program clears up after itself.

    :param output: file descriptor that both its outputs go to; default this process's own.
    :return: its exit status; negative when a signal ended it.
    :raises KeyboardInterrupt: when it has ended after such a signal.
    """
    interrupted = False
    program: subprocess.Popen[bytes] | None = None

    def hand_on(_number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        if program is not None:
            kill(program, signal.SIGINT)

    with ExitStack() as cleanup:
        # Before it starts: a signal that this process was told to ignore, as a shell's `&` does, it would ignore too.
        numbers = {signal.SIGINT, signal.SIGTERM}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            numbers.add(signal.SIGHUP)
        for number in numbers:
            cleanup.callback(signal.signal, number, signal.signal(number, hand_on))
        program = cleanup.enter_context(_popen(argv, env, subprocess.DEVNULL, output, output))
        cleanup.callback(kill, program)
        if interrupted:
            kill(program, signal.SIGINT)
        status = program.wait()
    if interrupted:
        raise KeyboardInterrupt
    return status


def spawn(argv: Sequence[str | Path], *, env: Environment | None = None, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program that stays: a server. Both its outputs go to `output`; the caller ends it and waits.

    A parent-death signal (`setpriv --pdeathsig`) comes when the *thread* that started the program ends, not
    the process: so one thread starts them all, and it lives as long as the process.
    """
    return _spawner(os.getpid()).submit(_popen, argv, env, subprocess.DEVNULL, output, output).result()


def kill(program: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """A signal to the program and to all it started; nothing happens if it has ended."""
    if program.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, number)  # it leads its own group, see _popen


def owner_id() -> str:
    """This process, told apart from any other: `boot.namespace.pid.start`; fits a label and a file name.

    A pid alone is reused, so its start time is added, and which machine and pid namespace it counts in.
    """
    _, start = _state_and_start(os.getpid())
    return f"{_pid_space()}.{os.getpid()}.{start}"


def owner_is_alive(owner: str) -> bool:
    """Whether the process behind an `owner_id` still runs.

    True also where that cannot be seen from here, see `owner_is_in_sight`: what it left behind then ends by its lease.
    """
    _, pid, start = ["", "", *owner.rsplit(".", 2)][-3:]
    if not owner_is_in_sight(owner):
        return True
    state, started = _state_and_start(int(pid))
    return bool(state) and state not in _NO_PROCESS and started == start


def owner_is_in_sight(owner: str) -> bool:
    """Whether it can be told from here if it is alive: not on another machine or in another pid namespace."""
    space, pid, _ = ["", "", *owner.rsplit(".", 2)][-3:]
    return space == _pid_space() and pid.isdigit()


class _Stream:
    """One run of `stream`; entered once."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        env: Environment | None,
        stdin: Path | Iterable[bytes] | None,
        timeout_s: float | None,
        idle_cpu_s: float | None,
        on_stderr: Callable[[str], object] | None,
    ) -> None:
        self._argv, self._env, self._stdin, self._timeout_s = argv, env, stdin, timeout_s
        self._idle_cpu_s, self._on_stderr = idle_cpu_s, on_stderr
        self._feeding: Future[None] | None = None
        self._all_read = self._late = self._circling = False

    def __enter__(self) -> Iterator[bytes]:
        with ExitStack() as cleanup:
            self._errors = cleanup.enter_context(tempfile.TemporaryFile())
            given: int | IO[bytes] = subprocess.DEVNULL
            if isinstance(self._stdin, Path):
                given = cleanup.enter_context(self._stdin.open("rb"))
            elif self._stdin is not None:
                given = subprocess.PIPE
            self._program = _popen(self._argv, self._env, given, subprocess.PIPE, self._errors)
            cleanup.callback(self._program.wait)
            _let_take_turns(self._program.pid)
            output = cleanup.enter_context(_pipe(self._program.stdout))
            if self._stdin is not None and not isinstance(self._stdin, Path):
                feeder = cleanup.enter_context(ThreadPoolExecutor(1, thread_name_prefix="pgdrill-feeder"))
                self._feeding = feeder.submit(_feed, self._program, self._stdin)
            cleanup.callback(kill, self._program)
            if self._timeout_s is not None:
                clock = threading.Timer(self._timeout_s, self._time_is_up)
                clock.daemon = True
                clock.start()
                cleanup.callback(clock.cancel)
            self._cleanup = cleanup.pop_all()
        return self._chunks(output)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if self._all_read:  # so it is about to end
                self._program.wait()
            else:
                kill(self._program)
            feed_error = self._feeding.exception() if self._feeding else None
            message = _tail(self._errors)
        if exc is not None and not isinstance(exc, Exception):
            return  # interrupted: nothing is more important
        if feed_error is not None:
            raise feed_error
        if self._late:
            raise _timed_out(self._program, self._timeout_s) from exc
        if self._circling:
            raise ProgramError(
                f"{_name(self._program)} worked {self._idle_cpu_s:g} s without reading or writing a byte",
                hint="its input leads it in a circle: take another one",
            ) from exc
        if self._all_read and self._program.returncode:
            raise _failed(self._program, message) from exc
        if self._all_read and self._on_stderr and message:
            self._on_stderr(message)

    def _chunks(self, output: IO[bytes]) -> Iterator[bytes]:
        given_bytes, is_wide = 0, _is_wide(output)
        while self._has_more(output) and (chunk := os.read(output.fileno(), _READ_BYTES)):
            yield chunk
            given_bytes += len(chunk)
            # pg_dump writes 4 KiB at a time. Woken for each of them, the two of us would spend more on taking turns
            # than on the text; a wide pipe holds what it writes in several such naps.
            if len(chunk) < _READ_BYTES // 2 and given_bytes > CHUNK_BYTES and is_wide:
                time.sleep(_NAP_S)
        self._all_read = not self._circling

    def _has_more(self, output: IO[bytes]) -> bool:
        """Wait for output or its end; False when the program does nothing but spend time."""
        if self._idle_cpu_s is None:
            return True
        ready = select.poll()
        ready.register(output, select.POLLIN)
        done, since_s = None, 0.0
        while not ready.poll(1000):
            now, cpu_s = _bytes_moved(self._program.pid), _cpu_seconds(self._program.pid)
            if now is None or now != done:
                done, since_s = now, cpu_s
            elif cpu_s - since_s >= self._idle_cpu_s:
                self._circling = True
                kill(self._program)
                return False
        return True

    def _time_is_up(self) -> None:
        self._late = True
        kill(self._program)


def _feed(program: subprocess.Popen[bytes], chunks: Iterable[bytes]) -> None:
    """Write all chunks; a program that has stopped reading tells why by its exit status."""
    with suppress(BrokenPipeError), _pipe(program.stdin) as pipe:
        try:
            for chunk in chunks:
                pipe.write(chunk)
        except BrokenPipeError:
            raise  # it is about to end by itself; killed now, its status would say nothing
        except BaseException:
            # Else it would take the end of what there is for the end of its input, and may well succeed.
            kill(program)
            with suppress(BrokenPipeError):  # of what is still to be written; it must not take this one's place
                pipe.close()
            raise


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    """Our end of a pipe to a program, widened to one chunk where the system allows it."""
    if end is None:
        raise ValueError("the program was started without this pipe")
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(PermissionError):  # the user has all the pipe memory the system grants already
            fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
    return end


def _is_wide(end: IO[bytes]) -> bool:
    return hasattr(fcntl, "F_GETPIPE_SZ") and fcntl.fcntl(end.fileno(), fcntl.F_GETPIPE_SZ) >= CHUNK_BYTES


@cache
def _spawner(_pid: int) -> ThreadPoolExecutor:
    """One per process: after a fork, the parent's thread does not exist."""
    return ThreadPoolExecutor(1, thread_name_prefix="pgdrill-spawner")


def _popen(
    argv: Sequence[str | Path],
    env: Environment | None,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
) -> subprocess.Popen[bytes]:
    words = _words(argv)
    log.debug("run: %s", " ".join([*(f"{name}=***" for name in sorted(env or {})), shlex.join(words)]))
    merged = {**os.environ, **(env or {})}
    try:
        return subprocess.Popen(
            words,
            env={name: value for name, value in merged.items() if value is not None},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            # Without a terminal, libpq cannot stop to ask for a password, and ^C reaches us alone.
            start_new_session=True,
        )
    except OSError as exc:
        raise ProgramError(
            f"{words[0]} cannot be started: {exc.strerror}", hint="install it, or mend its permissions"
        ) from exc


def _let_take_turns(pid: int) -> None:
    """Have a program wait for its turn when its input comes, instead of interrupting who writes it.

    A server and pg_dump on one processor change places every 8 KiB else: a tenth of a backup's time. Not for a server,
    whose answer somebody waits for.
    """
    with suppress(OSError, AttributeError):  # it has ended already; no such thing outside of Linux
        if os.sched_getscheduler(pid) == os.SCHED_OTHER:  # else somebody has chosen
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


def _words(argv: Sequence[str | Path]) -> tuple[str, ...]:
    return tuple(os.fspath(word) for word in argv)


def _name(program: subprocess.Popen[bytes]) -> str:
    return str(program.args[0] if isinstance(program.args, list | tuple) else program.args)


def _tail(errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
    return errors.read().decode(errors="replace").strip()


def _failed(program: subprocess.Popen[bytes], stderr: str) -> ProgramError:
    status = program.returncode
    ended = f"exited {status}" if status > 0 else f"was ended by {signal.Signals(-status).name}"
    return ProgramError(f"{_name(program)} {ended}{': ' if stderr else ''}{stderr}")


def _timed_out(program: subprocess.Popen[bytes], timeout_s: float | None) -> ProgramError:
    return ProgramError(f"{_name(program)} still ran after {timeout_s:g} s", hint="allow it more time")


def _pid_space() -> str:
    """Within what a pid means the same process: this boot of the kernel and the pid namespace."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = (_PROC / "self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        return f"{os.uname().nodename.partition('.')[0]}.0"
    return f"{boot}.{namespace}"


def _bytes_moved(pid: int) -> int | None:
    """Bytes a program has read and written; None where the system does not tell."""
    with suppress(OSError):
        lines = (_PROC / str(pid) / "io").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))
    return None


def _cpu_seconds(pid: int) -> float:
    """Processor time a program has used; 0 where the system does not tell."""
    with suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _state_and_start(pid: int) -> tuple[str, str]:
    """State letter and start time (clock ticks since boot) of a process; an empty state if there is none."""
    try:
        # The name in parentheses may hold spaces and parentheses itself: the rest begins after the last one.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ("?" if not _PROC.is_dir() and _pid_exists(pid) else ""), "0"
    return fields[0], fields[19]


def _pid_exists(pid: int) -> bool:
    with suppress(PermissionError):  # somebody else's, but there
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
