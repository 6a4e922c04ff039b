"""Which throwaway server a drill uses, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from backup_lib.errors import ServerError, UsageError
from backup_lib.server_programs import Programs, find_programs, server_for
from verification.sandbox import Sandbox
from verification.sandbox.embedded import start_embedded

KINDS = ("auto", "container", "embedded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A running sandbox, and why it is this one."""

    sandbox: Sandbox
    because: str


@contextmanager
def open_sandbox(wanted: str, *, major: int, image: str | None, bootstrap_role: str, jobs: int) -> Iterator[Chosen]:
    """Start a throwaway server for an archive of this major; gone on leaving.

    :param wanted: `auto`: in a container if an engine answers and has or gets the image, else embedded.
    :param image: default `postgres:<major>`.
    :raises ServerError: when none can be started; says what would bring one.
    """
    if wanted not in KINDS:
        raise UsageError(f"--sandbox {wanted} is none of {', '.join(KINDS)}", hint="leave it out for auto")
    name = image or f"postgres:{major}"
    with ExitStack() as cleanup:
        why_not = ""
        if wanted != "embedded":
            # Here, since the engine's client costs 0.3 s that an embedded drill need not pay.
            from verification.sandbox.container import start_container
            from verification.sandbox.engine import engine_status, find_image

            status = engine_status()
            try:
                if not status.answers:
                    raise ServerError(f"no container engine answers: {status.reason}", hint=status.hint)
                find_image(name)
            except ServerError as exc:
                if wanted == "container" or image is not None:
                    raise
                why_not = exc.message
            else:
                sandbox = cleanup.enter_context(start_container(name, bootstrap_role=bootstrap_role, jobs=jobs))
                yield Chosen(sandbox=sandbox, because=f"{status.name} answers and has the image {name}")
                return
        programs = _programs(major)
        asked = "--sandbox embedded" if wanted == "embedded" else why_not
        embedded = cleanup.enter_context(start_embedded(programs, bootstrap_role=bootstrap_role, jobs=jobs))
        yield Chosen(sandbox=embedded, because=asked)


def _programs(major: int) -> Programs:
    """Of the archive's own major, else of the nearest newer one, which a record then calls cross-major."""
    exact = server_for(major)
    if exact is not None:
        return exact
    newer = [p for p in find_programs() if p.has_server and p.major > major]
    if newer:
        return newer[0]
    have = ", ".join(p.version for p in find_programs() if p.has_server) or "none"
    raise ServerError(
        f"no server programs of PostgreSQL {major} or newer on this machine (there are: {have})",
        hint=f"run: pgdrill install-server {major}",
    )
