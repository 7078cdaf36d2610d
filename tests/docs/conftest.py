"""What the tests of the documents share."""

from __future__ import annotations

import pytest

from tests.docs.documents import LANGUAGES


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)
