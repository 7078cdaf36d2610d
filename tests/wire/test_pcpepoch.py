"""Epochs of PCP and NAT-PMP: what is a loss of state, and what is only a bad clock or path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekimori.wire.pcpepoch import EpochReading, natpmp_state_lost, pcp_state_lost

START = EpochReading(server=10_000, client=500.0)


def test_the_first_response_tells_of_no_loss() -> None:
    assert not pcp_state_lost(None, EpochReading(0, 0.0))
    assert not natpmp_state_lost(None, EpochReading(0, 0.0))


@pytest.mark.parametrize(
    ("server", "client", "lost"),
    [
        (10_000, 500.0, False),
        (9_999, 500.0, False),  # a response that was overtaken: one second back
        (9_998, 500.0, True),
        (0, 500.0, True),
        # 160 s by the client's clock: the server's may say 148 to 172.8, which is 162 less a sixteenth of it.
        (10_148, 660.0, False),
        (10_147, 660.0, True),
        (10_172, 660.0, False),
        (10_173, 660.0, True),
        (10_002, 500.0, False),
        (10_003, 500.0, True),  # in no time at all, 2 s are rounding and 3 are not
        (10_000, 502.1, False),
        (10_000, 502.2, True),
    ],
)
def test_pcp(server: int, client: float, lost: bool) -> None:
    assert pcp_state_lost(START, EpochReading(server, client)) is lost


@pytest.mark.parametrize(
    ("server", "client", "lost"),
    [
        (10_000, 500.0, False),
        (9_998, 500.0, False),
        (9_997, 500.0, True),
        # 80 s by the client's clock: at least 70 of them are expected, less 2.
        (10_068, 580.0, False),
        (10_067, 580.0, True),
        (50_000, 580.0, False),  # a count too high is no loss in NAT-PMP
        (0, 580.0, True),
    ],
)
def test_natpmp(server: int, client: float, lost: bool) -> None:
    assert natpmp_state_lost(START, EpochReading(server, client)) is lost


@given(st.integers(0, 2**31), st.floats(0, 1e6), st.floats(0, 1e5))
def test_a_server_with_a_true_clock_never_seems_to_lose(epoch: int, at: float, passed: float) -> None:
    before, now = EpochReading(epoch, at), EpochReading(epoch + int(passed), at + passed)
    assert not pcp_state_lost(before, now)
    assert not natpmp_state_lost(before, now)


@given(st.integers(100, 2**31), st.floats(0, 40))
def test_a_server_that_began_anew_always_seems_to_lose(epoch: int, passed: float) -> None:
    before, now = EpochReading(epoch, 0.0), EpochReading(int(passed), passed)
    assert pcp_state_lost(before, now)
    assert natpmp_state_lost(before, now)
