"""A network in training on a dataset's test images, by protocol."""

from training import features
from training.data.images import Images
from training.models.network import Network
from vireid.datasets.split import Dataset
from vireid.evaluation.evaluate import evaluate as score
from vireid.evaluation.features import Features
from vireid.evaluation.protocols import choose
from vireid.evaluation.result import Result


def evaluate(network: Network, query: Images, gallery: Images, dataset: Dataset) -> Result:
    """Score the dataset's own default protocol.

    Args:
        network: in any mode.
        query: images of ``dataset.query``.
        gallery: images of ``dataset.gallery``.
        dataset: whose labels are compared.
    """
    protocol = choose(dataset.name, trial=dataset.trial or None)
    found = Features(query=features.extract(network, query), gallery=features.extract(network, gallery))
    return score(found, dataset, protocol)
