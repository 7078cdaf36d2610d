"""The house is here for every test of this directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose door does not run yet."""
    made = House(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def home1(house: House) -> AsyncIterator[House]:
    """A house whose door answers as version 1."""
    async with house.running(1):
        yield house


@pytest.fixture
async def home2(house: House) -> AsyncIterator[House]:
    """A house whose door answers as version 2, and as version 1 to whom needs it."""
    async with house.running(2):
        yield house
