"""Fixtures every test may use."""

from pathlib import Path

import pytest
from hypothesis import settings

# a shared machine may hold a test up at any time: only the suite as a whole has a time limit
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_dir(repository: Path) -> Path:
    """Material that is not part of the project: golden vectors, real crops, weights.

    Looked for in a folder named ``shared`` beside the checkout; a test that needs it is skipped without it.
    """
    path = repository.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the material of ../shared, which is not here")
    return path
