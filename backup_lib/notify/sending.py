"""Sends a notice over every channel at once, tries again for a little while, and never longer."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backup_lib.notify.channels import Channel, NotSentError

_TRY_S = 10.0  # one try, at most
_PAUSE_S = 1.0  # before the second try; then twice that


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message on one channel."""

    channel: str
    sent: bool
    tries: int
    detail: str = ""
    hint: str = ""


def deliver(channels: Sequence[Channel], send: Callable[[Channel, float], None], deadline_s: float) -> list[Delivery]:
    """Call `send(channel, seconds left)` for each channel, side by side, until it is taken or time is up.

    Each has a thread that dies with this process: no library's own timeout covers a name server that is silent, or
    an answer that comes byte by byte.
    """
    ends_at = time.monotonic() + deadline_s
    told: queue.SimpleQueue[tuple[int, Delivery]] = queue.SimpleQueue()
    for place, channel in enumerate(channels):
        work = (place, channel, send, ends_at, told)
        threading.Thread(target=_try, args=work, name=f"notify-{place}", daemon=True).start()
    found: dict[int, Delivery] = {}
    while len(found) < len(channels):
        try:
            place, delivery = told.get(timeout=max(0.0, ends_at - time.monotonic()))
        except queue.Empty:
            break
        found[place] = delivery
    late = f"no answer within {deadline_s:g} s"
    return [
        found.get(place) or Delivery(channel=channel.name, sent=False, tries=1, detail=late)
        for place, channel in enumerate(channels)
    ]


def _try(
    place: int,
    channel: Channel,
    send: Callable[[Channel, float], None],
    ends_at: float,
    told: queue.SimpleQueue[tuple[int, Delivery]],
) -> None:
    tries, pause_s, failure = 0, _PAUSE_S, NotSentError("there was no time for it")
    while (left_s := ends_at - time.monotonic()) > 0:
        tries += 1
        try:
            send(channel, min(left_s, _TRY_S))
        except NotSentError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 - of a library, or a bug: the run that is told of must go on
            failure = NotSentError(f"{type(exc).__name__} while it was sent")
        else:
            told.put((place, Delivery(channel=channel.name, sent=True, tries=tries)))
            return
        if not failure.passing or ends_at - time.monotonic() <= pause_s:
            break
        time.sleep(pause_s)
        pause_s *= 2
    told.put(
        (place, Delivery(channel=channel.name, sent=False, tries=tries, detail=failure.message, hint=failure.hint))
    )
