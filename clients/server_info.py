"""What a server says of itself, free of any wire: frozen values whose names are those of ``GET /v1/info``.

Knows no connection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = TypeVar("Value", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class InputSize:
    """The size of the images that the model takes, in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Model:
    """The bundle in use.

    Attributes:
        name: of the model.
        method: it was trained by.
        space_id: the embedding space.
        input: the size of its images.
        metrics: measured when it was trained, each with its protocol.
        parity: the report of the model against the network it was exported from.
        licence: of the weights.
        calibrated: the pairs of modalities whose scores are calibrated, and how reliable that is.
    """

    name: str
    method: str
    space_id: str
    input: InputSize
    metrics: Mapping[str, Any]
    parity: Mapping[str, Any]
    licence: str
    calibrated: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class NotTaken:
    """An engine of the bundle that does not serve, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Building:
    """How the build of another engine goes.

    Attributes:
        engine: its name.
        state: ``building_engine``, then ``switched``, ``not_taken`` or ``build_failed``.
        stage: of the build, ``building`` or ``proving``.
        done: part of the stage that is done, 0 to 1.
        seconds: since the build began, or that it took.
        reason: why it is built, or what came of it.
    """

    engine: str
    state: str
    stage: str
    done: float
    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs the model, as the runtime says.

    Attributes:
        runtime: for example ``onnxruntime 1.31.1``.
        provider: for example ``CPUExecutionProvider``.
        device: ``cpu`` or ``cuda:0``.
        precision: for example ``fp32``.
        name: which of the bundle's engines it is.
        reason: why it.
        proven: whether it passed parity.
        not_taken: the bundle's other engines.
        building: the build of another engine, which may take over; None where none is built, or was.
    """

    runtime: str
    provider: str
    device: str
    precision: str
    name: str
    reason: str
    proven: bool
    not_taken: tuple[NotTaken, ...]
    building: Building | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes at most."""

    image_bytes: int
    image_pixels: int
    image_side: int
    upload_bytes: int
    top_k: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What runs there.

    Attributes:
        version: of the server.
        model: the bundle in use.
        engine: what runs it.
        limits: what is taken at most.
    """

    version: str
    model: Model
    engine: Engine
    limits: Limits


def info_of(document: Mapping[str, Any]) -> ServerInfo:
    """Read what a server says of itself; what a newer one says beside is passed over.

    Args:
        document: with the names of ``GET /v1/info``.
    """
    model, engine = document["model"], document["engine"]
    building = engine.get("building")
    return ServerInfo(
        version=document["version"],
        model=_read(
            Model,
            {**model, "input": _read(InputSize, model["input"]), "calibrated": tuple(model["calibrated"])},
        ),
        engine=_read(
            Engine,
            {
                **engine,
                "not_taken": tuple(_read(NotTaken, other) for other in engine["not_taken"]),
                "building": None if building is None else _read(Building, building),
            },
        ),
        limits=_read(Limits, document["limits"]),
    )


def _read(kind: type[Value], document: Mapping[str, Any]) -> Value:
    return kind(**{field.name: document[field.name] for field in fields(kind)})
