"""Does the data mean the same there: encoding, locale, extensions, settings?"""

from __future__ import annotations

from backup_lib.cluster import HIDDEN
from backup_lib.manifest import Concern, Environment, Source
from verification.checks.restore import lacked
from verification.facts import Facts
from verification.finding import Finding, fault, match
from verification.findings import excused, not_compared, not_reached
from verification.scope import scope_of

NAME = "environment"
_BY_LOCALE = "order, upper case and text comparison follow the locale"


def check_environment(facts: Facts) -> list[Finding]:
    restored = facts.restored
    if restored is None:
        return [not_reached(NAME, facts)]
    here = restored.environment
    if facts.manifest is None:
        return [not_compared(NAME, "without a manifest the source's encoding, locale and settings are not known")]
    there = facts.manifest.environment
    whole = scope_of(facts.expect, facts.manifest, facts.archived.inventory).kind in ("full", "schema")
    found = _text_encoding(facts) + _encoding(there, here) + _locale(there, here)
    if whole:
        found += _extensions(facts, there, here) + _settings(there, here)
    found += (
        _standby(facts.manifest.source)
        + _invalid_indexes(there)
        + [_concern(concern) for concern in facts.manifest.lint if concern.code != "invalid-index"]
    )
    return found if any(f.status != "note" for f in found) else [*found, match(NAME, "database", _summary(there))]


def _standby(source: Source) -> list[Finding]:
    """How far the server that was read lay behind its primary."""
    if not source.in_recovery:
        return []
    lag = "by how much is not known" if source.replay_lag_s is None else f"{source.replay_lag_s:.0f} s behind it"
    return [
        Finding(
            check=NAME,
            object="standby",
            status="note",
            cause="source",
            expected="the primary's data",
            actual=f"read from a standby, {lag}",
            why="the data is that much older than the snapshot; the RPO counts it",
            hint="watch the standby's replay, or back up from the primary",
        )
    ]


def _invalid_indexes(there: Environment) -> list[Finding]:
    return [
        Finding(
            check=NAME,
            object=f"index {name}",
            status="note",
            cause="source",
            expected="a valid index",
            actual="invalid at the source, so pg_dump leaves it out",
            why="the restored database lacks an index that somebody once wanted",
            hint="at the source: `REINDEX INDEX CONCURRENTLY` or `DROP INDEX`",
        )
        for name in there.invalid_indexes
    ]


def _concern(concern: Concern) -> Finding:
    """What the source was warned of when it was backed up."""
    return Finding(
        check=NAME,
        object=concern.object,
        status="note",
        cause="source",
        expected="nothing at the source that a restore stumbles over",
        actual=concern.what,
        why=concern.why,
        hint=f"at the source: {concern.hint}",
    )


def _text_encoding(facts: Facts) -> list[Finding]:
    """The same bytes said to be in another encoding are other texts, though every digest of them agrees."""
    manifest, dump = facts.manifest, facts.archived.inventory
    if manifest is None or manifest.archive is None or dump is None or not dump.encoding:
        return []
    if dump.encoding == manifest.environment.encoding:  # pgdrill's own dumps are in the database's
        return []
    return [
        fault(
            NAME,
            "client_encoding",
            f"text in {manifest.environment.encoding}, the database's encoding",
            f"text said to be in {dump.encoding}",
            why="every letter beyond ASCII would be read as another one",
            hint="take another backup with `pgdrill backup`, and find out what wrote or changed this archive",
        )
    ]


def _encoding(there: Environment, here: Environment) -> list[Finding]:
    if there.encoding == here.encoding:
        return []
    return [_gap("encoding", there.encoding, here.encoding, "texts may be cut, refused or read otherwise")]


def _locale(there: Environment, here: Environment) -> list[Finding]:
    found = []
    for name, wanted, got in (
        ("collation", there.collate, here.collate),
        ("character type", there.ctype, here.ctype),
        ("locale provider", there.locale_provider, here.locale_provider),
        ("lc_monetary", there.lc_monetary, here.lc_monetary),
        ("ICU locale", there.icu_locale or "none", here.icu_locale or "none"),
    ):
        if _spelled_alike(wanted) != _spelled_alike(got):
            found.append(_gap(name, wanted, got, _BY_LOCALE))
    if (there.icu_rules or "") != (here.icu_rules or ""):
        found.append(_gap("ICU rules", there.icu_rules or "none", here.icu_rules or "none", _BY_LOCALE))
    if not found and there.collation_version != here.collation_version:
        found.append(
            Finding(
                check=NAME,
                object="collation version",
                status="note",
                expected=there.collation_version or "none",
                actual=here.collation_version or "none",
                why="texts may sort otherwise on this system than at the source",
            )
        )
    return found


def _spelled_alike(locale: str) -> str:
    """`en_US.UTF-8` and `en_US.utf8` are one."""
    return locale.lower().replace("-", "")


def _extensions(facts: Facts, there: Environment, here: Environment) -> list[Finding]:
    found = []
    without = lacked(facts)
    wanted, got = ({e.name: e for e in side.extensions} for side in (there, here))
    for name in sorted(wanted.keys() | got.keys()):
        mine, other = wanted.get(name), got.get(name)
        if mine == other:
            continue
        expected = f"version {mine.version} in {mine.schema}" if mine else "not there"
        actual = f"version {other.version} in {other.schema}" if other else "not there"
        if facts.is_cross_major and mine and other and mine.schema == other.schema:
            found.append(
                Finding(check=NAME, object=f"extension {name}", status="note", expected=expected, actual=actual,
                        why="another major brings other versions of its extensions")
            )  # fmt: skip
        elif mine and other and mine.schema == other.schema:
            found.append(_gap(f"extension {name}", expected, actual, "another version may compute other values"))
        else:
            finding = fault(
                NAME,
                f"extension {name}",
                expected,
                actual,
                why="what it brings is missing or lies elsewhere",
                hint="look for the extension's entry in the archive: `pgdrill show ARCHIVE`",
            )
            found.append(excused(finding) if f"EXTENSION {name}" in without else finding)
    return found


def _settings(there: Environment, here: Environment) -> list[Finding]:
    # A manifest keeps no secret, so a hidden setting can be neither made nor compared.
    wanted = {setting for setting in there.settings if not setting.endswith("=" + HIDDEN)}
    missing, extra = sorted(wanted - set(here.settings)), sorted(set(here.settings) - set(there.settings))
    return [
        fault(
            NAME,
            f"setting {setting.partition('=')[2] or setting}",
            expected,
            actual,
            why="the application would meet other settings than it was tested with",
            hint="set it again after the restore: `ALTER DATABASE … SET …` or `ALTER ROLE … IN DATABASE … SET …`",
        )
        for settings, expected, actual in ((missing, "set", "not set"), (extra, "not set", "set"))
        for setting in settings
    ]


def _summary(environment: Environment) -> str:
    names = ", ".join(f"{e.name} {e.version}" for e in environment.extensions)
    return f"{environment.encoding}, {environment.collate}, extensions: {names or 'none'}"


def _gap(subject: str, expected: str, actual: str, why: str) -> Finding:
    return Finding(
        check=NAME,
        object=subject,
        status="gap",
        cause="environment",
        expected=expected,
        actual=actual,
        why=why,
        hint="drill in a server that has it: `--postgres-image IMAGE`, or install it on this machine",
    )
