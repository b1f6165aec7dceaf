"""A centred gallery over both wires: its description, and answers that say what their scores are relative to."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clients.replies import ItemRef
from index.centring import learn
from index.gallery import Gallery
from index.rows import Enrolment
from tests.clients.conftest import KINDS, Live, running
from vireid.types import ItemMeta, Modality


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(Path(tmp_path_factory.mktemp("data"))) as live:
        yield live


@pytest.fixture(scope="module")
def gallery(served: Live) -> Gallery:
    runner = served.connect("http")
    runner("create_gallery", "yard")
    runner.close()
    made = served.service.gallery("yard")
    rows = np.random.default_rng(0).standard_normal((80, served.engine.dim))
    rows += 5 * np.eye(served.engine.dim)[np.arange(80) % 2]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    made.enroll(
        [
            Enrolment(f"i{n}", Modality(n % 2), ItemMeta(), hashlib.sha256(row.tobytes()).hexdigest(), row)
            for n, row in enumerate(rows)
        ]
    )
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_both_wires_say_by_what_and_since_when(served: Live, gallery: Gallery, kind: str) -> None:
    caller = served.connect(kind)
    assert caller("get_gallery", "yard").centring is None
    plain = caller("search", "yard", ItemRef("i5"), top_k=80)
    assert plain.centring == 0
    gallery.centre(learn(gallery.records).centres(0.75))
    told = caller("get_gallery", "yard")
    assert told.centring == gallery.info().centring
    assert told.centring.version == told.version
    assert (told.centring.visible, told.centring.infrared, told.centring.strength) == (40, 40, 0.75)
    assert [one.centring for one in caller("list_galleries")] == [told.centring]
    centred = caller("search", "yard", ItemRef("i5"), top_k=80)
    assert centred.centring == told.version == centred.gallery_version
    assert centred.hits[0].item.item_id == "i5"
    assert centred.hits != plain.hits
    gallery.uncentre()
    again = caller("search", "yard", ItemRef("i5"), top_k=80)
    assert (again.hits, again.centring) == (plain.hits, 0)
    assert caller("get_gallery", "yard").centring is None
    caller.close()
