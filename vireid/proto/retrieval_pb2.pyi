import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Modality(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODALITY_UNSPECIFIED: _ClassVar[Modality]
    MODALITY_VISIBLE: _ClassVar[Modality]
    MODALITY_INFRARED: _ClassVar[Modality]
MODALITY_UNSPECIFIED: Modality
MODALITY_VISIBLE: Modality
MODALITY_INFRARED: Modality

class ImageInput(_message.Message):
    __slots__ = ("data", "item_id", "embedding", "modality")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    item_id: str
    embedding: Embedding
    modality: Modality
    def __init__(self, data: _Optional[bytes] = ..., item_id: _Optional[str] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., modality: _Optional[_Union[Modality, str]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("space_id", "f32_le")
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    F32_LE_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    f32_le: bytes
    def __init__(self, space_id: _Optional[str] = ..., f32_le: _Optional[bytes] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("inputs",)
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[ImageInput]
    def __init__(self, inputs: _Optional[_Iterable[_Union[ImageInput, _Mapping]]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("results", "timing")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    timing: ServerTiming
    def __init__(self, results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ..., timing: _Optional[_Union[ServerTiming, _Mapping]] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("embedding", "error", "modality", "modality_confidence", "warnings")
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    MODALITY_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    embedding: Embedding
    error: ItemError
    modality: Modality
    modality_confidence: float
    warnings: _containers.RepeatedCompositeFieldContainer[ServiceWarning]
    def __init__(self, embedding: _Optional[_Union[Embedding, _Mapping]] = ..., error: _Optional[_Union[ItemError, _Mapping]] = ..., modality: _Optional[_Union[Modality, str]] = ..., modality_confidence: _Optional[float] = ..., warnings: _Optional[_Iterable[_Union[ServiceWarning, _Mapping]]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("camera_ids", "exclude_camera_ids", "captured_from", "captured_to", "modalities", "person_ids", "exclude_item_ids", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CAMERA_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_CAMERA_IDS_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_FROM_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_TO_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    PERSON_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    camera_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_camera_ids: _containers.RepeatedScalarFieldContainer[str]
    captured_from: _timestamp_pb2.Timestamp
    captured_to: _timestamp_pb2.Timestamp
    modalities: _containers.RepeatedScalarFieldContainer[Modality]
    person_ids: _containers.RepeatedScalarFieldContainer[str]
    exclude_item_ids: _containers.RepeatedScalarFieldContainer[str]
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, camera_ids: _Optional[_Iterable[str]] = ..., exclude_camera_ids: _Optional[_Iterable[str]] = ..., captured_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., captured_to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., modalities: _Optional[_Iterable[_Union[Modality, str]]] = ..., person_ids: _Optional[_Iterable[str]] = ..., exclude_item_ids: _Optional[_Iterable[str]] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("gallery", "query", "top_k", "min_score", "filter", "min_probability", "rerank", "one_per_person", "exclude_own_camera", "more_like", "less_like", "together", "other_modality_first")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    ONE_PER_PERSON_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_OWN_CAMERA_FIELD_NUMBER: _ClassVar[int]
    MORE_LIKE_FIELD_NUMBER: _ClassVar[int]
    LESS_LIKE_FIELD_NUMBER: _ClassVar[int]
    TOGETHER_FIELD_NUMBER: _ClassVar[int]
    OTHER_MODALITY_FIRST_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    query: ImageInput
    top_k: int
    min_score: float
    filter: Filter
    min_probability: float
    rerank: Rerank
    one_per_person: bool
    exclude_own_camera: bool
    more_like: _containers.RepeatedScalarFieldContainer[str]
    less_like: _containers.RepeatedScalarFieldContainer[str]
    together: Together
    other_modality_first: bool
    def __init__(self, gallery: _Optional[str] = ..., query: _Optional[_Union[ImageInput, _Mapping]] = ..., top_k: _Optional[int] = ..., min_score: _Optional[float] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., min_probability: _Optional[float] = ..., rerank: _Optional[_Union[Rerank, _Mapping]] = ..., one_per_person: _Optional[bool] = ..., exclude_own_camera: _Optional[bool] = ..., more_like: _Optional[_Iterable[str]] = ..., less_like: _Optional[_Iterable[str]] = ..., together: _Optional[_Union[Together, _Mapping]] = ..., other_modality_first: _Optional[bool] = ...) -> None: ...

class Together(_message.Message):
    __slots__ = ("queries", "weights", "by")
    class By(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        BY_UNSPECIFIED: _ClassVar[Together.By]
        BY_MEAN: _ClassVar[Together.By]
        BY_BEST: _ClassVar[Together.By]
    BY_UNSPECIFIED: Together.By
    BY_MEAN: Together.By
    BY_BEST: Together.By
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[ImageInput]
    weights: _containers.RepeatedScalarFieldContainer[float]
    by: Together.By
    def __init__(self, queries: _Optional[_Iterable[_Union[ImageInput, _Mapping]]] = ..., weights: _Optional[_Iterable[float]] = ..., by: _Optional[_Union[Together.By, str]] = ...) -> None: ...

class Rerank(_message.Message):
    __slots__ = ("candidates", "k1", "k2", "weight")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    K1_FIELD_NUMBER: _ClassVar[int]
    K2_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    candidates: int
    k1: int
    k2: int
    weight: float
    def __init__(self, candidates: _Optional[int] = ..., k1: _Optional[int] = ..., k2: _Optional[int] = ..., weight: _Optional[float] = ...) -> None: ...

class Hit(_message.Message):
    __slots__ = ("rank", "item", "score", "probability")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    rank: int
    item: Item
    score: float
    probability: float
    def __init__(self, rank: _Optional[int] = ..., item: _Optional[_Union[Item, _Mapping]] = ..., score: _Optional[float] = ..., probability: _Optional[float] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "query_modality", "modality_confidence", "warnings", "coverage", "timing", "space_id", "gallery_version", "centring")
    HITS_FIELD_NUMBER: _ClassVar[int]
    QUERY_MODALITY_FIELD_NUMBER: _ClassVar[int]
    MODALITY_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    GALLERY_VERSION_FIELD_NUMBER: _ClassVar[int]
    CENTRING_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[Hit]
    query_modality: Modality
    modality_confidence: float
    warnings: _containers.RepeatedCompositeFieldContainer[ServiceWarning]
    coverage: Coverage
    timing: ServerTiming
    space_id: str
    gallery_version: int
    centring: int
    def __init__(self, hits: _Optional[_Iterable[_Union[Hit, _Mapping]]] = ..., query_modality: _Optional[_Union[Modality, str]] = ..., modality_confidence: _Optional[float] = ..., warnings: _Optional[_Iterable[_Union[ServiceWarning, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., timing: _Optional[_Union[ServerTiming, _Mapping]] = ..., space_id: _Optional[str] = ..., gallery_version: _Optional[int] = ..., centring: _Optional[int] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("items_total", "items_searched", "exact", "degraded", "items_lost")
    ITEMS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ITEMS_SEARCHED_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    ITEMS_LOST_FIELD_NUMBER: _ClassVar[int]
    items_total: int
    items_searched: int
    exact: bool
    degraded: bool
    items_lost: int
    def __init__(self, items_total: _Optional[int] = ..., items_searched: _Optional[int] = ..., exact: _Optional[bool] = ..., degraded: _Optional[bool] = ..., items_lost: _Optional[int] = ...) -> None: ...

class ServiceWarning(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ServerTiming(_message.Message):
    __slots__ = ("queue", "decode", "infer", "search", "total", "batch_size", "device", "rerank")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    DECODE_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    queue: _duration_pb2.Duration
    decode: _duration_pb2.Duration
    infer: _duration_pb2.Duration
    search: _duration_pb2.Duration
    total: _duration_pb2.Duration
    batch_size: int
    device: str
    rerank: _duration_pb2.Duration
    def __init__(self, queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., decode: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., infer: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., search: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., batch_size: _Optional[int] = ..., device: _Optional[str] = ..., rerank: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ItemError(_message.Message):
    __slots__ = ("code", "reason", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Gallery(_message.Message):
    __slots__ = ("name", "space_id", "dim", "items", "version", "stores_images", "state", "state_detail", "centring", "retention_s", "lost")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Gallery.State]
        STATE_READY: _ClassVar[Gallery.State]
        STATE_FAILED: _ClassVar[Gallery.State]
    STATE_UNSPECIFIED: Gallery.State
    STATE_READY: Gallery.State
    STATE_FAILED: Gallery.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STORES_IMAGES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_DETAIL_FIELD_NUMBER: _ClassVar[int]
    CENTRING_FIELD_NUMBER: _ClassVar[int]
    RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    name: str
    space_id: str
    dim: int
    items: int
    version: int
    stores_images: bool
    state: Gallery.State
    state_detail: str
    centring: Centring
    retention_s: int
    lost: int
    def __init__(self, name: _Optional[str] = ..., space_id: _Optional[str] = ..., dim: _Optional[int] = ..., items: _Optional[int] = ..., version: _Optional[int] = ..., stores_images: _Optional[bool] = ..., state: _Optional[_Union[Gallery.State, str]] = ..., state_detail: _Optional[str] = ..., centring: _Optional[_Union[Centring, _Mapping]] = ..., retention_s: _Optional[int] = ..., lost: _Optional[int] = ...) -> None: ...

class Centring(_message.Message):
    __slots__ = ("version", "since", "strength", "visible", "infrared")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    VISIBLE_FIELD_NUMBER: _ClassVar[int]
    INFRARED_FIELD_NUMBER: _ClassVar[int]
    version: int
    since: _timestamp_pb2.Timestamp
    strength: float
    visible: int
    infrared: int
    def __init__(self, version: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., strength: _Optional[float] = ..., visible: _Optional[int] = ..., infrared: _Optional[int] = ...) -> None: ...

class CentreGalleryRequest(_message.Message):
    __slots__ = ("gallery", "strength", "half")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    HALF_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    strength: float
    half: bool
    def __init__(self, gallery: _Optional[str] = ..., strength: _Optional[float] = ..., half: _Optional[bool] = ...) -> None: ...

class UncentreGalleryRequest(_message.Message):
    __slots__ = ("gallery",)
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    def __init__(self, gallery: _Optional[str] = ...) -> None: ...

class CentringProgress(_message.Message):
    __slots__ = ("job_id", "centred", "trial")
    class Centred(_message.Message):
        __slots__ = ("centring",)
        CENTRING_FIELD_NUMBER: _ClassVar[int]
        centring: Centring
        def __init__(self, centring: _Optional[_Union[Centring, _Mapping]] = ...) -> None: ...
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CENTRED_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    centred: CentringProgress.Centred
    trial: CentringTrial
    def __init__(self, job_id: _Optional[str] = ..., centred: _Optional[_Union[CentringProgress.Centred, _Mapping]] = ..., trial: _Optional[_Union[CentringTrial, _Mapping]] = ...) -> None: ...

class CentringTrial(_message.Message):
    __slots__ = ("before", "after", "across", "gap_before", "gap_after")
    class Across(_message.Message):
        __slots__ = ("asks", "queries", "mean_ap_before", "mean_ap_after", "rank1_before", "rank1_after")
        ASKS_FIELD_NUMBER: _ClassVar[int]
        QUERIES_FIELD_NUMBER: _ClassVar[int]
        MEAN_AP_BEFORE_FIELD_NUMBER: _ClassVar[int]
        MEAN_AP_AFTER_FIELD_NUMBER: _ClassVar[int]
        RANK1_BEFORE_FIELD_NUMBER: _ClassVar[int]
        RANK1_AFTER_FIELD_NUMBER: _ClassVar[int]
        asks: Modality
        queries: int
        mean_ap_before: float
        mean_ap_after: float
        rank1_before: float
        rank1_after: float
        def __init__(self, asks: _Optional[_Union[Modality, str]] = ..., queries: _Optional[int] = ..., mean_ap_before: _Optional[float] = ..., mean_ap_after: _Optional[float] = ..., rank1_before: _Optional[float] = ..., rank1_after: _Optional[float] = ...) -> None: ...
    class Gap(_message.Message):
        __slots__ = ("within_visible", "within_infrared", "across", "mixed", "chance")
        WITHIN_VISIBLE_FIELD_NUMBER: _ClassVar[int]
        WITHIN_INFRARED_FIELD_NUMBER: _ClassVar[int]
        ACROSS_FIELD_NUMBER: _ClassVar[int]
        MIXED_FIELD_NUMBER: _ClassVar[int]
        CHANCE_FIELD_NUMBER: _ClassVar[int]
        within_visible: float
        within_infrared: float
        across: float
        mixed: float
        chance: float
        def __init__(self, within_visible: _Optional[float] = ..., within_infrared: _Optional[float] = ..., across: _Optional[float] = ..., mixed: _Optional[float] = ..., chance: _Optional[float] = ...) -> None: ...
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    ACROSS_FIELD_NUMBER: _ClassVar[int]
    GAP_BEFORE_FIELD_NUMBER: _ClassVar[int]
    GAP_AFTER_FIELD_NUMBER: _ClassVar[int]
    before: Centring
    after: Centring
    across: _containers.RepeatedCompositeFieldContainer[CentringTrial.Across]
    gap_before: CentringTrial.Gap
    gap_after: CentringTrial.Gap
    def __init__(self, before: _Optional[_Union[Centring, _Mapping]] = ..., after: _Optional[_Union[Centring, _Mapping]] = ..., across: _Optional[_Iterable[_Union[CentringTrial.Across, _Mapping]]] = ..., gap_before: _Optional[_Union[CentringTrial.Gap, _Mapping]] = ..., gap_after: _Optional[_Union[CentringTrial.Gap, _Mapping]] = ...) -> None: ...

class CreateGalleryRequest(_message.Message):
    __slots__ = ("name", "store_images", "retention_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STORE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    store_images: bool
    retention_s: int
    def __init__(self, name: _Optional[str] = ..., store_images: _Optional[bool] = ..., retention_s: _Optional[int] = ...) -> None: ...

class UpdateGalleryRequest(_message.Message):
    __slots__ = ("name", "retention_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    retention_s: int
    def __init__(self, name: _Optional[str] = ..., retention_s: _Optional[int] = ...) -> None: ...

class GetGalleryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGalleriesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGalleriesResponse(_message.Message):
    __slots__ = ("galleries",)
    GALLERIES_FIELD_NUMBER: _ClassVar[int]
    galleries: _containers.RepeatedCompositeFieldContainer[Gallery]
    def __init__(self, galleries: _Optional[_Iterable[_Union[Gallery, _Mapping]]] = ...) -> None: ...

class DeleteGalleryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("item_id", "modality", "camera_id", "captured_at", "person_id", "attributes", "sha256", "has_image", "enrolled_at", "expires_at")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    CAMERA_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    HAS_IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    item_id: str
    modality: Modality
    camera_id: str
    captured_at: _timestamp_pb2.Timestamp
    person_id: str
    attributes: _containers.ScalarMap[str, str]
    sha256: bytes
    has_image: bool
    enrolled_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, item_id: _Optional[str] = ..., modality: _Optional[_Union[Modality, str]] = ..., camera_id: _Optional[str] = ..., captured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., person_id: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., sha256: _Optional[bytes] = ..., has_image: _Optional[bool] = ..., enrolled_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PutItemRequest(_message.Message):
    __slots__ = ("gallery", "item", "image")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    item: Item
    image: ImageInput
    def __init__(self, gallery: _Optional[str] = ..., item: _Optional[_Union[Item, _Mapping]] = ..., image: _Optional[_Union[ImageInput, _Mapping]] = ...) -> None: ...

class PutItemResponse(_message.Message):
    __slots__ = ("item", "outcome", "timing")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[PutItemResponse.Outcome]
        OUTCOME_CREATED: _ClassVar[PutItemResponse.Outcome]
        OUTCOME_REPLACED: _ClassVar[PutItemResponse.Outcome]
        OUTCOME_UNCHANGED: _ClassVar[PutItemResponse.Outcome]
    OUTCOME_UNSPECIFIED: PutItemResponse.Outcome
    OUTCOME_CREATED: PutItemResponse.Outcome
    OUTCOME_REPLACED: PutItemResponse.Outcome
    OUTCOME_UNCHANGED: PutItemResponse.Outcome
    ITEM_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    item: Item
    outcome: PutItemResponse.Outcome
    timing: ServerTiming
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ..., outcome: _Optional[_Union[PutItemResponse.Outcome, str]] = ..., timing: _Optional[_Union[ServerTiming, _Mapping]] = ...) -> None: ...

class GetItemRequest(_message.Message):
    __slots__ = ("gallery", "item_id")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    item_id: str
    def __init__(self, gallery: _Optional[str] = ..., item_id: _Optional[str] = ...) -> None: ...

class ListItemsRequest(_message.Message):
    __slots__ = ("gallery", "filter", "page_size", "page_token")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    filter: Filter
    page_size: int
    page_token: str
    def __init__(self, gallery: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListItemsResponse(_message.Message):
    __slots__ = ("items", "next_page_token")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Item]
    next_page_token: str
    def __init__(self, items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteItemsRequest(_message.Message):
    __slots__ = ("gallery", "item_ids", "filter", "dry_run")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    ITEM_IDS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    item_ids: _containers.RepeatedScalarFieldContainer[str]
    filter: Filter
    dry_run: bool
    def __init__(self, gallery: _Optional[str] = ..., item_ids: _Optional[_Iterable[str]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class GetFacetsRequest(_message.Message):
    __slots__ = ("gallery", "filter")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    filter: Filter
    def __init__(self, gallery: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class Facets(_message.Message):
    __slots__ = ("cameras", "modalities", "hours")
    class CamerasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class ModalitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class HoursEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    CAMERAS_FIELD_NUMBER: _ClassVar[int]
    MODALITIES_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    cameras: _containers.ScalarMap[str, int]
    modalities: _containers.ScalarMap[str, int]
    hours: _containers.ScalarMap[str, int]
    def __init__(self, cameras: _Optional[_Mapping[str, int]] = ..., modalities: _Optional[_Mapping[str, int]] = ..., hours: _Optional[_Mapping[str, int]] = ...) -> None: ...

class DeletionReceipt(_message.Message):
    __slots__ = ("items", "images", "vectors", "gallery_version", "at", "dry_run", "snapshots", "still_in")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    GALLERY_VERSION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    STILL_IN_FIELD_NUMBER: _ClassVar[int]
    items: int
    images: int
    vectors: int
    gallery_version: int
    at: _timestamp_pb2.Timestamp
    dry_run: bool
    snapshots: int
    still_in: int
    def __init__(self, items: _Optional[int] = ..., images: _Optional[int] = ..., vectors: _Optional[int] = ..., gallery_version: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dry_run: _Optional[bool] = ..., snapshots: _Optional[int] = ..., still_in: _Optional[int] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("name", "version", "items", "images", "bytes", "made_at", "expires_at", "damage")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    items: int
    images: int
    bytes: int
    made_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    damage: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., items: _Optional[int] = ..., images: _Optional[int] = ..., bytes: _Optional[int] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., damage: _Optional[str] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("gallery", "keep_days")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAYS_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    keep_days: int
    def __init__(self, gallery: _Optional[str] = ..., keep_days: _Optional[int] = ...) -> None: ...

class SnapshotProgress(_message.Message):
    __slots__ = ("job_id", "snapshot")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    snapshot: Snapshot
    def __init__(self, job_id: _Optional[str] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("gallery",)
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    def __init__(self, gallery: _Optional[str] = ...) -> None: ...

class ListSnapshotsResponse(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("gallery", "name")
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    name: str
    def __init__(self, gallery: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("gallery", "query_gallery", "query_modality", "gallery_modality", "rule", "cmc", "rerank", "html")
    class Rule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RULE_UNSPECIFIED: _ClassVar[EvaluateRequest.Rule]
        RULE_NONE: _ClassVar[EvaluateRequest.Rule]
        RULE_MARKET: _ClassVar[EvaluateRequest.Rule]
        RULE_SYSU: _ClassVar[EvaluateRequest.Rule]
    RULE_UNSPECIFIED: EvaluateRequest.Rule
    RULE_NONE: EvaluateRequest.Rule
    RULE_MARKET: EvaluateRequest.Rule
    RULE_SYSU: EvaluateRequest.Rule
    class CmcLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CMC_LEVEL_UNSPECIFIED: _ClassVar[EvaluateRequest.CmcLevel]
        CMC_LEVEL_IDENTITY: _ClassVar[EvaluateRequest.CmcLevel]
        CMC_LEVEL_IMAGE: _ClassVar[EvaluateRequest.CmcLevel]
    CMC_LEVEL_UNSPECIFIED: EvaluateRequest.CmcLevel
    CMC_LEVEL_IDENTITY: EvaluateRequest.CmcLevel
    CMC_LEVEL_IMAGE: EvaluateRequest.CmcLevel
    GALLERY_FIELD_NUMBER: _ClassVar[int]
    QUERY_GALLERY_FIELD_NUMBER: _ClassVar[int]
    QUERY_MODALITY_FIELD_NUMBER: _ClassVar[int]
    GALLERY_MODALITY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    CMC_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    HTML_FIELD_NUMBER: _ClassVar[int]
    gallery: str
    query_gallery: str
    query_modality: Modality
    gallery_modality: Modality
    rule: EvaluateRequest.Rule
    cmc: EvaluateRequest.CmcLevel
    rerank: Rerank
    html: bool
    def __init__(self, gallery: _Optional[str] = ..., query_gallery: _Optional[str] = ..., query_modality: _Optional[_Union[Modality, str]] = ..., gallery_modality: _Optional[_Union[Modality, str]] = ..., rule: _Optional[_Union[EvaluateRequest.Rule, str]] = ..., cmc: _Optional[_Union[EvaluateRequest.CmcLevel, str]] = ..., rerank: _Optional[_Union[Rerank, _Mapping]] = ..., html: _Optional[bool] = ...) -> None: ...

class EvaluateProgress(_message.Message):
    __slots__ = ("job_id", "done", "total", "report")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    done: int
    total: int
    report: EvaluationReport
    def __init__(self, job_id: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., report: _Optional[_Union[EvaluationReport, _Mapping]] = ...) -> None: ...

class EvaluationReport(_message.Message):
    __slots__ = ("json", "csv", "html")
    JSON_FIELD_NUMBER: _ClassVar[int]
    CSV_FIELD_NUMBER: _ClassVar[int]
    HTML_FIELD_NUMBER: _ClassVar[int]
    json: str
    csv: str
    html: str
    def __init__(self, json: _Optional[str] = ..., csv: _Optional[str] = ..., html: _Optional[str] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Info(_message.Message):
    __slots__ = ("version", "model", "engine", "limits")
    class Model(_message.Message):
        __slots__ = ("name", "method", "space_id", "input", "metrics", "parity", "licence", "calibrated")
        NAME_FIELD_NUMBER: _ClassVar[int]
        METHOD_FIELD_NUMBER: _ClassVar[int]
        SPACE_ID_FIELD_NUMBER: _ClassVar[int]
        INPUT_FIELD_NUMBER: _ClassVar[int]
        METRICS_FIELD_NUMBER: _ClassVar[int]
        PARITY_FIELD_NUMBER: _ClassVar[int]
        LICENCE_FIELD_NUMBER: _ClassVar[int]
        CALIBRATED_FIELD_NUMBER: _ClassVar[int]
        name: str
        method: str
        space_id: str
        input: Info.InputSize
        metrics: _struct_pb2.Struct
        parity: _struct_pb2.Struct
        licence: str
        calibrated: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
        def __init__(self, name: _Optional[str] = ..., method: _Optional[str] = ..., space_id: _Optional[str] = ..., input: _Optional[_Union[Info.InputSize, _Mapping]] = ..., metrics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., parity: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., licence: _Optional[str] = ..., calibrated: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ...) -> None: ...
    class InputSize(_message.Message):
        __slots__ = ("height", "width")
        HEIGHT_FIELD_NUMBER: _ClassVar[int]
        WIDTH_FIELD_NUMBER: _ClassVar[int]
        height: int
        width: int
        def __init__(self, height: _Optional[int] = ..., width: _Optional[int] = ...) -> None: ...
    class Engine(_message.Message):
        __slots__ = ("runtime", "provider", "device", "precision", "name", "reason", "proven", "not_taken", "building")
        RUNTIME_FIELD_NUMBER: _ClassVar[int]
        PROVIDER_FIELD_NUMBER: _ClassVar[int]
        DEVICE_FIELD_NUMBER: _ClassVar[int]
        PRECISION_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        PROVEN_FIELD_NUMBER: _ClassVar[int]
        NOT_TAKEN_FIELD_NUMBER: _ClassVar[int]
        BUILDING_FIELD_NUMBER: _ClassVar[int]
        runtime: str
        provider: str
        device: str
        precision: str
        name: str
        reason: str
        proven: bool
        not_taken: _containers.RepeatedCompositeFieldContainer[Info.NotTaken]
        building: Info.Building
        def __init__(self, runtime: _Optional[str] = ..., provider: _Optional[str] = ..., device: _Optional[str] = ..., precision: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ..., proven: _Optional[bool] = ..., not_taken: _Optional[_Iterable[_Union[Info.NotTaken, _Mapping]]] = ..., building: _Optional[_Union[Info.Building, _Mapping]] = ...) -> None: ...
    class NotTaken(_message.Message):
        __slots__ = ("name", "reason")
        NAME_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        name: str
        reason: str
        def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
    class Building(_message.Message):
        __slots__ = ("engine", "state", "stage", "done", "seconds", "reason")
        ENGINE_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        STAGE_FIELD_NUMBER: _ClassVar[int]
        DONE_FIELD_NUMBER: _ClassVar[int]
        SECONDS_FIELD_NUMBER: _ClassVar[int]
        REASON_FIELD_NUMBER: _ClassVar[int]
        engine: str
        state: str
        stage: str
        done: float
        seconds: float
        reason: str
        def __init__(self, engine: _Optional[str] = ..., state: _Optional[str] = ..., stage: _Optional[str] = ..., done: _Optional[float] = ..., seconds: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...
    class Limits(_message.Message):
        __slots__ = ("image_bytes", "image_pixels", "image_side", "upload_bytes", "top_k")
        IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
        IMAGE_PIXELS_FIELD_NUMBER: _ClassVar[int]
        IMAGE_SIDE_FIELD_NUMBER: _ClassVar[int]
        UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
        TOP_K_FIELD_NUMBER: _ClassVar[int]
        image_bytes: int
        image_pixels: int
        image_side: int
        upload_bytes: int
        top_k: int
        def __init__(self, image_bytes: _Optional[int] = ..., image_pixels: _Optional[int] = ..., image_side: _Optional[int] = ..., upload_bytes: _Optional[int] = ..., top_k: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    version: str
    model: Info.Model
    engine: Info.Engine
    limits: Info.Limits
    def __init__(self, version: _Optional[str] = ..., model: _Optional[_Union[Info.Model, _Mapping]] = ..., engine: _Optional[_Union[Info.Engine, _Mapping]] = ..., limits: _Optional[_Union[Info.Limits, _Mapping]] = ...) -> None: ...
