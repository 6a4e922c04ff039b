"""What can be wrong with the archives of one database and kind. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from backup_lib.ledger import Entry
from backup_lib.monitor.archives import Archive, Group
from backup_lib.monitor.expected import Expected, Limits
from backup_lib.monitor.known import DrillView, Known
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Value, command, render_span


def of_none(group: Group, known: Known) -> Iterator[Problem]:
    """There is none, or none that could be seen."""
    what = _what(group)
    if known.archives or not known.expected:
        return  # only of the future, which is said
    if known.unread:
        yield Problem(
            code="unread",
            severity="unknown",
            message=f"whether there is a {what} is not known: {', '.join(known.unread)} cannot be read",
            hint="see what is said of that place",
            variant="series",
            values={**_named(group), "places": ", ".join(known.unread)},
        )
    else:
        yield Problem(
            code="missing",
            message=f"there is no {what} in {' or '.join(known.expected.places)}",
            hint=f"make one: {known.expected.backup}",
            values={**_named(group), "places": ", ".join(known.expected.places)},
        )


def of_newest(newest: Archive, known: Known, last_drill_id: str) -> Iterator[Problem]:
    """The newest by itself."""
    another = "make a new archive: " + (known.expected.backup if known.expected else "pgdrill backup")
    name, promise = newest.found.name, known.promises.get(newest.found.name)
    if newest.found.has_manifest and promise is None:
        yield Problem(
            code="manifest-damaged",
            message=f"the manifest of {name} cannot be read, so nothing tells what the archive must hold",
            hint=f"move it away and see what the archive is: {command('verify', newest.found.address)}; or " + another,
            values={"archive": name},
        )
    for copy in newest.copies:
        size_bytes = copy.found.size_bytes
        promised = promise.archive.size_bytes if promise and promise.archive else None
        if size_bytes == 0 or (promised is not None and promised != size_bytes):
            wanted = "" if promised is None else f"; its manifest promises {promised:,}"
            yield Problem(
                code="size-differs",
                message=f"{copy.found.address} has {size_bytes:,} bytes{wanted}",
                hint=another,
                variant="empty" if promised is None else "",
                values={"archive": copy.found.address, "size": f"{size_bytes} B", "wanted": f"{promised} B"},
            )
        elif copy.standing(known.sha256(newest)) == "failed":
            entry = copy.conclusion(known.sha256(newest))
            if entry and entry.drill_id != last_drill_id:  # of the last one that is said by itself
                yield Problem(
                    code="newest-failed",
                    message=f"{copy.found.address}, the newest, failed its drill {entry.drill_id}",
                    hint=another,
                    values={"archive": copy.found.address, "drill": entry.drill_id},
                )


def of_ages(
    group: Group,
    newest: Archive,
    verified: Archive | None,
    known: Known,
    expected: Expected,
    limits: Limits,
    now: datetime,
) -> Iterator[Problem]:
    """Too old, or too long unproved."""
    what = _what(group)
    age_s = (now - newest.taken_at).total_seconds()
    if age_s > limits.age_s:
        yield Problem(
            code="stale",
            severity="unknown" if known.unread else "problem",  # a newer one may lie where nobody could look
            message=f"the newest {what} is {render_span(age_s)} old ({newest.taken_at:%Y-%m-%d %H:%M} UTC); "
            f"{render_span(limits.age_s)} are allowed"
            + (f"; {', '.join(known.unread)} cannot be read" if known.unread else ""),
            hint=f"see why none was made: pgdrill schedule health; make one: {expected.backup}",
            variant="unread" if known.unread else "",
            values={
                **_named(group),
                "taken_at": newest.taken_at,
                "age_s": age_s,
                "allowed_s": limits.age_s,
                "places": ", ".join(known.unread),
            },
        )
    drill = command("verify", newest.found.address)
    if verified is None:
        yield Problem(
            code="never-verified",
            message=f"no {what} is proved to restore",
            hint=f"prove one: {drill}",
            values=_named(group),
        )
    elif limits.verified_age_s is not None:
        age_s = (now - verified.taken_at).total_seconds()
        if age_s > limits.verified_age_s:
            yield Problem(
                code="verified-stale",
                message=f"the newest {what} that is proved to restore is {render_span(age_s)} old "
                f"({verified.taken_at:%Y-%m-%d %H:%M} UTC); {render_span(limits.verified_age_s)} are allowed",
                hint=f"prove a newer one: {drill}",
                values={
                    **_named(group),
                    "taken_at": verified.taken_at,
                    "age_s": age_s,
                    "allowed_s": limits.verified_age_s,
                },
            )


def of_drill(drill: DrillView, report: str) -> Iterator[Problem]:
    """How the last one ended."""
    said = f": {drill.record.summary}" if drill.record else ""
    at = f"{drill.finished_at:%Y-%m-%d %H:%M} UTC"
    values: dict[str, Value] = {"archive": drill.archive, "drill": drill.drill_id, "ended_at": drill.finished_at}
    if drill.objective_missed:
        yield Problem(
            code="objective-missed",
            message=f"the drill of {drill.archive} on {at} missed an objective; its data is fine{said}",
            hint=f"see where the time went: {report}",
            values=values,
        )
    elif drill.verdict == "failed":
        yield Problem(
            code="drill-failed",
            message=f"the last drill, of {drill.archive} on {at}, failed{said}",
            hint=f"read {report}; after that: {command('verify', drill.address)}",
            values=values,
        )
    elif drill.verdict != "verified":
        yield Problem(
            code="drill-open",
            severity="unknown",
            message=f"the last drill, of {drill.archive} on {at}, could not be carried out to its end{said}",
            hint="see what this machine lacks: pgdrill doctor",
            values=values,
        )


def of_clocks(known: Known, drilled: tuple[Archive, Entry] | None, now: datetime) -> Iterator[Problem]:
    """What is dated ahead of now."""
    ahead = [archive for archive in known.archives if archive.taken_at > now + CLOCK_SKEW]
    for archive in ahead:
        yield Problem(
            code="future",
            message=f"{archive.found.name} says it was taken at {archive.taken_at:%Y-%m-%d %H:%M} UTC, "
            "which is in the future; it is not counted",
            hint="see which clock is wrong, this one or that of where it was made: timedatectl",
            values={"archive": archive.found.name, "at": archive.taken_at},
        )
    if drilled and drilled[1].finished_at > now + CLOCK_SKEW:
        yield Problem(
            code="future",
            message=f"the drill of {drilled[0].found.name} says it ended at "
            f"{drilled[1].finished_at:%Y-%m-%d %H:%M} UTC, which is in the future",
            hint="see which clock is wrong, this one or that of where it ran: timedatectl",
            variant="drill",
            values={"archive": drilled[0].found.name, "at": drilled[1].finished_at},
        )


def of_copies(known: Known, past: Sequence[Archive]) -> Iterator[Problem]:
    """The newest must lie in each of its places that could be read."""
    if not known.expected or not past:
        return
    held = {copy.place for copy in past[0].copies}
    lacking = [place for place in known.expected.places if place not in held | set(known.unread)]
    if lacking and len(known.expected.places) > 1:
        yield Problem(
            code="copy-missing",
            message=f"{past[0].found.name}, the newest, is not in {' nor in '.join(lacking)}",
            hint=f"copy it: {command('sync', *known.expected.places)}",
            values={"archive": past[0].found.name, "places": ", ".join(lacking)},
        )


def _what(group: Group) -> str:
    return f"{group[1]} archive of {group[0]}"


def _named(group: Group) -> dict[str, Value]:
    return {"database": group[0], "kind": group[1]}
