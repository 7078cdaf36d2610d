"""The state machine of the whole deciding half (see its rules in the package)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from sekimori.testing.state_machine import PipelineMachine

PipelineMachine.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


TestPipeline = PipelineMachine.TestCase
