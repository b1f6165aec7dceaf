"""Centres learnt from a gallery's own vectors, and what they would bring there: measured before anything is changed.

With labels by mAP and Rank-1 across the modalities, without by how far apart the modalities lie, which is no accuracy.
Every asking vector is left out of the mean that is taken off it, as a query that comes later is. Changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from index.centres import KINDS, Centres, Means, without
from index.columns import gone_at, now
from index.records import Records
from index.table import Table
from vireid.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from vireid.evaluation.metrics import UNKNOWN, Labels, QueryScores, Scores, score_queries, summarise
from vireid.types import Across, CentringTrial, Modality, ModalityGap

NEAREST = 10
MOST = 20_000  # items that are looked at
MOST_ASKING = 2_000  # of each modality
AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Vectors to measure with.

    Attributes:
        rows: unit rows as they were embedded, (N, D).
        modalities: of each, (N,).
        persons: numbers, -1 where unknown, (N,).
        stored: whether it is in the gallery, or only asks, (N,).
    """

    rows: Float32Array
    modalities: Int64Array
    persons: Int64Array
    stored: BoolArray

    def places(self, kind: Modality, stored: bool = False) -> Int64Array:
        """Return which are of a modality, or of those the stored ones."""
        return np.flatnonzero((self.modalities == int(kind)) & (self.stored | (not stored)))


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """How well one modality finds the other.

    Attributes:
        asks: the modality of the queries.
        before: with the centres in use.
        after: with the new ones.
    """

    asks: Modality
    before: Scores
    after: Scores


@dataclass(frozen=True, slots=True)
class Gap:
    """How far apart the modalities lie, without labels.

    Attributes:
        within: the mean cosine of two vectors of one modality, by modality; NaN where there are none.
        across: the same of two modalities.
        mixed: the share of the ten nearest stored items that are of the other modality; NaN where there is one only.
        chance: what that share were if modality played no part.
    """

    within: tuple[float, float]
    across: float
    mixed: float
    chance: float


def shown(records: Records) -> Iterator[tuple[Table, Float32Array, BoolArray]]:
    """Read items, their vectors as they came, and which of them have not expired."""
    limit, moment = records.head.retention_s, now()
    for table, rows in records.chunks():
        yield table, rows, gone_at(table.expires, table.enrolled, limit) > moment


def learn(records: Records) -> Means:
    """Sum up a gallery's vectors.

    Raises:
        DataLoss: a record is damaged.
    """
    means = Means(records.head.dim)
    for table, rows, alive in shown(records):
        means.take_in(rows, table.modality, alive)
    return means


def sample(records: Records, asking: Float32Array, kinds: Int64Array, persons: list[str]) -> Sample:
    """Take a gallery's items, evenly drawn where there are too many, and vectors that only ask beside them.

    Args:
        records: of the gallery.
        asking: unit rows that are not stored, (M, D).
        kinds: their modalities, (M,).
        persons: their names, empty if unknown.
    """
    many = records.head.items
    wanted = np.sort(np.random.default_rng(0).choice(many, min(many, MOST), replace=False))
    parts: list[tuple[Float32Array, Int64Array]] = []
    names: list[str] = []
    first = 0
    for table, rows, alive in shown(records):
        here = wanted[(wanted >= first) & (wanted < first + len(table))] - first
        here = here[alive[here]]
        parts.append((rows[here], table.modality[here]))
        names += [table.persons[at] for at in here.tolist()]
        first += len(table)
    parts.append((asking, kinds))
    stored = np.arange(len(names) + len(persons)) < len(names)
    numbers = {name: number for number, name in enumerate(sorted({*names, *persons} - {""}))}
    return Sample(
        np.concatenate([rows for rows, _ in parts]),
        np.concatenate([modalities for _, modalities in parts]),
        np.array([numbers.get(name, UNKNOWN) for name in [*names, *persons]], np.int64),
        stored,
    )


def stored(records: Records) -> Sample:
    """Take a gallery's items alone; see ``sample``."""
    nobody = np.empty((0, records.head.dim), np.float32)
    return sample(records, nobody, np.empty(0, np.int64), [])


