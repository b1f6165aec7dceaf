"""A bundle, opened to be evaluated. Knows no dataset."""

from dataclasses import dataclass

from vireid import bundle as bundles
from vireid.engines import Engine, choice
from vireid.engines.fake import FakeEngine
from vireid.errors import EngineError
from vireid.evaluation import provenance
from vireid.images.preprocess import Preprocess

FAKE = "fake"


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


def open_model(
    bundle: str | None, device: str = "auto", threads: int = 1, engine: str = bundles.SOURCE
) -> Model:
    """Open a bundle, by default in the one engine that always gives the same bytes.

    Args:
        bundle: its path; None or ``default`` for the packaged one, ``fake`` for a stand-in without a model.
        device: auto, cpu or cuda.
        threads: threads of one embedding call.
        engine: name of another engine of the bundle, proven or not; its name is then told with the bundle's.

    Raises:
        BundleError: there is none, or it cannot be used.
        EngineError: the model could not be loaded, or the bundle has no such engine.
        MissingExtra: the engine's runtime is not installed.
    """
    if bundle == FAKE:
        if engine != bundles.SOURCE:
            raise EngineError(f"the stand-in has no engine {engine!r}; name a bundle that has")
        fake = FakeEngine()
        return Model(fake, Preprocess(*fake.input_size), FAKE, "")
    opened = bundles.open_named(bundle)
    named = opened.manifest.name
    return Model(
        choice.open_named(opened, engine, device, threads),
        opened.preprocess,
        named if engine == bundles.SOURCE else f"{named} in {engine}",
        provenance.bundle_sha256(opened),
    )
