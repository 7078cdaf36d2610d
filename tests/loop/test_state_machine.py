"""The state machine of the whole deciding half (see its rules in the package)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from sekimori.testing.state_machine import PipelineMachine
from sekimori.testing.state_machine_far import FarMachine
from sekimori.testing.state_machine_home import HomeMachine

SETTINGS = settings(
    max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
for machine in (PipelineMachine, HomeMachine, FarMachine):
    machine.TestCase.settings = SETTINGS


TestPipeline = PipelineMachine.TestCase

TestHome = HomeMachine.TestCase

TestFar = FarMachine.TestCase
