"""A restore's plan, as it is printed and as JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backup_lib.cli.talk import put, render_size, say
from backup_lib.quantity import number_of

if TYPE_CHECKING:
    from backup_lib.restore.plan import Plan

_SHOWN = 20


def put_plan(plan: Plan, *, to_stderr: bool = False) -> None:
    tell = say if to_stderr else put
    where = "a new database" if plan.creates_database else "the database"
    how = "in one transaction" if plan.in_one_transaction else f"by {number_of(plan.jobs, 'session')}"
    tell(f"{plan.archive} → {where} {plan.database}, {how}")
    tell(f"  server      PostgreSQL {plan.server_version}; the archive is from {plan.archive_version or '?'}")
    free = "" if plan.free_bytes is None else f"; the server's disk has {render_size(plan.free_bytes)} left"
    tables = number_of(plan.tables, "table")
    tell(f"  rows        {plan.rows:,} in {tables}, {render_size(plan.size_bytes)} as text{free}")
    if plan.definitions:
        tell(f"  definitions {', '.join(f'{count} {kind.lower()}' for kind, count in plan.definitions.items())}")
    others = [(plan.sequence_values, "sequence values"), (plan.large_objects, "large objects")]
    if any(count for count, _ in others):
        tell(f"  and         {', '.join(f'{count} {what}' for count, what in others if count)}")
    _tell_list(tell, "goes first", plan.overwritten)
    _tell_list(tell, "roles made, without passwords", plan.roles_made)
    _tell_list(tell, "left out", plan.left_out)
    _tell_list(tell, "leans on what is there", plan.leans_on)
    for note in plan.notes:
        tell(f"  note: {note}")
    for obstacle in plan.obstacles:
        tell(f"  REFUSED: {obstacle.what}\n           {obstacle.hint}")
    sys.stdout.flush()


def _tell_list(tell: Any, title: str, items: tuple[str, ...]) -> None:
    if items:
        tell(f"  {title}:")
        for item in items[:_SHOWN]:
            tell(f"    {item}")
        if len(items) > _SHOWN:
            tell(f"    and {len(items) - _SHOWN} more, which --dry-run --json lists")


def describe_plan(plan: Plan) -> dict[str, Any]:
    facts = asdict(plan)
    facts.pop("places")  # of use to nobody else
    return facts
