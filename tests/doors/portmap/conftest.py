"""The house is here for every test of this directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sekimori.planes.memory import MemoryPlane
from sekimori.testing.world import World

from .house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose door does not run yet."""
    made = House(World(plane=MemoryPlane("kernel")), tmp_path)
    yield made
    made.close()


@pytest.fixture
async def open_house(house: House) -> AsyncIterator[House]:
    """A house whose door answers."""
    async with house.running():
        yield house
