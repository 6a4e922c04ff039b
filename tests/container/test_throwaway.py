"""How a sandbox's memory is shared out, and what is made of an ended container's state. Needs nothing."""

from __future__ import annotations

import pytest

from backup_lib.errors import UsageError
from verification.sandbox.container_server import explain_death
from verification.sandbox.throwaway import GIB, LEAST_MEMORY_BYTES, MIB, Budget, throwaway_settings

BUDGET = Budget(memory_bytes=1024 * MIB, jobs=2)


@pytest.mark.parametrize("memory_bytes", [LEAST_MEMORY_BYTES, GIB, 64 * GIB], ids=["least", "usual", "large"])
@pytest.mark.parametrize("jobs", [1, 2, 64])
def test_data_and_the_servers_own_memory_fit_in_the_whole(memory_bytes, jobs):
    budget = Budget(memory_bytes=memory_bytes, jobs=jobs)
    settings = throwaway_settings(budget)
    megabytes = {name: int(settings[name].removesuffix("MB")) for name in ("shared_buffers", "maintenance_work_mem")}
    assert budget.data_bytes + budget.work_bytes == memory_bytes
    assert megabytes["shared_buffers"] * MIB < budget.work_bytes
    assert megabytes["maintenance_work_mem"] >= 8
    assert int(settings["max_wal_size"].removesuffix("MB")) * MIB < budget.data_bytes


def test_a_sandbox_too_small_for_a_server_is_refused():
    with pytest.raises(UsageError, match="191 MiB is too small"):
        Budget(memory_bytes=191 * MIB, jobs=1)


@pytest.mark.parametrize(
    ("state", "log", "reason"),
    [
        pytest.param(
            {"ExitCode": 1, "OOMKilled": True}, [], "needed more memory than its 1024 MiB", id="by-the-kernel"
        ),
        pytest.param(
            {"ExitCode": 1, "OOMKilled": False},
            ["LOG:  server process (PID 70) was terminated by signal 9: Killed"],
            "needed more memory",
            id="a-backend-killed",
        ),
        pytest.param(
            {"ExitCode": 1},
            ['FATAL:  could not write to file "pg_wal/xlogtemp.70": No space left on device'],
            "full: the database needs more than its 768 MiB",
            id="no-space",
        ),
        pytest.param({"ExitCode": 127}, ["sh: initdb: not found"], "lacks a program .*initdb", id="no-programs"),
        pytest.param({"ExitCode": 137}, [], "its 60 s are over", id="lease"),
        pytest.param({"ExitCode": 2}, ["FATAL:  bad"], "exit status 2: FATAL:  bad", id="said-why"),
        pytest.param({"ExitCode": 2}, [], "its log says nothing", id="said-nothing"),
    ],
)
def test_an_ended_container_is_explained(state, log, reason):
    with pytest.raises(Exception, match=reason) as error:
        raise explain_death(state, log, budget=BUDGET, lease_s=60, image="postgres:15")
    assert error.value.hint
