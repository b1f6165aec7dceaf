"""The model that a command is told to use: a bundle by name, or the fake one. Knows no gallery."""

from pathlib import Path
from typing import Annotated

import typer

from vireid import bundle as bundles
from vireid.engines import Engine, open_engine
from vireid.engines.fake import FakeEngine
from vireid.images.preprocess import Preprocess

DEFAULT, FAKE = "default", "fake"

BundleName = Annotated[str, typer.Option("--bundle", help="'default', 'fake', or the path of a bundle.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def open_model(bundle: str, device: str, threads: int) -> tuple[Engine, Preprocess]:
    """Open a bundle's engine, and what its images need.

    Raises:
        BundleError: the bundle is missing or corrupt.
        ProviderUnavailable: the asked-for device is not there.
    """
    if bundle == FAKE:
        engine = FakeEngine()
        return engine, Preprocess(*engine.input_size)
    opened = bundles.read(bundles.default_path() if bundle == DEFAULT else Path(bundle))
    return open_engine(opened, device, threads), opened.preprocess
