"""What `pgdrill backup --dry-run` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from backup_lib.cli.talk import put, put_json, render_size, say
from backup_lib.quantity import number_of

if TYPE_CHECKING:
    from backup_lib.backup_plan import BackupPlan

_MOST = 20  # names; with --json all


def put_plan(plans: Sequence[BackupPlan], *, as_json: bool) -> None:
    """:param plans: of one database, one for each place."""
    first = plans[0]
    if as_json:
        facts = asdict(first)
        lint = facts.pop("concerns")
        places = [
            {"place": one.place, "name": one.name, "free_bytes": one.free_bytes, "expected_bytes": one.expected_bytes}
            for one in plans
        ]
        put_json(facts | {"dry_run": True, "lint": lint, "places": places})
    else:
        _put(plans)
    if first.clocks:
        say(f"warning: {first.clocks}")
    for plan in plans:
        if plan.lacks_room:
            say(
                f"warning: {plan.place} has {render_size(plan.free_bytes or 0)} left, and {plan.like} needed "
                f"{render_size(plan.expected_bytes or 0)}; pgdrill prune --dry-run says what may go"
            )


def _put(plans: Sequence[BackupPlan]) -> None:
    first = plans[0]
    put(f"would back up the database {first.database} of PostgreSQL {first.server_version}, by pg_dump {first.pg_dump}")
    encrypted = f"encrypted by age, {first.encrypted}" if first.encrypted else "not encrypted"
    put(f"  kind {first.kind}, format {first.format}, compression {first.compression}, {encrypted}")
    for plan in plans:
        size = f"about {render_size(plan.expected_bytes)}, as {plan.like}" if plan.expected_bytes else "size unknown"
        free = f"; {render_size(plan.free_bytes)} free" if plan.free_bytes is not None else ""
        put(f"  to {plan.place}/{plan.name}: {size}{free}")
    put(f"  rows of {number_of(len(first.tables), 'table')}: {_some(first.tables)}")
    if first.left_out:
        put(f"  NOT of {len(first.left_out)}: {_some(first.left_out)}")
    if first.options:
        put(f"  pg_dump {' '.join(first.options)}")
    put("nothing was dumped or written")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return (", ".join(names[:_MOST]) or "none") + more
