"""``vireid bench`` from its options to its figures: against running servers, against its own, and when things fail."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from clients import bench_table
from clients.bench_command import app
from vireid.evaluation import metrics
from vireid.types import Modality

QUICK = ("--seconds", 0.1, "--warm-up", 0.05, "--clients", 2)
ROOT = Path(__file__).parents[2]


def _bench(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _galleries(live: Any) -> list[str]:
    caller = live.connect("grpc")
    names = [info.name for info in caller("list_galleries")]
    caller.close()
    return names


def _fails(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output


def test_every_figure_over_both_wires(live: Any, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ("--server", live.http, "--server", live.grpc, *QUICK, "--clients", 1, "--json", out)
    result = _bench(people, *options)
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert list(figures) == [
        "format",
        "data",
        "server",
        "machine",
        "cold_start",
        "enrol",
        "accuracy",
        "speed",
    ]
    assert figures["format"] == 1
    assert figures["data"] == {
        "name": "people",
        "layout": "folder",
        "synthetic": False,
        "queries": 4,
        "gallery": 8,
        "persons": 4,
        "converted": 0,
    }
    assert figures["server"]["info"]["version"] == "test"
    assert figures["server"]["space_id"] == figures["server"]["info"]["model"]["space_id"]
    assert figures["machine"]["cores"] >= 1
    assert figures["cold_start"] is None
    assert (figures["enrol"]["created"], figures["enrol"]["wire"], figures["enrol"]["refused"]) == (
        8,
        "http",
        [],
    )
    scored = figures["accuracy"]
    assert (scored["rule"], scored["cmc"], scored["complete"]) == ("market", "image", True)
    assert scored["rank"] == {"1": 1.0, "5": 1.0, "10": 1.0, "20": 1.0}
    assert (scored["mean_ap"], scored["mean_inp"], scored["scored"], scored["errors"]) == (1.0, 1.0, 4, {})
    stretches = [(each["wire"], each["clients"], each["call"]) for each in figures["speed"]]
    assert stretches == [
        (wire, clients, call)
        for wire in ("http", "grpc")
        for clients in (2, 1)
        for call in ("embed", "search", "search_vector")
    ]
    for each in figures["speed"]:
        assert each["loop"] == "closed"
        assert each["calls"] == each["answered"] > 0
        assert each["per_s"] == pytest.approx(each["answered"] / each["seconds"])
        assert each["seconds"] >= 0.1
        times = each["latency_ms"]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"]
        assert bool(each["server_ms"]) == (each["call"] != "embed")
    assert "Rank-1 100.0%" in result.output
    assert "closed loop" in result.output
    assert "enrolling: 8/8" in result.output
    assert _galleries(live) == []


def test_over_grpc_alone_the_server_says_what_it_is(live: Any, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    result = _bench(people, "--server", live.grpc, *QUICK, "--rate", 50, "--top-k", 3, "--json", out)
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert figures["server"]["info"]["version"] == "test"
    assert figures["server"]["space_id"] == figures["server"]["info"]["model"]["space_id"]
    assert {(each["loop"], each["rate"], each["wire"]) for each in figures["speed"]} == {("open", 50, "grpc")}
    assert [each["top_k"] for each in figures["speed"]] == [None, 3, 3]
    assert "vireid test, model fake" in result.output
    assert "open loop: 50 calls/s" in result.output


# ---- accuracy ------------------------------------------------------------------
def _manifest(root: Path, rows: Sequence[tuple[int, int, str, str]], draw: Callable[..., bytes]) -> None:
    """Write images of seeds, and who is on them: person, camera, split, and the seed of the picture."""
    root.mkdir()
    with (root / "manifest.csv").open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(("path", "person", "camera", "modality", "split"))
        for number, (person, camera, split, seed) in enumerate(rows):
            (root / f"{number:03}.jpg").write_bytes(draw(int(seed)))
            modality = "infrared" if split == "query" else "visible"
            lines.writerow((f"{number:03}.jpg", person, f"cam{camera}", modality, split))


@pytest.mark.parametrize(("rule", "cmc"), [("market", "image"), ("sysu", "identity"), ("none", "identity")])
def test_agrees_with_the_evaluation_of_the_same_vectors(
    live: Any, tmp_path: Path, draw: Callable[..., bytes], rule: metrics.Rule, cmc: metrics.CmcLevel
) -> None:
    """Pictures that several people share tie; some people ask in vain, some only from their own camera."""
    random = np.random.default_rng(5)
    found = [
        (int(p), int(c), "gallery", str(s)) for p, c, s in random.integers([0, 1, 0], [6, 4, 9], (30, 3))
    ]
    asked = [(int(p), int(c), "query", str(s)) for p, c, s in random.integers([0, 1, 0], [8, 4, 9], (20, 3))]
    root, out = tmp_path / "set", tmp_path / "figures.json"
    _manifest(root, [*found, *asked], draw)
    result = _bench(root, "--server", live.grpc, *QUICK, "--rule", rule, "--cmc", cmc, "--json", out)
    assert result.exit_code == 0, result.output
    caller = live.connect("grpc")

    def vectors(rows: Sequence[Any], modality: Modality) -> Any:
        return np.asarray([caller("embed", draw(int(row[3])), modality).values for row in rows], np.float32)

    similarity = vectors(asked, Modality.INFRARED) @ vectors(found, Modality.VISIBLE).T
    caller.close()

    def labels(rows: Sequence[Any]) -> metrics.Labels:
        person, camera = (np.asarray([row[column] for row in rows]) for column in (0, 1))
        return metrics.Labels(person, camera)

    truth = metrics.scores(similarity, labels(asked), labels(found), rule=rule, cmc=cmc)
    scored = json.loads(out.read_text())["accuracy"]
    assert (scored["scored"], scored["queries"]) == (truth.n_valid, 20)
    assert 0 < truth.n_valid < 20
    assert scored["mean_ap"] == pytest.approx(truth.mean_ap, abs=1e-9)
    assert scored["mean_inp"] == pytest.approx(truth.mean_inp, abs=1e-9)
    assert scored["rank"] == pytest.approx({str(k): truth.rank(k) for k in (1, 5, 10, 20)}, abs=1e-9)


def test_a_published_layout(live: Any, tmp_path: Path, draw: Callable[..., bytes]) -> None:
    root, out = tmp_path / "sysu", tmp_path / "figures.json"
    for person in range(1, 5):
        for camera in range(1, 7):
            place = root / f"cam{camera}" / f"{person:04}" / "0001.jpg"
            place.parent.mkdir(parents=True)
            place.write_bytes(draw(person * 10 + camera))
    (root / "exp").mkdir()
    for part, persons in (("train", "1"), ("val", "2"), ("test", "3,4")):
        (root / "exp" / f"{part}_id.txt").write_text(persons)
    (root / "synthetic.json").write_text("{}")
    before = sorted(root.rglob("*"))
    result = _bench(root, "--server", live.grpc, *QUICK, "--json", out)
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    counts = {key: figures["data"][key] for key in ("layout", "synthetic", "queries", "gallery", "persons")}
    assert counts == {"layout": "sysu-mm01", "synthetic": True, "queries": 4, "gallery": 8, "persons": 2}
    assert (figures["accuracy"]["rule"], figures["accuracy"]["cmc"]) == ("sysu", "identity")
    assert "drawn people, not real ones" in result.output
    assert sorted(root.rglob("*")) == before


def test_images_that_no_server_takes_are_converted(
    live: Any, people: Path, tmp_path: Path, left_behind: Callable[[], list[str]]
) -> None:
    for path in list(people.rglob("*.jpg")):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    rows = [
        ",".join((path.relative_to(people).as_posix(), path.parts[-2], path.name[:2], path.parts[-3]))
        for path in sorted(people.rglob("*.bmp"))
    ]
    (people / "manifest.csv").write_text("\n".join(("path,person,camera,modality", *rows)))
    out = tmp_path / "figures.json"
    result = _bench(people, "--server", live.http, *QUICK, "--json", out)
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["data"]["converted"] == 12
    assert "12 images were made PNG" in result.output


def test_a_larger_gallery_than_a_search_answers_with_is_said(live: Any, people: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    _bench(people, "--server", live.http, *QUICK, "--json", out)
    figures = json.loads(out.read_text())
    assert "LOWER BOUND" not in bench_table.as_text(figures)
    figures["speed"][0] |= {"answered": 99, "calls": 102, "errors": {"QUEUE_FULL": 3}}
    assert "p99 of fewer than 100 calls is their maximum" in bench_table.as_text(figures)
    assert "failed      3 calls of embed, http, 2 clients: QUEUE_FULL" in bench_table.as_text(figures)
    figures["accuracy"] |= {"complete": False, "depth": 1000, "gallery": 6775}
    assert "A LOWER BOUND: a ranking holds 1000 of 6775 images" in bench_table.as_text(figures)


# ---- what is refused -------------------------------------------------------------
def test_refused_images_are_counted_and_named(live: Any, people: Path, tmp_path: Path) -> None:
    (people / "visible" / "p1" / "c1_0.jpg").write_bytes(b"no picture")
    (people / "infrared" / "p2" / "c3_0.jpg").write_bytes(b"nor this")
    out = tmp_path / "figures.json"
    result = _bench(people, "--server", live.grpc, *QUICK, "--json", out)
    _fails(result, "visible/p1/c1_0.jpg", "NOT_AN_IMAGE", "1 query: NOT_AN_IMAGE")
    figures = json.loads(out.read_text())
    assert (figures["enrol"]["images"], figures["enrol"]["created"]) == (8, 7)
    assert figures["accuracy"]["errors"] == {"NOT_AN_IMAGE": 1}
    assert figures["accuracy"]["rank"]["20"] == 0.75
    assert all(each["errors"] == {} for each in figures["speed"])
    assert _galleries(live) == []


def test_an_existing_gallery_is_not_touched(live: Any, people: Path) -> None:
    caller = live.connect("grpc")
    caller("create_gallery", "mine")
    caller("put_item", "mine", "a", people / "visible" / "p1" / "c1_0.jpg")
    result = _bench(people, "--server", live.http, *QUICK, "--gallery", "mine")
    _fails(result, "'mine' is there already", "[GALLERY_EXISTS]")
    assert caller("get_gallery", "mine").items == 1
    caller("delete_gallery", "mine")
    caller.close()


@pytest.mark.parametrize("wire", ["grpc", "http"])
def test_a_wrong_key(start: Any, people: Path, wire: str) -> None:
    with start(key="a-key-of-some-length") as server:
        address = getattr(server, wire)
        _fails(_bench(people, "--server", address, *QUICK, "--api-key", "wrong"), "[BAD_CREDENTIALS]")
        _fails(_bench(people, "--server", address, *QUICK), "[NO_CREDENTIALS]")
        right = _bench(people, "--server", address, *QUICK, "--api-key", "a-key-of-some-length")
        assert right.exit_code == 0, right.output


def test_data_that_cannot_be_measured_with(
    live: Any, people: Path, tmp_path: Path, left_behind: Callable[[], list[str]]
) -> None:
    server = ("--server", live.grpc)
    (tmp_path / "empty").mkdir()
    _fails(_bench(tmp_path / "empty", *server), "no known layout", "manifest.csv", "[DATASET_INVALID]")
    _fails(_bench(tmp_path / "nowhere", *server), "is not a folder", "[DATASET_INVALID]")
    (people / "manifest.csv").write_text("path,person\nvisible/p1/c1_0.jpg,p1\n")
    _fails(_bench(people, *server), "has no person, camera or modality", "[DATASET_INVALID]")
    (people / "manifest.csv").write_text(
        "path,person,camera,modality\nvisible/p1/c1_0.jpg,p1,c1,visible\ninfrared/p2/c3_0.jpg,p2,c3,infrared\n"
    )
    _fails(_bench(people, *server), "no query's person is in the gallery", "[EVALUATION_IMPOSSIBLE]")
    assert _galleries(live) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--server", "127.0.0.1:1"), "no vireid server answers at 127.0.0.1:1"),
        (("--server", "http://127.0.0.1:1"), "no vireid server answers at http://127.0.0.1:1"),
        (("--server", "a:1", "--server", "b:1"), "both grpc addresses"),
        (("--server", "a:1", "--wire", "fax"), "expected grpc, http or both"),
        (("--server", "a:1", "--wire", "both"), "needs the server's http address"),
        (("--server", "a:1", "--local"), "both --local and --server"),
        (("--server", "a:1", "--rule", "mars"), "expected one of sysu, market, none"),
        (("--server", "a:1", "--cmc", "pixel"), "expected one of identity, image"),
        (("--bundle", "fake"), "add --local"),
        (("--api-key", "a", "--api-key-file", "b"), "give one"),
    ],
)
def test_options_that_do_not_fit(people: Path, options: tuple[str, ...], words: str) -> None:
    _fails(_bench(people, *options, *QUICK), words)


def test_figures_that_cannot_be_written_are_shown_all_the_same(live: Any, people: Path) -> None:
    result = _bench(people, "--server", live.grpc, *QUICK, "--json", people / "nowhere" / "figures.json")
    _fails(result, "Rank-1 100.0%", "cannot be written", "[SETTINGS_INVALID]")
