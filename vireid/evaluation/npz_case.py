"""Features in files as something to measure: beside their dataset, or two files by themselves. Knows no scores."""

from pathlib import Path

from vireid.datasets.split import Dataset, Split
from vireid.errors import EvaluationError
from vireid.evaluation import npz
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case
from vireid.evaluation.npz import Listed
from vireid.evaluation.protocol import Protocol


def of_dataset(folder: Path, dataset: Dataset) -> Case:
    """Read the features of a dataset's images, as ``vireid evaluate extract`` wrote them.

    Raises:
        EvaluationError: a file is missing or cannot be used, or is of other images, persons or cameras.
    """
    paths = [folder / name for name in npz.file_names(dataset)]
    query = npz.read(paths[0])
    gallery = query if paths[1] == paths[0] else npz.read(paths[1])
    _same_model(query, gallery)
    vectors = [
        npz.in_order(path, listed, split, dataset.root)
        for path, listed, split in zip(paths, (query, gallery), (dataset.query, dataset.gallery), strict=True)
    ]
    return _case(dataset, Features(*vectors), query)


def of_files(query_file: Path, gallery_file: Path, protocol: Protocol) -> Case:
    """Read two files of features as a test set of a protocol's one identity split.

    Args:
        query_file: what asks.
        gallery_file: what is found, or drawn from.
        protocol: the direction they are meant for.

    Raises:
        EvaluationError: a file is missing or cannot be used, or the two are of different models.
    """
    query, gallery = npz.read(query_file), npz.read(gallery_file)
    _same_model(query, gallery)
    asks = query.split("query", protocol.query_modality)
    finds = gallery.split("gallery", protocol.gallery_modality)
    # a dataset's own query side is the infrared one: a turned protocol swaps the two back
    turned = protocol.turned
    dataset = Dataset(
        name=protocol.dataset,
        root=Path(),
        train=Split("train", ()),
        query=finds if turned else asks,
        gallery=asks if turned else finds,
        trial=protocol.trials[0] if protocol.splits else 0,
        synthetic=query.synthetic or gallery.synthetic,
    )
    pair = (gallery.vectors, query.vectors) if turned else (query.vectors, gallery.vectors)
    return _case(dataset, Features(*pair), query)


def _case(dataset: Dataset, features: Features, listed: Listed) -> Case:
    return Case(
        dataset=dataset,
        features=features,
        flip=listed.flip,
        bundle_sha256=listed.bundle_sha256,
        space_id=listed.space_id,
        given=True,
    )


def _same_model(query: Listed, gallery: Listed) -> None:
    for what in ("space_id", "bundle_sha256", "flip"):
        ours, theirs = getattr(query, what), getattr(gallery, what)
        if ours != theirs:
            raise EvaluationError(
                f"the query features say {what} {ours[:12] or '(nothing)'}, the gallery features "
                f"{theirs[:12] or '(nothing)'}; extract both with one bundle and one choice of flip averaging"
            )
