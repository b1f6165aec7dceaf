"""Ranked lists as pictures: right and wrong are told by colour, by line and by sign."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image

from vireid.errors import DatasetError
from vireid.evaluation.album import Album, of_folder
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Measured
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.grid import RIGHT, WRONG, grid

Run = Callable[..., tuple[Measured, Evidence]]


def test_every_answer_in_its_frame(run: Run, album: Album) -> None:
    evidence = run()[1]
    picture = grid(evidence, album)
    rows = len(evidence.lists)
    cells = np.array(picture.axes).reshape(rows, 11)
    for row, shown in zip(cells, evidence.lists, strict=True):
        assert row[0].get_title() == f"{shown.group}\nAP {100 * shown.ap:.1f} %"
        assert row[0].get_xlabel() == f"camera gate {shown.query.camera}"
        for axes, answer in zip(row[1:], shown.answers, strict=True):
            sign = RIGHT if answer.right else WRONG
            assert axes.get_title() == f"{answer.rank} {sign}\n{answer.score:.3f}"
            assert axes.get_xlabel() == f"camera gate {answer.sample.camera}"
            (frame,) = (p for p in axes.patches if isinstance(p, Rectangle))
            assert to_hex(frame.get_edgecolor()) == (style.RIGHT if answer.right else style.WRONG)
            assert (frame.get_linestyle() == "solid") is answer.right
            (shown_image,) = axes.images
            tile = np.asarray(shown_image.get_array())
            assert tile.shape == (256, 128, 3)
            assert tuple(tile[128, 64]) == tuple(album.image(answer.sample)[0, 0])  # type: ignore[index]


def test_short_lists_and_images_that_are_not_kept(run: Run) -> None:
    evidence = run()[1]
    short = replace(evidence.lists[0], answers=evidence.lists[0].answers[:2])
    picture = grid(replace(evidence, lists=(short,)), Album(lambda _: None))
    assert [axes.axison for axes in picture.axes] == [True] * 3 + [False] * 8
    assert all("no image" in [t.get_text() for t in axes.texts] for axes in picture.axes[:3])


def test_a_missing_image_is_told_by_its_path(run: Run, tmp_path: Path) -> None:
    evidence = run()[1]
    with pytest.raises(DatasetError, match=r"query-\d+\.png cannot be read"):
        grid(evidence)
    with pytest.raises(DatasetError, match=str(tmp_path)):
        grid(evidence, of_folder(tmp_path))


def test_images_come_from_files(run: Run, tmp_path: Path) -> None:
    evidence = run()[1]
    lists = evidence.lists[:1]
    for sample in (lists[0].query, *(a.sample for a in lists[0].answers)):
        Image.new("RGB", (8, 16), (sample.camera, 90, 7)).save(tmp_path / sample.path)
    picture = grid(replace(evidence, lists=lists), of_folder(tmp_path))
    tile = np.asarray(picture.axes[0].images[0].get_array())
    assert (tile == (lists[0].query.camera, 90, 7)).all()


def test_names_are_no_formulas(run: Run, album: Album) -> None:
    evidence = replace(run()[1], lists=run()[1].lists[:1])
    hostile = replace(album, camera=lambda _: r"$\frac{")
    picture = grid(evidence, hostile, title=r"$x^{")
    assert b"PNG" in style.png(picture)[:8]
    assert r"camera $\frac{" in style.svg(picture)