def crossings(of: Sample, means: Means, before: Centres | None, after: Centres) -> Iterator[Crossing]:
    """Measure the labelled items of each modality against the stored ones of the other, where any has a match.

    Args:
        of: what asks and what is found.
        means: that the new centres were made of.
        before: the centres in use.
        after: the new ones.
    """
    for asks in reversed(KINDS):
        there = of.places(KINDS[1 - int(asks)], stored=True)
        here = of.places(asks)
        here = here[(of.persons[here] != UNKNOWN) & np.isin(of.persons[here], of.persons[there])]
        if not len(here):
            continue
        rng = np.random.default_rng(int(asks))
        here = np.sort(rng.choice(here, min(len(here), MOST_ASKING), replace=False))
        yield Crossing(
            asks,
            _scored(of, here, there, _rows(of, before, here), _rows(of, before, there)),
            _scored(of, here, there, _left_out(of, means, after, here, asks), _rows(of, after, there)),
        )


def gap(of: Sample, centres: Centres | None) -> Gap:
    """Measure how far apart the modalities lie with some centres."""
    rows = _rows(of, centres, np.arange(len(of.rows))).astype(np.float64)
    each = [rows[of.places(kind)] for kind in KINDS]
    sums = [one.sum(axis=0) for one in each]
    counts = [len(one) for one in each]
    visible, infrared = (
        float((total @ total - (one * one).sum()) / (many * (many - 1))) if many > 1 else float("nan")
        for one, total, many in zip(each, sums, counts, strict=True)
    )
    both = all(counts)
    across = float(sums[0] @ sums[1] / (counts[0] * counts[1])) if both else float("nan")
    return Gap((visible, infrared), across, *_mixed(of, rows))


def trial(of: Sample, means: Means, before: Centres | None, after: Centres) -> CentringTrial:
    """Measure all there is to measure of new centres; the arguments are those of ``crossings``."""
    return CentringTrial(
        before=None if before is None else before.told,
        after=after.told,
        across=tuple(
            Across(
                found.asks,
                found.after.n_valid,
                (float(found.before.mean_ap), float(found.after.mean_ap)),
                (float(found.before.rank(1)), float(found.after.rank(1))),
            )
            for found in crossings(of, means, before, after)
        ),
        gap=(_told(gap(of, before)), _told(gap(of, after))),
    )


def _told(found: Gap) -> ModalityGap:
    measured = (*found.within, found.across, found.mixed, found.chance)
    return ModalityGap(*(None if np.isnan(one) else float(one) for one in measured))


def _mixed(of: Sample, rows: Float64Array) -> tuple[float, float]:
    found = np.flatnonzero(of.stored)
    if len(found) <= NEAREST or len(np.unique(of.modalities[found])) < len(KINDS):
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    asking = np.sort(rng.choice(found, min(len(found), MOST_ASKING), replace=False))
    others = by_chance = 0.0
    for start in range(0, len(asking), AT_ONCE):
        here = asking[start : start + AT_ONCE]
        cosines = rows[here] @ rows[found].T
        cosines[here[:, None] == found[None, :]] = -np.inf
        nearest = np.argpartition(-cosines, NEAREST - 1, axis=1)[:, :NEAREST]
        kinds = of.modalities[here][:, None]
        others += float((of.modalities[found][nearest] != kinds).mean(axis=1).sum())
        by_chance += float((of.modalities[found][None, :] != kinds).sum()) / (len(found) - 1)
    return others / len(asking), by_chance / len(asking)


def _rows(of: Sample, centres: Centres | None, places: Int64Array) -> Float32Array:
    rows = of.rows[places]
    return rows if centres is None else centres.applied(rows, of.modalities[places])


def _left_out(of: Sample, means: Means, centres: Centres, places: Int64Array, kind: Modality) -> Float32Array:
    """Centre queries of one modality, each by the mean of all the others."""
    rows, many = of.rows[places], int(means.counts[int(kind)])
    if not centres.told.counts[int(kind)]:
        return rows
    others = (many * means.rows()[int(kind)] - rows.astype(np.float64)) / (many - 1)
    return without(rows, centres.told.strength * others)


def _scored(
    of: Sample, here: Int64Array, there: Int64Array, asking: Float32Array, found: Float32Array
) -> Scores:
    scored = QueryScores.empty(len(here))
    anywhere = Labels(of.persons[there], np.zeros(len(there), np.int64))
    right = found.astype(np.float64).T
    for start in range(0, len(here), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        who = Labels(of.persons[here[part]], np.zeros(len(here[part]), np.int64))
        cosines = asking[part].astype(np.float64) @ right
        scored.put(np.arange(len(here))[part], score_queries(cosines, who, anywhere))
    return summarise(scored)
