"""A bundle opened to be evaluated: the model itself, or any of its engines by name."""

from pathlib import Path

import pytest

from vireid import bundle as bundles
from vireid.bundle import SOURCE, EnginePart
from vireid.errors import EngineError
from vireid.evaluation.model import open_model


def test_the_model_itself_is_the_default() -> None:
    found = open_model(None, "cpu")
    assert found.engine.info.runtime.startswith("onnxruntime")
    assert found.name == "vireid-default"
    assert open_model(None, "cpu", engine=SOURCE).name == found.name


def test_an_engine_is_scored_by_name_proven_or_not(tmp_path: Path) -> None:
    default = bundles.read(bundles.default_path())
    part = EnginePart.model_validate(
        {"runtime": "openvino", "precision": "fp32", "file": default.manifest.model.file}
    )
    path = bundles.with_engine(default, part, {}, tmp_path / "more.zip")
    found = open_model(str(path), "cpu", engine="openvino-fp32")
    assert found.engine.info.runtime.startswith("openvino")
    assert found.name == "vireid-default in openvino-fp32"
    assert found.engine.space_id == default.space_id


def test_an_engine_that_is_not_there() -> None:
    with pytest.raises(EngineError, match="it has onnxruntime-fp32"):
        open_model(None, engine="onnxruntime-int8")
    with pytest.raises(EngineError, match="the stand-in has no engine"):
        open_model("fake", engine="onnxruntime-int8")
