"""Every name of TensorRT that is called here exists in the real bindings, with the arguments it is given.

``tensorrt_11_names.json`` lists the names and arguments of the real 11.4 bindings; ``make tensorrt-names`` makes it anew. The
type checker holds our calls against ``tensorrt_api``, which is held against the list here; what is reached through the module
itself is looked up in the source. TensorRT-RTX is installed and asked directly.
"""

import ast
import importlib.util
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vireid.engines import tensorrt_api

NAMES = json.loads((Path(__file__).parent / "tensorrt_11_names.json").read_text())
CLASSES = {
    "HostMemory": "IHostMemory",
    "OptimizationProfile": "IOptimizationProfile",
    "TimingCache": "ITimingCache",
    "BuilderConfig": "IBuilderConfig",
    "RuntimeConfig": "IRuntimeConfig",
    "ExecutionContext": "IExecutionContext",
    "CudaEngine": "ICudaEngine",
    **{name: name for name in ("ParserError", "OnnxParser", "Builder", "Runtime")},
}
# called on TensorRT-RTX only, where ``Library.builds_ahead`` says so
RTX_ONLY = {
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "BuilderFlag.REQUIRE_USER_ALLOCATION",
    "ComputeCapability",
    "ComputeCapability.__members__",
    "DynamicShapesKernelSpecializationStrategy",
    "DynamicShapesKernelSpecializationStrategy.EAGER",
    "DynamicShapesKernelSpecializationStrategy.LAZY",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}
SOURCES = [
    *("vireid/engines/tensorrt_library.py", "vireid/engines/tensorrt_lane.py", "vireid/engines/tensorrt.py"),
    *("export/to_tensorrt.py", "export/tensorrt_progress.py", "export/tensorrt_part.py"),
]
PROTOCOLS = [kind for name, kind in vars(tensorrt_api).items() if name in CLASSES]
MEMBERS = sorted(
    f"{CLASSES[kind.__name__]}.{name}"
    for kind in PROTOCOLS
    for name in {*vars(kind), *kind.__annotations__}
    if not name.startswith("_")
)


def expected(path: str) -> list[str] | None:
    """The arguments that our types give a member; None for what is no function."""
    owner, name = path.split(".")
    (kind,) = (kind for kind in PROTOCOLS if CLASSES[kind.__name__] == owner)
    member = vars(kind).get(name)
    if not inspect.isfunction(member):
        return None
    return [one for one in inspect.signature(member).parameters if one != "self"]


def through_the_module(source: str) -> set[str]:
    """Names like ``BuilderFlag.TF32`` that a file reaches through the module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        chain: list[str] = []
        at: ast.expr = node if isinstance(node, ast.Attribute) else ast.Name("")
        while isinstance(at, ast.Attribute):
            chain.insert(0, at.attr)
            at = at.value
        if isinstance(at, ast.Name):
            chain.insert(0, at.id)
        for root in ("trt", "handle"):
            if root in chain:
                found.add(".".join(chain[chain.index(root) + 1 :][:2]))
    return {name for name in found if name and not name.startswith("__version__")}


REACHED = sorted(
    set().union(*(through_the_module((Path(__file__).parents[3] / name).read_text()) for name in SOURCES))
)


def listed(path: str) -> Any:
    owner, _, name = path.partition(".")
    if not name:
        return owner in NAMES["module"]
    return name in NAMES["classes"].get(owner, {})


def test_the_list_is_of_the_version_that_is_asked_for(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    assert re.search(r"tensorrt-cu13-bindings==(\S+)", makefile)[1] == NAMES["version"]  # type: ignore[index]
    assert int(NAMES["version"].split(".")[0]) == 11


def test_the_types_cover_the_classes() -> None:
    assert {kind.__name__ for kind in PROTOCOLS} == set(CLASSES)
    assert len(MEMBERS) > 35


@pytest.mark.parametrize("path", sorted(set(MEMBERS) - RTX_ONLY))
def test_a_member_exists_in_tensorrt(path: str) -> None:
    owner, name = path.split(".")
    assert name in NAMES["classes"][owner]
    arguments = expected(path)
    if arguments is not None:
        calls = NAMES["classes"][owner][name]
        assert any(call[: len(arguments)] == arguments for call in calls), calls


@pytest.mark.parametrize("path", sorted(set(REACHED) - RTX_ONLY))
def test_what_is_reached_through_the_module_exists_in_tensorrt(path: str) -> None:
    assert listed(path), f"tensorrt {NAMES['version']} has no {path}"


def test_the_source_is_read_at_all() -> None:
    assert {"Builder", "Runtime", "OnnxParser", "BuilderFlag.TF32", "ILogger", "IProgressMonitor"} <= set(
        REACHED
    )
    assert through_the_module("trt.NoSuchName.THING(library.handle.Other)") == {
        *("NoSuchName", "NoSuchName.THING", "Other"),
    }
    assert not listed("NoSuchName.THING")


@pytest.mark.parametrize("name", ["ILogger.log", "IProgressMonitor.step_complete"])
def test_what_is_overridden_takes_the_arguments_it_is_given(name: str) -> None:
    owner, method = name.split(".")
    wanted = {"log": ["severity", "msg"], "step_complete": ["phase_name", "step"]}[method]
    assert NAMES["classes"][owner][method] == [wanted]


# ---- the modules that are installed here ------------------------------------------------
@pytest.fixture(scope="module")
def rtx() -> ModuleType:
    return pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")


@pytest.mark.parametrize("path", sorted({*MEMBERS, *REACHED, *RTX_ONLY}))
def test_a_name_exists_in_tensorrt_rtx(rtx: ModuleType, path: str) -> None:
    found: Any = rtx
    for name in path.split("."):
        found = getattr(found, name)


@pytest.mark.gpu
def test_the_tensorrt_that_is_installed_has_the_listed_names() -> None:
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("needs vireid[tensorrt]")
    trt = importlib.import_module("tensorrt")
    for path in sorted({*MEMBERS, *REACHED} - RTX_ONLY):
        found: Any = trt
        for name in path.split("."):
            found = getattr(found, name)
