"""``vireid export inspect`` and ``vireid export default-bundle`` as a user meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

from export import default_bundle, default_bundle_command
from export.command import app
from export.default_bundle import Candidate
from export.evidence import Evidence, Synthetic
from training.bridge import BridgeSettings
from vireid import bundle
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.errors import AlreadyExists, BundleMissing, ExportError, TrainingError

RUN = CliRunner()
START = Evidence(0.968, 0.85, {"hold": Synthetic(0.8, 0.3, 0.1, 0.1)})
GOOD = Evidence(0.968, 0.9, {"hold": Synthetic(0.8, 0.5, 0.25, 0.3)})
POOR = Evidence(0.95, 0.9, {"hold": Synthetic(0.8, 0.5, 0.15, 0.3)})


def test_inspect_tells_what_the_packaged_bundle_is() -> None:
    path = bundle.default_path()
    shown = RUN.invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0
    found = bundle.read(path)
    for words in ("256 x 128 RGB", "256 dimensions", found.space_id, "Apache-2.0", "cosine_min"):
        assert words in shown.output
    as_json = json.loads(RUN.invoke(app, ["inspect", "--json", str(path)]).output)
    assert as_json["space_id"] == found.space_id
    assert as_json["files"] == dict(found.manifest.files)


def test_inspect_of_nothing_is_our_error(tmp_path: Path) -> None:
    shown = RUN.invoke(app, ["inspect", str(tmp_path / "none.zip")])
    assert isinstance(shown.exception, BundleMissing)


def test_a_bundle_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    there = tmp_path / "model.bundle.zip"
    there.write_bytes(b"of last week")
    shown = RUN.invoke(app, ["onnx", str(tmp_path / "run"), "--out", str(there)])
    assert isinstance(shown.exception, AlreadyExists)
    assert "--replace" in str(shown.exception)
    assert there.read_bytes() == b"of last week"
    # asked for, it gets as far as the run that is missing
    shown = RUN.invoke(app, ["onnx", str(tmp_path / "run"), "--out", str(there), "--replace"])
    assert isinstance(shown.exception, TrainingError)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return draw_dataset(tmp_path / "hold", "sysu-like", 4, 1, seed=1)


def arguments(drawn: Path, repository: Path, out: Path) -> list[str]:
    real = repository / "tests" / "data" / "vtest"
    named = {"weights": drawn, "real": real, "train": drawn, "watch": drawn, "hold-out": drawn, "out": out}
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def test_a_candidate_that_meets_the_conditions_is_written(
    tiny_model: nn.Module, drawn: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def make(materials: Any, settings: BridgeSettings | None, tell: Any) -> Candidate:
        asked.append((materials, settings))
        tell(100, 0.5)
        return Candidate(tiny_model, settings, START, GOOD)

    monkeypatch.setattr(default_bundle, "make", make)
    monkeypatch.setattr(default_bundle, "_probes", lambda materials: None)
    out = tmp_path / "made.zip"
    given = [*arguments(drawn, repository, out), "--rank", "8", "--steps", "30", "--seed", "4"]
    shown = RUN.invoke(default_bundle_command.app, given)
    assert shown.exit_code == 0, shown.output
    materials, settings = asked[0]
    assert (settings.steps, settings.seed, settings.rank) == (30, 4, 8)
    assert len(materials.exam.synthetic["hold"]) == 24
    manifest = bundle.read(out).manifest
    assert manifest.provenance["dataset"][0]["preset"] == "sysu-like"
    assert manifest.provenance["recipe"]["steps"] == 30
    assert manifest.metrics["bundle"]["synthetic"]["hold"]["infrared_to_visible_map"] == 0.25
    assert "misses" not in shown.output
    assert "step 100" in shown.output


def test_a_candidate_that_misses_a_condition_is_refused_and_leaves_no_file(
    tiny_model: nn.Module, drawn: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        default_bundle,
        "make",
        lambda materials, settings, tell: Candidate(tiny_model, settings, START, POOR),
    )
    out = tmp_path / "made.zip"
    shown = RUN.invoke(default_bundle_command.app, [*arguments(drawn, repository, out), "--rank", "0"])
    assert isinstance(shown.exception, ExportError)
    assert "real visible 0.9500" in shown.exception.message
    assert "twice the start" in shown.exception.message
    assert "misses" in shown.output
    assert not out.exists()
