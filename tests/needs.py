"""What the tests need of a machine, and how to bring what it lacks."""

from __future__ import annotations

import shutil

from backup_lib.server_programs import NEWEST_MAJOR, OLDEST_MAJOR, server_for
from verification.sandbox.engine import engine_status

MAJORS = range(OLDEST_MAJOR, NEWEST_MAJOR + 1)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PROGRAMS = ("age", "openssl", "setsid", "systemd-analyze")
BRING_SERVERS = "scripts/install-test-servers brings them"


def missing() -> list[str]:
    """A line for each kind of tests that cannot run here."""
    lines = []
    if majors := [major for major in MAJORS if server_for(major) is None]:
        lines.append(f"SERVERS of PostgreSQL {', '.join(map(str, majors))}; {BRING_SERVERS}")
    if not (engine := engine_status()).answers:
        lines.append(f"CONTAINERS: {engine.reason}; sudo scripts/install-test-containers brings engine and images")
    if not any(map(shutil.which, BROWSERS)):
        lines.append("BROWSER; sudo scripts/install-test-browser brings it")
    if programs := [name for name in PROGRAMS if not shutil.which(name)]:
        lines.append(f"PROGRAMS {', '.join(programs)}; sudo scripts/install-test-programs brings them")
    return lines
