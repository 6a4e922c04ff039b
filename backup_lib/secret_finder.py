"""Secrets that lie in configuration files. Pure; what is found is named by its place, and never repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PurePath

_NAMES = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx", "*.ppk", "id_rsa", "id_dsa",
    "id_ecdsa", "id_ed25519", ".pgpass", "pgpass.conf", ".netrc", ".my.cnf", ".htpasswd", "*.keytab",
)  # fmt: skip
_HARMLESS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub.pem")
_FOLDERS = ("secrets", ".ssh", ".gnupg")
_KEYS = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----|AGE-SECRET-KEY-1|\bAKIA[0-9A-Z]{16}\b")
_IN_URL = re.compile(rb"\b[a-z][a-z0-9+]*://[^\s:/@'\"]+:(?P<value>[^\s/@'\"]+)@", re.IGNORECASE)
_ASSIGNED = re.compile(
    rb"""^[\s"'-]*(?:export\s+)?[\w.-]*(?:password|passwd|passphrase|secret|token|api_?key|private_?key)["']?
         \s*[:=]\s*(?P<quote>["']?)(?P<value>[^\s"'#,;}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# A reference, a place, or nothing: the secret is elsewhere.
_ELSEWHERE = re.compile(
    rb"[$<%/!*{\[|>]|\.{1,2}/|(?:true|false|yes|no|null|none|changeme|required|md5|scram-sha-256)$", re.I
)


def find_secrets(path: PurePath, data: bytes) -> Iterator[str]:
    """Where something in a file looks like a secret: `its name is that of a file of secrets`, `line 7: a password`."""
    lowered = path.name.lower()
    if any(fnmatchcase(lowered, name) for name in _HARMLESS):
        return
    if any(fnmatchcase(lowered, name) for name in _NAMES) or any(part in _FOLDERS for part in path.parts[:-1]):
        yield "its name is that of a file of secrets"
        return
    for number, line in enumerate(data.splitlines(), start=1):
        if what := _in_line(line):
            yield f"line {number}: {what}"


def _in_line(line: bytes) -> str:
    if _KEYS.search(line):
        return "a secret key"
    if (url := _IN_URL.search(line)) and not _ELSEWHERE.match(url["value"]):
        return "a password in a URL"
    assigned = _ASSIGNED.match(line)
    if assigned and not _ELSEWHERE.match(assigned["value"]):
        return "a password or token"
    return ""
