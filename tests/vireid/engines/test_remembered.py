"""The fastest engine is found once for the same bundle, runtimes and machine; whatever changes, it is found anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vireid.engines.paced import FAILED, part
from vireid.bundle import SOURCE, Bundle
from vireid.engines import forms, remembered
from vireid.engines.choice import Choice
from vireid.engines.remembered import Memory, Remembered, memory
from vireid.engines.tensorrt_driver import Gpu
from vireid.engines.tuning import Tried
from vireid.errors import EngineError, MissingExtra, ProviderUnavailable

Run = Callable[..., Choice]
Holding = Callable[..., Bundle]

TAKES: dict[str, Any] = {
    SOURCE: 0.010,
    "onnxruntime-int8": 0.003,
    "openvino-bf16": 0.006,
    "openvino-int8": MissingExtra("OpenVINO is not installed"),
}
NEW = dict.fromkeys(TAKES, 0.001)  # by now another would be taken


@pytest.fixture
def several(holding: Holding) -> Bundle:
    return holding(part("onnxruntime-int8"), part("openvino-bf16"), part("openvino-int8"))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise ProviderUnavailable("there is no driver")

    monkeypatch.setattr(remembered, "open_driver", none)


@pytest.fixture
def kept(several: Bundle, tmp_path: Path) -> Memory:
    return memory(several, tmp_path / "engines", "cpu")


def test_what_was_found_is_not_tried_again(several: Bundle, kept: Memory, run: Run) -> None:
    first = run(several, TAKES, memory=kept)
    assert first.name == "onnxruntime-int8"
    only: dict[str, Any] = dict.fromkeys(TAKES, EngineError("it was opened"))
    second = run(several, only | {"onnxruntime-int8": 9.0}, memory=kept)
    assert second.name == first.name
    assert second.not_taken == first.not_taken
    assert second.reason == f"{first.reason}, when they were last tried"
    assert second.proven
    assert len(second.for_workers(3)) == 3


def test_the_layout_is_remembered_too(holding: Holding, run: Run, tmp_path: Path) -> None:
    bundle = holding(part("openvino-bf16"))
    kept = memory(bundle, tmp_path)
    assert (
        run(bundle, {SOURCE: 1.0, f"{SOURCE}/plain": 0.5, "openvino-bf16": 2.0}, memory=kept).name == SOURCE
    )
    again = run(bundle, {SOURCE: 1.0, f"{SOURCE}/plain": 1.0, "openvino-bf16": 0.1}, memory=kept)
    assert (again.name, again.engine.info.provider) == (SOURCE, "plain")


def test_a_name_that_is_asked_for_is_not_looked_up(several: Bundle, kept: Memory, run: Run) -> None:
    run(several, TAKES, memory=kept)
    assert run(several, TAKES, "openvino-bf16", memory=kept).name == "openvino-bf16"
    assert kept.recall() == Remembered.model_validate_json(kept.path.read_bytes())


def test_one_that_does_not_open_any_more_is_replaced(several: Bundle, kept: Memory, run: Run) -> None:
    run(several, TAKES, memory=kept)
    gone = TAKES | {"onnxruntime-int8": ProviderUnavailable("no such instructions")}
    found = run(several, gone, memory=kept)
    assert found.name == "openvino-bf16"
    assert run(several, NEW, memory=kept).name == "openvino-bf16"


def test_one_that_is_not_proven_any_more_does_not_serve(
    several: Bundle, holding: Holding, kept: Memory, run: Run
) -> None:
    """Though the file says so, which somebody may have written."""
    run(several, TAKES, memory=kept)
    worse = holding(part("onnxruntime-int8", FAILED), part("openvino-bf16"), part("openvino-int8"))
    assert run(worse, TAKES, memory=kept).name == "openvino-bf16"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"name": "onnxruntime-int8"}',
        '{"name": "openvino-int8", "layout": "blocked", "seconds": {"onnxruntime-int8": 1.0}}',
        '{"name": "onnxruntime-int4", "layout": "blocked", "seconds": {"onnxruntime-int4": 1.0}}',
        '{"name": "onnxruntime-int8", "layout": "striped", "seconds": {"onnxruntime-int8": 1.0}}',
    ],
)
def test_what_cannot_be_read_is_found_anew(several: Bundle, kept: Memory, run: Run, text: str) -> None:
    kept.folder.mkdir()
    kept.path.write_text(text)
    assert run(several, TAKES, memory=kept).name == "onnxruntime-int8"
    found = kept.recall()
    assert found is not None
    assert found.seconds["openvino-bf16"] == pytest.approx(0.006)


def test_where_nothing_can_be_kept_a_server_starts_all_the_same(
    several: Bundle, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert run(several, TAKES, memory=memory(several, blocked / "engines")).name == "onnxruntime-int8"
    assert "cannot be kept" in caplog.text


def test_an_unsteady_finding_is_not_kept(
    several: Bundle, kept: Memory, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms.tuning, "tried", lambda engines, *_, **__: Tried((1.0, 1.0, 0.5, 2.0), False))
    assert run(several, TAKES, memory=kept).name == "onnxruntime-int8"
    assert kept.recall() is None


def test_what_could_not_run_is_tried_again(several: Bundle, kept: Memory, run: Run) -> None:
    """It may have lacked memory at that moment only."""
    first = run(several, TAKES, memory=kept, most={"onnxruntime-int8": 4})
    assert first.name == "openvino-bf16"
    assert "no memory for 8 images" in {one.reason for one in first.not_taken}
    assert run(several, TAKES, memory=kept).name == "onnxruntime-int8"


def test_one_engine_alone_is_not_kept(several: Bundle, kept: Memory, run: Run) -> None:
    fails: dict[str, Any] = dict.fromkeys(TAKES, EngineError("fails"))
    assert run(several, fails | {SOURCE: 1.0}, memory=kept).name == SOURCE
    assert kept.recall() is None


@pytest.mark.parametrize(("device", "is_kept"), [("auto", False), ("cpu", True)])
def test_a_gpu_that_is_not_used_is_tried_at_every_start(
    several: Bundle, run: Run, tmp_path: Path, device: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lacks may be installed."""

    class Driver:
        gpu = Gpu("NVIDIA Test", "9.0", "13.3")

    monkeypatch.setattr(remembered, "open_driver", Driver)
    kept = memory(several, tmp_path, device)
    run(several, TAKES, device=device, memory=kept)
    assert (kept.recall() is not None) == is_kept


