"""What container drills this machine can make: `python -m verification.doctor`, which `pgdrill doctor` shows."""

from __future__ import annotations

import sys

from verification.sandbox.engine import engine_status, image_status


def describe_engine() -> list[str]:
    """One line an item, each beginning with `ok` or `missing`."""
    status = engine_status()
    if not status.answers:
        return [f"missing  container engine: {status.reason}; {status.hint}"]
    images = [(name, image_status(name, timeout_s=3)) for name in (f"postgres:{major}" for major in range(14, 19))]
    return [
        f"ok       {status.name}",
        *(
            f"ok       image {name}" if state == "present" else f"missing  image {name} ({state}): docker pull {name}"
            for name, state in images
        ),
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(describe_engine()) + "\n")
