"""Running programs: what they print, how they end, and what is left of them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from backup_lib.errors import ProgramError
from backup_lib.process import CHUNK_BYTES, kill, owner_id, owner_is_alive, run, spawn, stream

ENDLESS = ["sh", "-c", "while :; do echo line; done"]


def test_a_program_that_ends_well_gives_what_it_printed() -> None:
    done = run(["sh", "-c", "echo out; echo note >&2"])
    assert (done.text, done.stderr, done.status) == ("out\n", "note", 0)


def test_what_a_program_printed_is_not_shown_with_it() -> None:
    assert "row" not in repr(run(["sh", "-c", 'echo r""ow; echo r""ow >&2']))


def test_input_is_given_to_the_program() -> None:
    assert run(["cat"], stdin=b"given").stdout == b"given"


def test_a_failure_names_the_program_its_status_and_what_it_said() -> None:
    with pytest.raises(ProgramError, match=r"^sh exited 3: no such table$"):
        run(["sh", "-c", "echo no such table >&2; exit 3"])


def test_a_failure_may_be_left_to_the_caller() -> None:
    assert run(["sh", "-c", "exit 3"], check=False).status == 3


def test_a_signal_is_named() -> None:
    with pytest.raises(ProgramError, match="was ended by SIGTERM"):
        run(["sh", "-c", "kill -TERM $$"])


def test_only_the_end_of_a_long_complaint_is_kept() -> None:
    with pytest.raises(ProgramError, match=r"the cause$") as caught:
        run(["sh", "-c", "yes noise | head -c 1000000 >&2; echo the cause >&2; exit 1"])
    assert len(str(caught.value)) < 5000


def test_a_program_that_does_not_exist_is_an_error_with_a_hint() -> None:
    with pytest.raises(ProgramError, match=r"cannot be started: No such file(.|\n)*hint: install"):
        run(["/nonexistent/pg_dump"])


def test_running_out_of_time_kills_all_that_was_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(ProgramError, match=r"still ran after 0\.3 s"):
        run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout_s=0.3)
    assert _gone(int(pid_file.read_text()))


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux knows it")
@pytest.mark.parametrize(("own", "started"), [("SCHED_OTHER", "SCHED_BATCH"), ("SCHED_IDLE", "SCHED_IDLE")])
def test_programs_wait_for_their_turn_where_nobody_chose_another_policy(own: str, started: str) -> None:
    looks = "import os, time; time.sleep(0.3); print(os.sched_getscheduler(0))"
    starts = (
        f"import os; os.sched_setscheduler(0, os.{own}, os.sched_param(0)); from backup_lib.process import stream\n"
    )
    starts += f"with stream(['{sys.executable}', '-c', '{looks}']) as chunks: print(b''.join(chunks).decode())"
    assert int(run([sys.executable, "-c", starts]).text) == getattr(os, started)


def test_the_environment_is_added_to_and_taken_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.setenv("KEPT", "kept")
    done = run(["sh", "-c", "echo $KEPT $ADDED ${PGHOST-none}"], env={"ADDED": "added", "PGHOST": None})
    assert done.text == "kept added none\n"


def test_secrets_in_the_environment_are_masked_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run(["true"], env={"PGPASSWORD": "hunter2"})
    assert "PGPASSWORD=*** true" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_stream_gives_all_that_a_program_prints_in_chunks() -> None:
    with stream(["head", "-c", "3000000", "/dev/zero"]) as chunks:
        sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= CHUNK_BYTES


def test_a_stream_whose_program_fails_at_the_end_is_an_error() -> None:
    with (
        pytest.raises(ProgramError, match="sh exited 1: connection lost"),
        stream(["sh", "-c", "echo half; echo connection lost >&2; exit 1"]) as chunks,
    ):
        assert b"".join(chunks) == b"half\n"


def test_the_failed_program_is_blamed_for_what_the_reader_met() -> None:
    with pytest.raises(ProgramError, match="exited 1") as caught, stream(["false"]) as chunks:
        _read(chunks, then=ValueError("the dump ends inside a statement"))
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_readers_own_error_is_kept_when_it_did_not_read_to_the_end() -> None:
    with pytest.raises(ValueError, match="not a dump"), stream(ENDLESS) as chunks:
        _read(islice(chunks, 1), then=ValueError("not a dump"))


def test_an_interrupt_is_not_replaced_by_the_programs_failure() -> None:
    with pytest.raises(KeyboardInterrupt), stream(["false"]) as chunks:
        _read(chunks, then=KeyboardInterrupt())


def test_leaving_early_kills_the_program_and_is_no_error(tmp_path: Path) -> None:
    with stream(["sh", "-c", "echo $$; exec yes"]) as chunks:
        pid = int(next(chunks).split()[0])
    assert _gone(pid)


def test_a_stream_that_takes_too_long_is_stopped() -> None:
    with (
        pytest.raises(ProgramError, match=r"still ran after 0\.2 s"),
        stream(ENDLESS, timeout_s=0.2) as chunks,
    ):
        for _ in chunks:
            pass


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux, which tells what a program reads")
def test_a_stream_whose_program_goes_round_in_circles_is_stopped() -> None:
    with (
        pytest.raises(ProgramError, match="without reading or writing a byte") as caught,
        stream([sys.executable, "-c", "print('some', flush=True)\nwhile True: pass"], idle_cpu_s=0.5) as chunks,
    ):
        list(chunks)
    assert "circle" in caught.value.hint


def test_a_stream_whose_program_waits_or_works_is_left_alone() -> None:
    works = "import sys, time\nend = time.time() + 2.2\nwhile time.time() < end: open('/dev/zero', 'rb').read(9)\nprint('done')"
    with stream([sys.executable, "-c", works], idle_cpu_s=0.3) as chunks:
        assert b"".join(chunks) == b"done\n"
    with stream(["sh", "-c", "sleep 2.2; echo done"], idle_cpu_s=0.1) as chunks:
        assert b"".join(chunks) == b"done\n"


def test_a_stream_reads_from_a_file(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"from a file")
    with stream(["cat"], stdin=given) as chunks:
        assert b"".join(chunks) == b"from a file"


def test_a_stream_is_fed_while_it_is_read() -> None:
    """More than both pipes hold: fed and read in turns it would hang."""
    block = b"x" * 1_000_000
    with stream(["cat"], stdin=(block for _ in range(20)), timeout_s=30) as chunks:
        assert sum(map(len, chunks)) == 20_000_000


def test_a_program_that_stops_reading_is_judged_by_its_status() -> None:
    with stream(["head", "-c", "5"], stdin=(b"y" * 1_000_000 for _ in range(20))) as chunks:
        assert b"".join(chunks) == b"yyyyy"


def test_input_that_breaks_off_kills_the_program_and_is_raised(tmp_path: Path) -> None:
    mark = tmp_path / "took-it-for-whole"

    def breaks_off() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the disk is gone")

    with (
        pytest.raises(OSError, match="the disk is gone"),
        stream(["sh", "-c", f"cat > /dev/null; touch {mark}"], stdin=breaks_off()) as chunks,
    ):
        list(chunks)
    assert not mark.exists()


def test_input_that_breaks_off_is_raised_also_when_nobody_reads_what_is_left_of_it() -> None:
    reads_no_more = threading.Event()

    def breaks_off() -> Iterator[bytes]:
        yield b"first"
        reads_no_more.wait(60)
        raise OSError("the disk is gone")

    def read() -> None:
        with stream(["sh", "-c", "exec <&-; echo; exec sleep 60"], stdin=breaks_off()) as chunks:
            for _ in chunks:
                reads_no_more.set()

    with pytest.raises(OSError, match="the disk is gone"):
        read()


def test_a_spawned_program_outlives_the_thread_of_its_caller_but_not_its_process() -> None:
    script = (
        "import tempfile, threading, time, sys\n"
        "from backup_lib.process import spawn\n"
        "def start():\n"
        "    p = spawn(['setpriv', '--pdeathsig', 'KILL', 'sleep', '60'], output=tempfile.TemporaryFile())\n"
        "    print(p.pid, flush=True)\n"
        "t = threading.Thread(target=start); t.start(); t.join(); time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        time.sleep(0.2)
        assert not _gone(pid, within_s=0)
        owner.kill()
    assert _gone(pid)


def test_an_ended_program_is_not_signalled() -> None:
    with tempfile.TemporaryFile() as output:
        program = spawn(["true"], output=output)
        program.wait()
        kill(program)
    assert program.returncode == 0


def test_an_owner_is_alive_until_its_process_ends() -> None:
    script = "import sys; from backup_lib.process import owner_id; print(owner_id(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        owner = other.stdout.readline().strip()
        assert owner_is_alive(owner)
        other.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not owner_is_alive(owner), "a zombie owns nothing"
    assert not owner_is_alive(owner)


def test_a_reused_pid_is_another_owner() -> None:
    mine = owner_id()
    assert owner_is_alive(mine)
    assert not owner_is_alive(mine.rpartition(".")[0] + ".1")


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param("cafebabe.4026531836.1.1", id="another-machine"),
        pytest.param("", id="empty"),
        pytest.param("somebody", id="not-an-owner-id"),
    ],
)
def test_an_owner_that_cannot_be_seen_is_left_to_its_lease(owner: str) -> None:
    assert owner_is_alive(owner)


def _read(chunks: Iterator[bytes], *, then: BaseException) -> None:
    list(chunks)
    raise then


def _gone(pid: int, within_s: float = 5) -> bool:
    """Whether the process ends in time; a zombie whose parent has not looked yet has ended."""
    until = time.monotonic() + within_s
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
