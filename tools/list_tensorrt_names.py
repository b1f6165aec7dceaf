"""List the names of TensorRT's Python bindings, with their signatures, for the contract test. Needs the bindings only.

The bindings come as a package of their own, but cannot be loaded without NVIDIA's libraries, which not every machine can fetch.
Their nine entry points are therefore stood in for by empty ones, compiled here: enough to import the module and look at it.

    make tensorrt-names
"""

import ctypes
import importlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIBRARIES = ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser")
MAJOR = 11
# what the bindings look up when they are loaded
ENTRIES = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
)
CLASSES = (
    *("Builder", "ExecutionContextAllocationStrategy", "IBuilderConfig", "ICudaEngine", "IExecutionContext"),
    *("IHostMemory", "ILogger", "INetworkDefinition", "IOptimizationProfile", "IProgressMonitor"),
    *("IRuntimeConfig", "ITimingCache", "OnnxParser", "ParserError", "Runtime", "BuilderFlag", "DataType"),
)
SIGNATURE = re.compile(r"^(?:\d+\. )?\w+\((.*)\) -> (.+)$", re.MULTILINE)


def stand_ins(folder: Path) -> Iterator[Path]:
    """Compile libraries that hold the entry points and nothing else."""
    source = folder / "entries.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in ENTRIES))
    for library in LIBRARIES:
        name = f"{library}.so.{MAJOR}"
        subprocess.run(  # noqa: S603 - our own words
            ["cc", "-shared", "-fPIC", str(source), "-o", str(folder / name), f"-Wl,-soname,{name}"],  # noqa: S607
            check=True,
        )
        yield folder / name


def arguments(signature: str) -> list[str]:
    """Name the arguments of a signature, without ``self``."""
    depth, words, start = 0, [], 0
    for place, letter in enumerate(signature + ","):
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            words.append(signature[start:place])
            start = place + 1
    names = [word.split(":")[0].split("=")[0].strip() for word in words]
    return [name for name in names if name and name != "self"]


def members(kind: Any) -> dict[str, list[list[str]]]:
    """Name what a class has: of each function the arguments it takes, once for each overload."""
    found: dict[str, list[list[str]]] = {}
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") and name != "__init__":
            continue
        calls = SIGNATURE.findall(member.__doc__ or "") if callable(member) else []
        found[name] = [arguments(one) for one, _ in calls]
    return found


def main(out: Path) -> None:
    """Load the bindings over stand-ins and write what they have."""
    with tempfile.TemporaryDirectory() as folder:
        for library in stand_ins(Path(folder)):
            # one that is loaded already is taken for any other of that name
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        trt = importlib.import_module("tensorrt_bindings")
    words = {
        "version": trt.__version__,
        "classes": {name: members(getattr(trt, name)) for name in sorted(CLASSES)},
        "module": sorted(name for name in dir(trt) if not name.startswith("_")),
    }
    out.write_text(json.dumps(words, indent=1, sort_keys=True) + "\n")
    print(f"{out}: tensorrt {trt.__version__}, {len(words['classes'])} classes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
