"""The model that a command is told to use: a bundle by name, or the fake one. Knows no gallery."""

from typing import Annotated

import typer

from vireid import bundle as bundles
from vireid.engines import Engine, choice
from vireid.engines.fake import FakeEngine
from vireid.images.preprocess import Preprocess

FAKE = "fake"

BundleName = Annotated[str, typer.Option("--bundle", help="'default', 'fake', or the path of a bundle.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="One of the bundle's engines that is proven.")
]


def open_model(
    bundle: str, device: str, threads: int, engine: str = bundles.SOURCE
) -> tuple[Engine, Preprocess]:
    """Open a bundle's engine, and what its images need.

    Args:
        bundle: ``default``, ``fake``, or the path of a bundle.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of one embedding call.
        engine: which of the bundle's; all that are proven share one space.

    Raises:
        BundleError: the bundle is missing or corrupt.
        EngineError: the asked-for device or engine is not there, or was not proven.
    """
    if bundle == FAKE:
        fake = FakeEngine()
        return fake, Preprocess(*fake.input_size)
    opened = bundles.open_named(bundle)
    return choice.open_proven(opened, engine, device, threads), opened.preprocess