# ---- on what it depends ------------------------------------------------------------------
def test_the_same_circumstances_are_the_same(several: Bundle, tmp_path: Path) -> None:
    assert memory(several, tmp_path, "cpu") == memory(several, tmp_path, "cpu")


def test_other_words_and_another_bundle_are_others(several: Bundle, holding: Holding, tmp_path: Path) -> None:
    worse = holding(part("onnxruntime-int8", FAILED), part("openvino-bf16"), part("openvino-int8"))
    paths = [
        memory(several, tmp_path, "cpu").path,
        memory(several, tmp_path, "auto").path,
        memory(worse, tmp_path, "cpu").path,
    ]
    assert len(set(paths)) == 3


@pytest.mark.parametrize("changed", ["package", "cores", "processor", "gpu"])
def test_another_machine_or_runtime_is_another(
    several: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    before = memory(several, tmp_path)
    if changed == "package":
        monkeypatch.setattr(
            remembered.importlib.metadata, "version", lambda name: "9.9" if name == "openvino" else "1.0"
        )
    elif changed == "cores":
        monkeypatch.setattr(remembered.os, "sched_getaffinity", lambda _: set(range(63)))
    elif changed == "processor":
        words = tmp_path / "cpuinfo"
        words.write_text("processor : 0\nmodel name : Abacus\nflags : beads\n\nprocessor : 1\n")
        monkeypatch.setattr(remembered, "CPU_WORDS", words)
    else:
        driver = type("Driver", (), {"gpu": Gpu("NVIDIA Test", "9.0", "13.3")})
        monkeypatch.setattr(remembered, "open_driver", driver)
    assert memory(several, tmp_path).path != before.path


def test_a_processor_that_runs_slower_at_the_moment_is_the_same(
    several: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tmp_path / "cpuinfo"
    monkeypatch.setattr(remembered, "CPU_WORDS", words)
    found = set()
    for speed in (800, 3600):
        words.write_text(f"processor : 0\nmodel name : Abacus\ncpu MHz : {speed}\nflags : beads\n")
        found.add(memory(several, tmp_path / "engines").path)
    words.unlink()
    found.add(memory(several, tmp_path / "engines").path)
    assert len(found) == 2


def test_a_plan_that_is_there_by_now_is_tried(several: Bundle, holding: Holding, tmp_path: Path) -> None:
    with_plan = holding(part("tensorrt-fp16"))
    before = memory(with_plan, tmp_path), memory(several, tmp_path)
    (tmp_path / "fp16-0.json").write_text("{}")
    assert memory(with_plan, tmp_path).path != before[0].path
    assert memory(several, tmp_path) == before[1]


def test_a_sidecar_that_cannot_be_read_stops_nothing(holding: Holding, tmp_path: Path) -> None:
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.json").mkdir()
    assert memory(holding(part("tensorrt-fp16")), tmp_path).recall() is None


def test_it_is_replaced_whole(kept: Memory) -> None:
    found = Remembered(name=SOURCE, layout="plain", seconds={SOURCE: 0.01})
    kept.keep(found)
    kept.keep(replace_seconds(found, 0.02))
    assert kept.recall() == replace_seconds(found, 0.02)
    assert [path.name for path in kept.folder.iterdir()] == [kept.path.name]


def replace_seconds(found: Remembered, seconds: float) -> Remembered:
    return found.model_copy(update={"seconds": {SOURCE: seconds}})
