"""The server's settings; TOML, ``VIREID_...`` variables and flags through ``vireid.settings``.

Keys and their hashes are never repeated: not by an error, not where settings are printed.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

PREFIX = "VIREID_"
MIB = 1024 * 1024


class ServerSettings(BaseModel):
    """What a server is started with.

    Attributes:
        bundle: ``default``, ``fake``, or the path of a bundle.
        data: folder of the galleries.
        host: address to listen on; anything but loopback needs a key.
        http_port: 0 takes any free one.
        grpc_port: 0 takes any free one.
        device: ``auto``, ``cpu`` or ``cuda``; ``cuda`` never falls back silently.
        engine: ``auto`` for the fastest of the bundle that is proven, or a name such as ``onnxruntime-int8``.
        allow_unproven: let an engine serve that has no passing parity report.
        engine_cache: folder of the TensorRT plans, ``~/.cache/vireid/engines`` if not set; what lies there is executed.
        tensorrt: ``tensorrt``, ``tensorrt_rtx``, or ``auto`` for the first that is installed.
        backend: how galleries are searched; ``ivf`` and ``hnsw`` may miss somebody, the others never.
        workers: embedding threads, 0 for one a core.
        max_batch: images one worker embeds at once, 0 for what suits the device.
        queue_limit: requests that may wait or run; more are refused at once.
        timeout_s: the longest a caller waits.
        max_upload_bytes: of one archive.
        max_jobs: that may run or wait at a time.
        drain_s: how long requests may take to finish after SIGTERM.
        api_keys: keys that are accepted, comma-separated in the environment.
        api_key_hashes: hex SHA-256 of keys that are accepted.
        insecure_no_auth: listen beyond loopback without a key.
        log_level: of the standard logging levels.
        log_json: one JSON object a line instead of text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str = "default"
    data: Path = Path("vireid-data")
    host: str = "127.0.0.1"
    http_port: int = Field(8080, ge=0, le=65535)
    grpc_port: int = Field(50051, ge=0, le=65535)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: str = Field("auto", pattern=r"^[a-z0-9-]{1,40}$")
    allow_unproven: bool = False
    engine_cache: Path | None = None
    tensorrt: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto"
    backend: Literal[
        "scan",
        "scan-file",
        "faiss",
        "exact",
        "ivf",
        "hnsw",
        "faiss-gpu",
        "faiss-gpu-ivfpq",
        "faiss-gpu-cagra",
    ] = "scan"
    workers: int = Field(0, ge=0, le=256)
    max_batch: int = Field(0, ge=0, le=1024)
    queue_limit: int = Field(256, ge=1)
    timeout_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    max_upload_bytes: int = Field(2048 * MIB, ge=MIB)
    max_jobs: int = Field(16, ge=1)
    drain_s: float = Field(10.0, ge=0, allow_inf_nan=False)
    api_keys: tuple[SecretStr, ...] = ()
    api_key_hashes: tuple[str, ...] = Field((), repr=False)
    insecure_no_auth: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    @model_validator(mode="after")
    def _own_ports(self) -> Self:
        if self.http_port == self.grpc_port != 0:
            raise ValueError(f"http_port and grpc_port are both {self.http_port}; give each its own")
        return self

    @field_validator("api_keys", "api_key_hashes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
