"""Cases are named alike by every worker of a run, whatever the time of its start."""

from __future__ import annotations

import gzip

import pytest


@pytest.mark.parametrize("made_now", [gzip.compress(b"a")])
def test_what_holds_the_time_is_not_in_a_name(made_now: bytes, request: pytest.FixtureRequest) -> None:
    assert request.node.name == f"test_what_holds_the_time_is_not_in_a_name[{len(made_now)}-bytes]"


@pytest.mark.parametrize("value", [b"x_1"])
def test_what_can_be_read_is_named_by_its_text(value: bytes, request: pytest.FixtureRequest) -> None:
    assert request.node.name == f"test_what_can_be_read_is_named_by_its_text[{value.decode()}]"
