"""What our own sessions in a sandbox keep to, whatever settings the archive brings for its database and roles."""

from __future__ import annotations

from collections.abc import Mapping

from backup_lib.dsn import PINS
from backup_lib.inventory import major_of

_PINS: Mapping[str, str] = {
    **PINS,
    "default_transaction_read_only": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "local_preload_libraries": "",
    "lock_timeout": "0",
    "role": "none",
    "session_preload_libraries": "",
    "standard_conforming_strings": "on",  # our own statements hold backslashes
    "statement_timeout": "0",
}


def session_options(server_version: str) -> str:
    """libpq's `options` for a superuser's session, also of pg_dump: values mean and read the same as at the source."""
    pins = dict(_PINS)
    if (major_of(server_version) or 0) >= 17:
        # Event triggers on login: each of our sessions would write a row into the archive's log of them.
        pins |= {"event_triggers": "off", "transaction_timeout": "0"}
    return " ".join(f"-c {name}={value}" for name, value in pins.items())
