"""Proof that an engine gives the embeddings of the model it was made from, and that people are found as before.

A candidate is held against its source: alone, and at random places of mixed batches of several sizes; what it ranks
first, and how well it finds people; and both must tell different people apart, so that two engines which are equally
broken do not pass by agreeing. Knows engines only: not torch, not ONNX, not bundles.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from export import comparison, ranking
from export.bars import EXPORTED, Bar
from export.comparison import Advance, Comparison
from export.exam import Exam
from export.ranking import Ranking
from vireid.arrays import Float64Array, Int64Array, UInt8Array
from vireid.engines.base import Engine
from vireid.errors import ExportError

FEW_QUERIES = 100  # fewer say little of a change of the mAP
PAST_CHANCE = 2.0  # a source that finds people no better than this many times chance proves little


@dataclass(frozen=True, slots=True)
class Probes:
    """Images to compare on; the same people need not be in both modalities.

    Attributes:
        images: preprocessed RGB, (N, H, W, 3), N >= 4, every row another image.
        modality: 0 visible, 1 infrared, (N,), both present.
    """

    images: UInt8Array
    modality: Int64Array


@dataclass(frozen=True, slots=True)
class AtSize:
    """What one batch size measured: cosines with the source, and with the candidate's own rows alone."""

    size: int
    cosine_min: float
    cosine_mean: float
    company_min: float


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, and whether it is enough.

    Attributes:
        reference: what runs the source.
        candidate: what runs the candidate.
        images: how many.
        origin: where they come from, in words.
        sha256: of the images and their labels; empty where they had no labels.
        by_size: each batch size.
        ranking: what was found; None where nobody knows who is on the images, or the rows were no numbers.
        strangers: mean cosine between different people of one modality, the greater of the two: source, candidate.
        bar: what had to be reached.
        failures: each number beside its bar; empty if all were reached.
        notes: what weakens the proof.
    """

    reference: str
    candidate: str
    images: int
    origin: str
    sha256: str
    by_size: tuple[AtSize, ...]
    ranking: Ranking | None
    strangers: tuple[float, float]
    bar: Bar
    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every bar was reached."""
        return not self.failures

    @property
    def cosine_min(self) -> float:
        """Least cosine with the source, over every image, batch size and place."""
        return _least([part.cosine_min for part in self.by_size])

    @property
    def cosine_mean(self) -> float:
        """Least of the mean cosines of the batch sizes."""
        return _least([part.cosine_mean for part in self.by_size])

    @property
    def company_min(self) -> float:
        """Least cosine between a candidate's row alone and in a batch."""
        return _least([part.company_min for part in self.by_size])

    def as_json(self) -> dict[str, object]:
        """The report as plain values; what is no number is None."""
        words: dict[str, object] = {
            "passed": self.passed,
            "failures": list(self.failures),
            "notes": list(self.notes),
            "reference": self.reference,
            "candidate": self.candidate,
            "images": self.images,
            "origin": self.origin,
            "exam_sha256": self.sha256,
            "batches": [part.size for part in self.by_size],
            "cosine_min": _number(self.cosine_min),
            "cosine_mean": _number(self.cosine_mean),
            "company_min": _number(self.company_min),
            "by_batch": {
                str(part.size): {
                    "cosine_min": _number(part.cosine_min),
                    "cosine_mean": _number(part.cosine_mean),
                    "company_min": _number(part.company_min),
                }
                for part in self.by_size
            },
            "strangers": {
                "reference": _number(self.strangers[0]),
                "candidate": _number(self.strangers[1]),
            },
            "bar": self.bar.as_json(),
        }
        if self.ranking is not None:
            words |= _found(self.ranking)
        return words


