"""Memory that did not suffice, in words: what to lower, beside what it is now. Knows no loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from training.settings import RunSettings
from vireid.errors import TrainingError

# what PyTorch's allocator of the processor's memory says
_PHRASES = ("can't allocate memory", "not enough memory", "out of memory")


@contextmanager
def explained(settings: RunSettings, kept: str) -> Iterator[None]:
    """Turn a lack of memory into advice.

    Args:
        settings: of the run.
        kept: what is not lost, in words.

    Raises:
        TrainingError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_shortage(error):
            raise
        raise TrainingError(f"{_advice(settings)}; {kept}") from error


def _is_shortage(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        phrase in str(error).lower() for phrase in _PHRASES
    )


def _advice(settings: RunSettings) -> str:
    data, model = settings.data, settings.model
    fewer = max(2, data.persons // 2)
    words = [
        f"out of memory with data.persons={data.persons} x data.images={data.images} images in each part of a batch, "
        f"of {model.height} x {model.columns}, on {model.name} of width {model.width:g}: lower data.persons "
        f"(--set data.persons={fewer} --set accumulate={settings.accumulate * 2} keeps the images of a step)"
    ]
    if not settings.amp:
        words.append("set amp=true")
    words.append(
        f"lower model.height and model.columns, or data.cache_mb={data.cache_mb} if it is the machine's"
    )
    return ", ".join(words)
