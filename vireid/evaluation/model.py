"""A bundle, opened to be evaluated. Knows no dataset."""

from dataclasses import dataclass
from pathlib import Path

from vireid import bundle as bundles
from vireid.engines import Engine, open_engine
from vireid.engines.fake import FakeEngine
from vireid.evaluation import provenance
from vireid.images.preprocess import Preprocess

DEFAULT, FAKE = "default", "fake"


@dataclass(frozen=True, slots=True)
class Model:
    """What embeds.

    Attributes:
        engine: the loaded bundle.
        preprocess: what its images need.
        name: the bundle's.
        sha256: of the bundle, empty for the stand-in.
    """

    engine: Engine
    preprocess: Preprocess
    name: str
    sha256: str


def open_model(bundle: str | None, device: str = "auto", threads: int = 1) -> Model:
    """Open a bundle.

    Args:
        bundle: its path; None or ``default`` for the packaged one, ``fake`` for a stand-in without a model.
        device: auto, cpu or cuda.
        threads: threads of one embedding call.

    Raises:
        BundleError: there is none, or it cannot be used.
        EngineError: the model could not be loaded.
    """
    if bundle == FAKE:
        engine = FakeEngine()
        return Model(engine, Preprocess(*engine.input_size), FAKE, "")
    opened = bundles.read(bundles.default_path() if bundle in (None, DEFAULT) else Path(str(bundle)))
    return Model(
        open_engine(opened, device, threads),
        opened.preprocess,
        opened.manifest.name,
        provenance.bundle_sha256(opened),
    )