def draw_probes(height: int, width: int, count: int = 24, seed: int = 0) -> Probes:
    """Draw figures on backgrounds, half in colour, half in grey: not people, but not noise either."""
    rng = np.random.default_rng(seed)
    modality: Int64Array = np.arange(count, dtype=np.int64) % 2
    images = np.empty((count, height, width, 3), np.uint8)
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width], float)[:, None, None]
    for at in range(count):
        colours = rng.uniform(0, 255, (5, 3))
        picture = colours[0] * (1 - rows[..., None]) + colours[1] * rows[..., None]
        middle, half = rng.uniform(0.4, 0.6), rng.uniform(0.15, 0.3)
        belt, head = rng.uniform(0.45, 0.6), rng.uniform(0.15, 0.22)
        inside = np.abs(columns - middle) < half
        picture[inside & (rows > head) & (rows < belt)] = colours[2]
        legs = inside & (rows >= belt) & (np.abs(columns - middle) > half * rng.uniform(0, 0.4))
        picture[legs] = colours[3]
        picture[((columns - middle) / half) ** 2 + ((rows - head / 2) / (head / 2)) ** 2 < 1] = colours[4]
        picture += rng.normal(0, rng.uniform(2, 12), picture.shape)
        if modality[at]:
            picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
        images[at] = np.clip(picture, 0, 255).astype(np.uint8)
    return Probes(images, modality)


def prove(reference: Engine, candidate: Engine, probes: Probes, bar: Bar = EXPORTED, seed: int = 0) -> Report:
    """Hold an exported graph against the network it was traced from; each image counts as a person.

    Args:
        reference: the model exported, run one image at a time.
        candidate: what will be served.
        probes: images to compare on.
        bar: how near the two must be.
        seed: of the places in the batches.

    Raises:
        ExportError: the candidate differs, depends on its batch, is not finite or cannot tell images apart.
    """
    _check_probes(probes)
    compared = comparison.compare(reference, candidate, probes.images, probes.modality, seed)
    person: Int64Array = np.arange(len(probes.images))
    report = _report(
        (reference, candidate), compared, bar, ("drawn figures", ""), (person, probes.modality), None
    )
    if not report.passed:
        raise ExportError(
            "the exported model differs from the model it was made from: " + "; ".join(report.failures)
        )
    return report


def examine(
    source: Engine, candidate: Engine, exam: Exam, bar: Bar, *, seed: int = 0, advance: Advance | None = None
) -> Report:
    """Hold an engine against the one it was made from; a bad result is a report that did not pass.

    Args:
        source: the model as it was exported and proven.
        candidate: what is to be served.
        exam: images of known people in both modalities.
        bar: what to reach.
        seed: of the places in the batches.
        advance: told of the images that went through; ``comparison.steps`` says how many there will be.

    Raises:
        ExportError: the source itself is broken.
        EngineError: the source could not be run.
    """
    return examined(source, candidate, exam, bar, seed=seed, advance=advance)[0]


def examined(
    source: Engine, candidate: Engine, exam: Exam, bar: Bar, *, seed: int = 0, advance: Advance | None = None
) -> tuple[Report, Comparison]:
    """Do as ``examine``, and return what the two engines gave as well."""
    compared = comparison.compare(source, candidate, exam.images, exam.modality, seed, advance)
    whole = bool(np.isfinite(compared.alone).all())
    found = ranking.rank(compared.expected, compared.alone, exam) if whole else None
    report = _report(
        (source, candidate), compared, bar, (exam.origin, exam.sha256), (exam.person, exam.modality), found
    )
    return report, compared


def _report(
    engines: tuple[Engine, Engine],
    compared: Comparison,
    bar: Bar,
    origin: tuple[str, str],
    labels: tuple[Int64Array, Int64Array],
    found: Ranking | None,
) -> Report:
    by_size = tuple(
        AtSize(part.size, _least(part.cosine), float(np.mean(part.cosine)), _least(part.company))
        for part in compared.sizes
    )
    strangers = (
        max(ranking.strangers(compared.expected, *labels).values(), default=0.0),
        max(ranking.strangers(compared.alone, *labels).values(), default=0.0),
    )
    source, candidate = (_words(engine) for engine in engines)
    report = Report(
        reference=source,
        candidate=candidate,
        images=len(compared.expected),
        origin=origin[0],
        sha256=origin[1],
        by_size=by_size,
        ranking=found,
        strangers=strangers,
        bar=bar,
        failures=(),
        notes=tuple(_notes(found)),
    )
    faults = dict.fromkeys(fault for part in compared.sizes for fault in part.faults)
    return replace(report, failures=(*faults, *_failures(report)))


