"""A gallery may be filled by any engine of a bundle that is proven: they share one space."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from index.command import app
from index.model import open_model
from vireid import bundle as bundles
from vireid.bundle import SOURCE, EnginePart
from vireid.errors import EngineError


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """The default bundle with one engine that is proven and one that is not."""
    path, read = tmp_path / "more.zip", bundles.read(bundles.default_path())
    for precision, parity in (("fp32", {"passed": True}), ("bf16", {})):
        part = EnginePart.model_validate(
            {
                "runtime": "openvino",
                "precision": precision,
                "file": read.manifest.model.file,
                "parity": parity,
            }
        )
        read = bundles.read(bundles.with_engine(read, part, {}, path))
    return path


def test_a_proven_engine_fills_the_gallery_of_the_model(more: Path, tmp_path: Path) -> None:
    folder = tmp_path / "crops" / "visible" / "1"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        blocks = random.integers(0, 255, (8, 4, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((32, 64)).save(folder / f"c1_{number}.png")
    words = ["build", str(tmp_path / "data"), "--gallery", "yard", "--images", str(tmp_path / "crops")]
    first = CliRunner().invoke(app, [*words, "--bundle", str(more), "--engine", "openvino-fp32"])
    assert first.exit_code == 0, first.output
    assert "3 created" in first.output
    # the model itself goes on where the other engine was
    again = CliRunner().invoke(app, [*words, "--bundle", "default"])
    assert again.exit_code == 0, again.output
    assert "3 unchanged" in again.output


def test_an_engine_that_is_not_proven_fills_nothing(more: Path) -> None:
    with pytest.raises(EngineError, match="openvino-bf16 may not embed: it has no parity report") as caught:
        open_model(str(more), "cpu", 1, "openvino-bf16")
    assert caught.value.stable_reason == "ENGINE_UNPROVEN"
    with pytest.raises(EngineError, match="has no engine"):
        open_model(str(more), "cpu", 1, "onnxruntime-int8")
    assert open_model(str(more), "cpu", 1, SOURCE)[0].info.runtime.startswith("onnxruntime")
