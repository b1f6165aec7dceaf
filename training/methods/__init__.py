"""The methods; the dict says which. They do not know one another."""

from collections.abc import Callable

from training.method import Method
from training.methods.supervised import Supervised
from training.models.two_stream import TwoStream
from training.settings import MethodSettings
from vireid.datasets.split import Split
from vireid.errors import TrainingError

METHODS: dict[str, Callable[[TwoStream, Split, MethodSettings], Method]] = {"supervised": Supervised}


def create(network: TwoStream, train: Split, wanted: MethodSettings) -> Method:
    """Build a method over a network.

    Raises:
        TrainingError: there is none of that name.
    """
    if wanted.name not in METHODS:
        raise TrainingError(f"there is no method {wanted.name!r}; known are {', '.join(METHODS)}")
    return METHODS[wanted.name](network, train, wanted)
