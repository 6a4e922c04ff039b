"""How much a throwaway server may use, and the settings of one that is never meant to survive a crash. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from backup_lib.errors import UsageError
from backup_lib.servers import THROWAWAY_SETTINGS

MIB = 1024 * 1024
GIB = 1024 * MIB
LEAST_MEMORY_BYTES = 192 * MIB  # a fresh cluster takes 45 MB, its server as much again


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The memory of a sandbox whose data lies in memory too, and how it is shared out.

    The parts are smaller than the whole on purpose: data that outgrows its part meets `No space left on
    device`, which names the cause, before the kernel kills the server.
    """

    memory_bytes: int
    jobs: int  # connections that load or build indexes at the same time

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            raise UsageError(
                f"a sandbox of {self.memory_bytes // MIB} MiB is too small for a server",
                hint=f"give it {LEAST_MEMORY_BYTES // MIB} MiB or more; the restored database must fit in",
            )

    @property
    def data_bytes(self) -> int:
        return self.memory_bytes * 3 // 4

    @property
    def work_bytes(self) -> int:
        return self.memory_bytes - self.data_bytes

    @property
    def shared_memory_bytes(self) -> int:
        """Of /dev/shm, where parallel workers share rows."""
        return self.work_bytes // 2


def throwaway_settings(budget: Budget) -> dict[str, str]:
    """What `postgres -c` is given: nothing survives a crash, and nothing runs beside the restore."""
    share = budget.work_bytes // 4
    return {
        **THROWAWAY_SETTINGS,
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": _megabytes(budget.data_bytes // 8, least=64 * MIB, most=4 * GIB),
        "checkpoint_timeout": "1h",
        "autovacuum": "off",
        "jit": "off",
        "shared_buffers": _megabytes(share, least=16 * MIB, most=GIB),
        "maintenance_work_mem": _megabytes(share // budget.jobs, least=8 * MIB, most=GIB),
        "max_parallel_maintenance_workers": str(min(budget.jobs, 4)),
        "max_locks_per_transaction": "1024",  # one transaction may touch 10,000 tables
    }


def _megabytes(value: int, *, least: int, most: int) -> str:
    return f"{max(least, min(value, most)) // MIB}MB"
