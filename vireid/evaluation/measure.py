"""One run of the evaluation: a protocol over one test set, or over an identity split after the other.

Knows no options and no files; what makes the features is handed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vireid.datasets.split import Dataset
from vireid.errors import EvaluationError
from vireid.evaluation import provenance
from vireid.evaluation.evaluate import Advance, evaluate, sides
from vireid.evaluation.features import Features
from vireid.evaluation.protocol import Flip, Protocol
from vireid.evaluation.provenance import Source
from vireid.evaluation.result import REPORTED_RANKS, Result, merge


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A test set with its features.

    Attributes:
        dataset: the test images.
        features: their vectors.
        flip: whether those are averaged with those of mirrored images.
        bundle: the model's name, empty where features were given.
        bundle_sha256: of the model's bundle, empty if unknown.
        space_id: the embedding space, empty if unknown.
        given: whether the features were made elsewhere and are told by their hash.
    """

    dataset: Dataset
    features: Features
    flip: Flip = "given"
    bundle: str = ""
    bundle_sha256: str = ""
    space_id: str = ""
    given: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A result and what it comes from.

    Attributes:
        result: the scores.
        sources: one, or one for each identity split.
    """

    result: Result
    sources: tuple[Source, ...]


def splits(protocol: Protocol) -> tuple[Protocol, ...]:
    """Return a protocol of several identity splits as one protocol for each; any other as it is."""
    if not protocol.splits:
        return (protocol,)
    return tuple(replace(protocol, trials=(t,)) for t in protocol.trials)


def measure(
    protocol: Protocol,
    make: Callable[[Protocol], Case],
    ranks: Sequence[int] = REPORTED_RANKS,
    permutations: Path | None = None,
    watch: Callable[[Case, Protocol], None] | None = None,
    advance: Advance | None = None,
) -> Measured:
    """Measure a protocol, one identity split after the other.

    Args:
        protocol: what to measure.
        make: reads or makes the features of one split's protocol; called in order, one in memory at a time.
        ranks: of the CMC, reported by name.
        permutations: ``rand_perm_cam.mat`` for the official draw; None takes the one in the dataset's folder.
        watch: told each case once it is scored, to look at more than scores.
        advance: see ``evaluate``.

    Raises:
        EvaluationError: see ``evaluate``; also splits whose features were averaged in different ways.
        DatasetError: see ``evaluate``.
    """
    results, sources = [], []
    for split in splits(protocol):
        case = make(split)
        part = replace(split, flip=case.flip)  # features tell their own
        results.append(evaluate(case.features, case.dataset, part, ranks, permutations, advance))
        sources.append(_source(case, part))
        if watch is not None:
            watch(case, part)
    flips = {result.protocol.flip for result in results}
    if len(flips) > 1:
        raise EvaluationError(
            f"the splits' features differ in flip averaging: {', '.join(sorted(flips))}; make them alike"
        )
    if not protocol.splits:
        return Measured(results[0], tuple(sources))
    return Measured(merge(replace(protocol, flip=flips.pop()), results), tuple(sources))


def _source(case: Case, protocol: Protocol) -> Source:
    query, gallery = sides(case.dataset, protocol)
    pair = (case.features.query, case.features.gallery)
    asks, finds = pair[::-1] if protocol.turned else pair
    root = case.dataset.root
    hashes = {}
    if case.given:
        hashes["query"] = provenance.features_sha256(asks, query, root)
        hashes["gallery"] = provenance.features_sha256(finds, gallery, root)
    return Source(
        query=provenance.image_list(query, root),
        gallery=provenance.image_list(gallery, root),
        split=case.dataset.trial,
        bundle=case.bundle,
        bundle_sha256=case.bundle_sha256,
        space_id=case.space_id,
        features_sha256=hashes,
    )
