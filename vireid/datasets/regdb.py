"""Reader of RegDB in its published layout.

    ROOT/Visible/<identity>/<gender>_<front|back>_v_<frame>_<identity>.bmp     Thermal/ alike, with _t_
    ROOT/idx/{train,test}_{visible,thermal}_{1..10}.txt                        lines "relative/path label"

Ten trials, each its own split of the identities and so its own trained model: 206 to train, 206 to test. The
identity is the folder's name, never the label, which starts from 0 in each list. The visible camera is 1, the
thermal one 2; thermal counts as infrared. Knows no protocol.

Nguyen et al., Person Recognition System Based on a Combination of Body Images from Visible Light and Thermal
Cameras, Sensors 2017.
"""

from collections.abc import Mapping
from pathlib import Path

from vireid.datasets import files
from vireid.datasets.split import Dataset, Split, is_synthetic
from vireid.errors import DatasetError
from vireid.types import Modality, Sample

NAME = "regdb"
TRIALS = 10
CAMERA: Mapping[Modality, int] = {Modality.VISIBLE: 1, Modality.INFRARED: 2}
FOLDER: Mapping[Modality, str] = {Modality.VISIBLE: "Visible", Modality.INFRARED: "Thermal"}


def lists(trial: int) -> tuple[str, ...]:
    """Return the four lists of a trial, relative to the root."""
    return tuple(
        f"idx/{part}_{kind}_{trial}.txt" for part in ("train", "test") for kind in ("visible", "thermal")
    )


def read(root: Path, trial: int = 1) -> Dataset:
    """Read one trial of RegDB.

    Raises:
        DatasetError: a folder, list or image is missing, a list is malformed, the two modalities list other
            identities, or training and test share one.
    """
    if not 1 <= trial <= TRIALS:
        raise DatasetError(f"RegDB has trials 1 to {TRIALS}, not {trial}")
    files.require(root, ("Visible/", "Thermal/", *lists(trial)), "RegDB")
    part = {
        (name, modality): _samples(root, name, modality, trial)
        for name in ("train", "test")
        for modality in (Modality.VISIBLE, Modality.INFRARED)
    }
    for name in ("train", "test"):
        visible, thermal = ({s.person for s in part[name, m]} for m in (Modality.VISIBLE, Modality.INFRARED))
        if visible != thermal:
            raise DatasetError(
                f"{root}/idx: the {name} lists of trial {trial} name other identities in visible and "
                f"thermal, for example {min(visible ^ thermal)}; expected the same ones"
            )
    both = {s.person for s in part["train", Modality.VISIBLE]} & {
        s.person for s in part["test", Modality.VISIBLE]
    }
    if both:
        raise DatasetError(
            f"{root}/idx: train and test of trial {trial} share {len(both)} identities, "
            f"the first is {min(both)}; expected none"
        )
    return Dataset(
        name=NAME,
        root=root,
        train=Split("train", part["train", Modality.VISIBLE] + part["train", Modality.INFRARED]),
        query=Split("query", part["test", Modality.INFRARED]),
        gallery=Split("gallery", part["test", Modality.VISIBLE]),
        trial=trial,
        synthetic=is_synthetic(root),
    )


def _samples(root: Path, part: str, modality: Modality, trial: int) -> tuple[Sample, ...]:
    kind = "visible" if modality is Modality.VISIBLE else "thermal"
    path = root / "idx" / f"{part}_{kind}_{trial}.txt"
    lines = files.labelled_list(path)
    samples = []
    person_of: dict[int, int] = {}
    for name, label in lines:
        words = name.split("/")
        if len(words) != 3 or words[0] != FOLDER[modality] or not files.is_number(words[1]):
            raise DatasetError(f"{path}: {name!r}; expected {FOLDER[modality]}/<identity>/<image>")
        person = int(words[1])
        if person_of.setdefault(label, person) != person:
            raise DatasetError(
                f"{path}: label {label} stands for identities {person_of[label]} and {person}; expected one"
            )
        samples.append(Sample(root / name, person, CAMERA[modality], modality))
    files.require_files((s.path for s in samples), str(path))
    return tuple(samples)
