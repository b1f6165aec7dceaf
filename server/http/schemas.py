"""The shape of every JSON answer, for the OpenAPI document. Answers are written by ``server.http.words``.

A test holds real answers against these, so neither can change without the other.
"""

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemEntry(_Answer):
    """One field that is wrong."""

    pointer: str
    field: str
    detail: str
    reason: str


class Problem(_Answer):
    """An error (RFC 9457); ``reason`` is stable and the same as over gRPC."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    reason: str
    errors: list[ProblemEntry] = []
    retry_after_s: float | None = None
    metadata: dict[str, str] = {}


class TimingAnswer(_Answer):
    """Milliseconds by stage."""

    queue_ms: float
    decode_ms: float
    infer_ms: float
    search_ms: float
    rerank_ms: float
    total_ms: float
    batch_size: int
    device: str


class Warning(_Answer):  # noqa: A001 - the wire's word
    """Something to know although the call succeeded."""

    code: str
    message: str


class CentringAnswer(_Answer):
    """The means taken off a gallery's vectors: since which version, how much, made of how many vectors."""

    version: int
    since: str | None
    strength: float
    visible: int
    infrared: int


class Gallery(_Answer):
    """A gallery; its items expire ``retention_s`` after their enrolment, 0 for no such time.

    ``lost`` items are missing since it was salvaged.
    """

    name: str
    space_id: str
    dim: int
    items: int
    version: int
    stores_images: bool
    state: str
    detail: str
    centring: CentringAnswer | None
    retention_s: int
    lost: int


class Galleries(_Answer):
    """All galleries."""

    galleries: list[Gallery]


class Snapshot(_Answer):
    """A copy of a gallery; ``damage`` says why its manifest cannot be read, empty if it can."""

    name: str
    version: int
    items: int
    images: int
    bytes: int
    made_at: str | None
    expires_at: str | None
    damage: str


class Snapshots(_Answer):
    """A gallery's snapshots, the oldest first."""

    snapshots: list[Snapshot]


class Facets(_Answer):
    """Items by camera, modality and hour of the day (00 to 23, UTC)."""

    cameras: dict[str, int]
    modalities: dict[str, int]
    hours: dict[str, int]


class Item(_Answer):
    """An item and where its pictures are."""

    item_id: str
    modality: str
    person: str
    camera: str
    captured_at: str | None
    attributes: dict[str, str]
    sha256: str
    has_image: bool
    enrolled_at: str
    expires_at: str | None
    thumbnail: str
    image: str | None


class Items(_Answer):
    """A page of items; ask again with the cursor until it is empty."""

    items: list[Item]
    next_cursor: str


class ItemPut(_Answer):
    """What became of an item: created, replaced or unchanged."""

    outcome: str
    item: Item
    timing: TimingAnswer


class Receipt(_Answer):
    """What was removed, or would be."""

    items: int
    images: int
    vectors: int
    gallery_version: int
    snapshots: int
    still_in: int
    dry_run: bool


class HitAnswer(Item):
    """An item that was found."""

    rank: int
    score: float
    probability: float | None


class Asked(_Answer):
    """What the query was taken for."""

    modality: str
    modality_confidence: float


class Coverage(_Answer):
    """How many items there are, and pass the filter: all of these were compared, if ``exact``.

    ``degraded``: ``items_lost`` items are missing since the damaged gallery was salvaged.
    """

    items_total: int
    items_searched: int
    exact: bool
    degraded: bool
    items_lost: int


class SearchReply(_Answer):
    """Ranked hits; ``centring`` is the gallery's version whose centres scores are relative to, 0 for none."""

    hits: list[HitAnswer]
    query: Asked
    warnings: list[Warning]
    coverage: Coverage
    space_id: str
    gallery_version: int
    centring: int
    timing: TimingAnswer


class EmbeddingReply(_Answer):
    """A unit embedding."""

    embedding: list[float]
    dim: int
    space_id: str
    modality: str
    modality_confidence: float
    warnings: list[Warning]
    timing: TimingAnswer


class JobError(_Answer):
    """Why a whole job did not succeed, and the HTTP status that its call would have had."""

    reason: str
    message: str
    status: int


class JobItemError(_Answer):
    """Why one item of a job was refused."""

    item: str
    reason: str
    message: str


class Job(_Answer):
    """Background work: queued, running, succeeded, partial, failed or cancelled."""

    job_id: str
    kind: str
    state: str
    finished: bool
    done: int
    total: int
    failed: int
    counts: dict[str, int]
    errors: list[JobItemError]
    error: JobError | None
    result: dict[str, object]
    created_at: str
    finished_at: str | None


class Jobs(_Answer):
    """All jobs the server remembers, the newest first."""

    jobs: list[Job]


class Live(_Answer):
    """The event loop answers."""

    live: bool


class Ready(_Answer):
    """Whether the server can work: ``model`` is ok or a reason, ``galleries`` counts them by state.

    ``engine`` is ok, ``building_engine`` while another serves in its place, or ``build_failed``.
    """

    ready: bool
    model: str
    engine: str
    galleries: dict[str, int]


class ModelInfo(_Answer):
    """The bundle in use."""

    name: str
    method: str
    space_id: str
    input: dict[str, int]
    metrics: dict[str, object]
    parity: dict[str, object]
    licence: str
    calibrated: list[dict[str, object]]


class NotTakenAnswer(_Answer):
    """An engine of the bundle that does not serve, and why."""

    name: str
    reason: str


class BuildingAnswer(_Answer):
    """How the build of another engine goes: ``building_engine``, then ``switched``, ``not_taken`` or ``build_failed``."""

    engine: str
    state: str
    stage: str
    done: float
    seconds: float
    reason: str


class EngineAnswer(_Answer):
    """What runs it, as the runtime says; which of the bundle's engines that is, and why it."""

    runtime: str
    provider: str
    device: str
    precision: str
    name: str
    reason: str
    proven: bool
    not_taken: list[NotTakenAnswer]
    building: BuildingAnswer | None


class LimitsAnswer(_Answer):
    """What is taken at most."""

    image_bytes: int
    image_pixels: int
    image_side: int
    upload_bytes: int
    top_k: int


class Info(_Answer):
    """Version, model, engine and limits."""

    version: str
    model: ModelInfo
    engine: EngineAnswer
    limits: LimitsAnswer
