"""The words every room shares: modality, sample, item, filter, hit.

Frozen values without behaviour. Knows no arrays (clients carry no NumPy), no files, no wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType

NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class Modality(IntEnum):
    """What the camera saw with; the value is the model's ``modality`` input."""

    VISIBLE = 0
    INFRARED = 1

    @property
    def word(self) -> str:
        """The lower-case word used on the wire and in files: ``visible`` or ``infrared``."""
        return self.name.lower()

    @staticmethod
    def of(word: str) -> "Modality":
        """Read a modality from its word.

        Raises:
            ValueError: the word is neither ``visible`` nor ``infrared``.
        """
        try:
            return Modality[word.strip().upper()]
        except KeyError:
            raise ValueError(f"modality is 'visible' or 'infrared', not {word!r}") from None


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image of a dataset.

    Attributes:
        path: the image file.
        person: identity number, -1 where unknown.
        camera: camera number in the dataset's own numbering.
        modality: visible or infrared (RegDB's thermal counts as infrared).
    """

    path: Path
    person: int
    camera: int
    modality: Modality


@dataclass(frozen=True, slots=True)
class ItemMeta:
    """What is known of a gallery item beside its image.

    Attributes:
        person: person id as the operator names it, empty if unknown.
        camera: camera id as the operator names it, empty if unknown.
        captured_at: time of capture, timezone-aware UTC, or None.
        attributes: exact-match string attributes.
    """

    person: str = ""
    camera: str = ""
    captured_at: datetime | None = None
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)


@dataclass(frozen=True, slots=True)
class Item:
    """A gallery item as stored.

    Attributes:
        item_id: the operator's id, ``[A-Za-z0-9._:/-]{1,200}``; never used as a file name.
        modality: visible or infrared.
        meta: what is known of it.
        sha256: hex digest of the encoded image bytes.
        has_image: whether the encoded image was kept.
        enrolled_at: when it became durable, UTC.
        expires_at: when it is to be gone, UTC; None if it stays.
    """

    item_id: str
    modality: Modality
    meta: ItemMeta
    sha256: str
    has_image: bool
    enrolled_at: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items a search or listing may return; an empty field does not restrict.

    Attributes:
        cameras: only these cameras.
        exclude_cameras: none of these cameras.
        captured_from: captured at or after (items without a time never match).
        captured_to: captured before (items without a time never match).
        modalities: only these modalities.
        persons: only these persons.
        exclude_items: none of these item ids.
        attributes: every one of these attributes, exactly.
    """

    cameras: tuple[str, ...] = ()
    exclude_cameras: tuple[str, ...] = ()
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    modalities: tuple[Modality, ...] = ()
    persons: tuple[str, ...] = ()
    exclude_items: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)

    @property
    def is_empty(self) -> bool:
        """Whether every item passes."""
        return not any(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked answer.

    Attributes:
        rank: 1 for the best.
        score: cosine similarity in [-1, 1].
        item: the item found.
        probability: that it shows the person asked for, if that person is there; None where scores are not calibrated.
    """

    rank: int
    score: float
    item: Item
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Centring:
    """How a gallery's vectors are centred: the mean of each modality is taken off what is searched and what asks.

    Attributes:
        strength: how much of the mean, above 0 to 1.
        visible: vectors that made the visible mean; 0 leaves that modality as it came.
        infrared: the same of the infrared mean.
        version: the gallery's version that brought it; scores of two versions are not to be compared.
        since: when, UTC; None while it is in no gallery.
    """

    strength: float
    visible: int
    infrared: int
    version: int = 0
    since: datetime | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many vectors made each mean, by modality."""
        return self.visible, self.infrared

    def __str__(self) -> str:
        """Tell it in words."""
        since = f" since version {self.version}, {self.since:%Y-%m-%d %H:%M} UTC" if self.since else ""
        made = f"{self.visible} visible and {self.infrared} infrared vectors"
        return f"centred{since}, by the means of {made}, strength {self.strength:g}"


@dataclass(frozen=True, slots=True)
class ModalityGap:
    """How far apart a gallery's modalities lie, which is no accuracy; None where there is nothing to measure.

    Attributes:
        within_visible: mean cosine of two visible vectors.
        within_infrared: of two infrared ones.
        across: of one and the other.
        mixed: share of an item's ten nearest that are of the other modality.
        chance: what that share were if modality played no part.
    """

    within_visible: float | None
    within_infrared: float | None
    across: float | None
    mixed: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class Across:
    """How well labelled items of one modality find those of the other, before and after a centring.

    Attributes:
        asks: the modality of the queries.
        queries: how many there are, each left out of the mean that is taken off it.
        mean_ap: before and after.
        rank1: before and after.
    """

    asks: Modality
    queries: int
    mean_ap: tuple[float, float]
    rank1: tuple[float, float]


@dataclass(frozen=True, slots=True)
class CentringTrial:
    """What a centring would bring to a gallery, which it did not change.

    Attributes:
        before: how it is centred; None where its vectors are searched as they came.
        after: how it would be.
        across: for each modality that has labelled items with a match in the other; empty without labels.
        gap: before and after.
    """

    before: Centring | None
    after: Centring
    across: tuple[Across, ...]
    gap: tuple[ModalityGap, ModalityGap]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a gallery, described as its manifest has it.

    Attributes:
        name: of its folder, the time it was made.
        version: of the gallery when it was made.
        items: records and vectors.
        images: encoded images.
        bytes: of its files.
        made_at: when, UTC; None where the manifest cannot be read.
        expires_at: when it is to be removed, UTC; None keeps it.
        damage: why the manifest cannot be read, empty if it can; the files are not looked at.
    """

    name: str
    version: int = 0
    items: int = 0
    images: int = 0
    bytes: int = 0
    made_at: datetime | None = None
    expires_at: datetime | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class GalleryInfo:
    """A gallery, described.

    Attributes:
        name: ``[A-Za-z0-9][A-Za-z0-9._-]{0,62}``.
        space_id: the embedding space it is bound to (sha256 of weights and preprocessing).
        dim: embedding dimension.
        items: number of items.
        version: grows with every change.
        stores_images: whether encoded images are kept.
        state: ``ready`` or ``failed``.
        detail: why it failed, empty when ready.
        centring: how its vectors are centred; None where they are searched as they came.
        retention_s: seconds after its enrolment that an item expires, unless earlier by itself; 0 sets no time.
        lost: items that a salvage of the damaged gallery could not save; 0 where nothing is known to be missing.
    """

    name: str
    space_id: str
    dim: int
    items: int
    version: int
    stores_images: bool
    state: str = "ready"
    detail: str = ""
    centring: Centring | None = None
    retention_s: int = 0
    lost: int = 0
