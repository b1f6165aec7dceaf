"""How real do drawn crops look to a network trained on real people?

Area under the ROC of same against different person, with the frozen person-reidentification-retail-0287 of Open
Model Zoo (Apache-2.0):

    pip install openvino && python tools/measure_realism.py WEIGHTS/person-reidentification-retail-0287.xml [PEOPLE [SEED ...]]

One row for each preset and seed: people and cameras both follow from the seed, so rows of one preset differ.
"""

import sys

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from vireid.datasets.synthetic.draw import Crop, draw_crops
from vireid.engines import openvino_library
from vireid.types import Modality

PEOPLE = 30
SEEDS = (5000, 6000, 7000)


def features(crops: list[Crop], weights: str) -> np.ndarray:
    """Embed crops; unit rows."""
    model = openvino_library.load().Core().compile_model(weights, "CPU", {"INFERENCE_NUM_THREADS": 2})
    rows = []
    for crop in crops:
        image = np.asarray(Image.fromarray(crop.rgb).resize((128, 256), Image.Resampling.BILINEAR))
        rows.append(model(image[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32))[0].reshape(-1))
    found = np.array(rows)
    unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def measure(name: str, images: int, people: int, seed: int, weights: str) -> str:
    """Draw, embed and compare; one line of numbers."""
    crops = list(draw_crops(name, people, images, seed=seed, workers=2))
    rows = features(crops, weights)
    person = np.array([crop.person for crop in crops])
    infrared = np.array([crop.modality is Modality.INFRARED for crop in crops])
    camera = np.array([crop.camera for crop in crops]) + 100 * infrared
    similarity, same = rows @ rows.T, person[:, None] == person[None]
    apart = camera[:, None] != camera[None]
    told = []
    for label, first, second in (("VV", 0, 0), ("II", 1, 1), ("IV", 1, 0)):
        pairs = (infrared[:, None] == first) & (infrared[None] == second) & (apart | (name == "regdb-like"))
        pairs &= ~np.eye(len(rows), dtype=bool)
        told.append(f"{label} {roc_auc_score(same[pairs], similarity[pairs]):.3f}")
    query, gallery = infrared, ~infrared
    order = np.argsort(-similarity[query][:, gallery], axis=1, kind="stable")
    hit = np.take_along_axis(same[query][:, gallery], order, 1)
    precision = np.cumsum(hit, 1) / np.arange(1, hit.shape[1] + 1)
    ap = (precision * hit).sum(1) / hit.sum(1)
    return f"{name:12} seed {seed}, {people} people, {len(crops)} crops: AUC {'  '.join(told)}  IV mAP {ap.mean():.3f}"


def main() -> None:
    """Measure every preset."""
    weights = sys.argv[1]
    people = int(sys.argv[2]) if len(sys.argv) > 2 else PEOPLE
    seeds = [int(word) for word in sys.argv[3:]] or SEEDS
    for name, images in (("sysu-like", 2), ("llcm-like", 1), ("regdb-like", 3)):
        for seed in seeds:
            print(measure(name, images, people, seed, weights), flush=True)


if __name__ == "__main__":
    main()
