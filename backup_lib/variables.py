"""Variables of the environment, each of which may name a file instead: a secret in a file is nobody else's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backup_lib.errors import UsageError

# Names of variables that a configuration file stands behind: they were set for programs that read no such file.
LENT = "PGDRILL_LENT"


def own_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Without those that an earlier reading of the configuration put there: the file still says what they say."""
    lent = {LENT, *env.get(LENT, "").split()}
    return {name: value for name, value in env.items() if name not in lent}


def read_variable(env: Mapping[str, str], name: str) -> str | None:
    """The value of `name`, else what the file holds that `name`_FILE names. Empty counts as unset, in either.

    :raises UsageError: when that file cannot be read.
    """
    if value := env.get(name):
        return value
    if path := env.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n") or None
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not text in UTF-8"
            raise UsageError(
                f"{name}_FILE names {path}, which cannot be read: {reason}",
                hint="give the file to the user this runs as, or unset the variable",
            ) from exc
    return None