def _failures(report: Report) -> Iterator[str]:
    """Say each number that misses its bar, beside it."""
    bar, sizes = report.bar, report.by_size
    yield from _missed("cosine min", {p.size: p.cosine_min for p in sizes}, bar.cosine_min)
    yield from _missed("cosine mean", {p.size: p.cosine_mean for p in sizes}, bar.cosine_mean)
    yield from _missed(
        "a row in company differs from itself alone: cosine",
        {p.size: p.company_min for p in sizes},
        bar.company,
    )
    for who, mean in zip(("the source", "the candidate"), report.strangers, strict=True):
        if not mean <= bar.strangers:
            yield (
                f"{who} does not tell people apart: mean cosine {mean:.5f} between different ones, "
                f"at most {bar.strangers:g} is allowed; a model that is normalised twice looks like this"
            )
    if report.ranking is not None:
        change = report.ranking.map_change
        if change < -bar.map_loss:
            yield f"mAP falls by {-change:.3f} points, at most {bar.map_loss:g} is allowed"
        if bar.map_gain is not None and change > bar.map_gain:
            yield f"mAP rises by {change:.3f} points, at most {bar.map_gain:g} is allowed at this precision"


def _missed(what: str, found: Mapping[int, float], least: float) -> Iterator[str]:
    """Say the worst of what is too small, and at which batch sizes."""
    low = {size: value for size, value in found.items() if not value >= least}
    if low:
        sizes = ", ".join(map(str, low))
        yield f"{what} {_least(list(low.values())):.6f} at batch {sizes}; at least {least:g} is required"


def _notes(found: Ranking | None) -> Iterator[str]:
    """Say what weakens a proof."""
    if found is None:
        return
    if found.queries < FEW_QUERIES:
        yield (
            f"only {found.queries} images ask: one that finds its person a place later moves the mAP by up to "
            f"{50 / found.queries:.2g} points; prove on at least {FEW_QUERIES} infrared images"
        )
    if found.source.mean_ap < PAST_CHANCE * found.chance:
        yield (
            f"the source itself finds these people hardly better than chance (mAP {100 * found.source.mean_ap:.1f} %, "
            f"chance {100 * found.chance:.1f} %), so its change says little: prove on images like those it was trained on"
        )


def _found(found: Ranking) -> dict[str, object]:
    source, candidate = found.source, found.candidate
    return {
        "protocol": "infrared asks, visible is found, nothing is excluded",
        "rank_agreement": {
            str(k): None if share is None else _number(share) for k, share in found.agreement.items()
        },
        "map": {
            "reference": _number(source.mean_ap),
            "candidate": _number(candidate.mean_ap),
            "change_points": _number(found.map_change),
            "chance": _number(found.chance),
        },
        "rank1": {
            "reference": _number(source.rank1),
            "candidate": _number(candidate.rank1),
            "change_points": _number(found.rank1_change),
        },
    }


def _words(engine: Engine) -> str:
    info = engine.info
    return f"{info.runtime} {info.provider}, {info.precision}, {info.device}"


def _least(values: Float64Array | list[float]) -> float:
    """Return the least value, NaN if one is no number."""
    return float(np.min(values))


def _number(value: float) -> float | None:
    """Round, and take what is no number for None: JSON has no other word."""
    return round(value, 7) if math.isfinite(value) else None


def _check_probes(probes: Probes) -> None:
    if len(probes.images) < 4 or set(probes.modality.tolist()) != {0, 1}:
        raise ExportError("parity needs at least four images and both modalities among them")
    if len(np.unique(probes.images.reshape(len(probes.images), -1), axis=0)) < len(probes.images):
        raise ExportError("parity needs different images; two of those given are the same")
