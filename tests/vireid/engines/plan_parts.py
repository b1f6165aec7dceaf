"""What is told of plans, to be kept and found in a folder: for a GPU there is none of, and of bytes that no library built."""

from typing import Any

from vireid.engines.plans import PlanStore, Purpose, Sidecar

OLD, NEW = b"the old plan" * 100, b"the new plan" * 100


def purpose(**changes: Any) -> Purpose:
    words: dict[str, Any] = {
        "graph": "a" * 64,
        "module": "tensorrt",
        "version": "11.4.0.106",
        "gpu": "NVIDIA Test",
        "sm": "9.0",
        "precision": "fp16",
        "buckets": ((1, 1, 1), (2, 8, 8)),
    }
    return Purpose.model_validate(words | changes)


def sidecar(of: Purpose | None = None, **changes: Any) -> Sidecar:
    words: dict[str, Any] = {
        "purpose": of or purpose(),
        "file": "",
        "plan": "",
        "parsed": "b" * 64,
        "built_s": 12.5,
        "vireid": "0.1",
        "parity": {"passed": True},
    }
    return Sidecar.model_validate(words | changes)


def names(store: PlanStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()}
