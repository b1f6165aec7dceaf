"""Upload and query, from their options to what they print, against a running server."""

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clients.query_command import app as query
from clients.upload_command import app as upload
from vireid.errors import GalleryNotFound, SettingsError, Unauthenticated


def _invoke(app: Any, *arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


def test_upload_then_query(live: Any, people: Path, name: str, tmp_path: Path) -> None:
    first = _invoke(upload, people, "--gallery", name, "--server", live.http)
    assert first.exit_code == 0, first.output
    assert f"{name}: 12 created, 0 replaced, 0 unchanged, 0 refused" in first.output
    assert "uploading: 12/12" in first.output
    again = _invoke(upload, people, "--gallery", name, "--server", live.http)
    assert "0 created, 0 replaced, 12 unchanged" in again.output

    image = people / "infrared" / "p2" / "c3_0.jpg"
    options = (image, "--gallery", name, "--server", live.grpc, "--modality", "infrared")
    table = _invoke(query, *options, "--find", "visible", "--top-k", 3)
    assert table.exit_code == 0
    header, *rows = table.output.strip().splitlines()[-4:]
    assert header.split() == ["rank", "score", "person", "camera", "modality", "captured", "item"]
    assert [row.split()[2] for row in rows[:2]] == ["p2", "p2"]
    assert "from 8 of 12 items" in table.output

    found = json.loads(_invoke(query, *options, "--camera", "c2", "--json").output)
    assert {hit["camera"] for hit in found["hits"]} == {"c2"}
    assert found["items_searched"] == 4
    assert found["hits"][0]["person"] == "p2"


def test_upload_says_that_nothing_tells_who_is_who(
    live: Any, people: Path, name: str, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "1.jpg").write_bytes((people / "infrared" / "p2" / "c3_0.jpg").read_bytes())
    told = _invoke(upload, bare, "--gallery", name, "--server", live.http)
    assert told.exit_code == 0
    assert "nothing tells who is on these images" in told.output
    told = _invoke(upload, people, "--gallery", name, "--server", live.http)
    assert "nothing tells" not in told.output


def test_upload_names_what_was_refused(live: Any, people: Path, name: str) -> None:
    (people / "visible" / "p1" / "c1_broken.jpg").write_bytes(b"no picture")
    result = _invoke(upload, people, "--gallery", name, "--server", live.http)
    assert result.exit_code == 1
    assert "12 created" in result.output
    assert "visible/p1/c1_broken.jpg" in result.output
    assert "[NOT_AN_IMAGE]" in result.output


def test_upload_of_an_archive(live: Any, people: Path, name: str, tmp_path: Path) -> None:

    archive = Path(shutil.make_archive(str(tmp_path / "people"), "zip", people))
    result = _invoke(upload, archive, "--gallery", name, "--server", live.http)
    assert result.exit_code == 0, result.output
    assert "succeeded, 12 created" in result.output


def test_upload_with_a_manifest_elsewhere(live: Any, people: Path, name: str, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,person,item_id\nvisible/p0/c1_0.jpg,Ann,front-door\n")
    result = _invoke(
        upload, people, "--gallery", name, "--server", live.http, "--manifest", manifest, "--parallel", 1
    )
    assert "1 created" in result.output
    caller = live.connect("grpc")
    assert caller("get_item", name, "front-door").meta.person == "Ann"
    caller.close()


def test_several_images_are_one_query_and_hits_steer_it(live: Any, people: Path, name: str) -> None:
    assert _invoke(upload, people, "--gallery", name, "--server", live.http).exit_code == 0
    images = [people / "infrared" / "p2" / "c3_0.jpg", people / "visible" / "p1" / "c1_0.jpg"]
    where = ("--gallery", name, "--server", live.grpc, "--json", "--top-k", 12)
    caller = live.connect("http")

    def same(*options: Any, **asked: Any) -> None:
        """The command finds what the client finds over the other wire."""
        result = _invoke(query, *options, *where)
        assert result.exit_code == 0, result.output
        reply = caller("search", name, images[0], top_k=12, **asked)
        shown = [(hit["item_id"], hit["score"]) for hit in json.loads(result.output)["hits"]]
        assert [item for item, _ in shown] == [hit.item.item_id for hit in reply.hits]
        assert [score for _, score in shown] == pytest.approx([hit.score for hit in reply.hits], abs=1e-6)
        told.add(tuple(shown))

    told: set[Any] = set()
    same(images[0])
    same(*images, together=images[1:])
    same(*images, "--weight", 1, "--weight", 5, together=images[1:], weights=(1, 5))
    same(*images, "--together", "best", together=images[1:], best=True)
    liked, disliked = ("--more-like", "visible/p1/c1_0.jpg"), ("--less-like", "visible/p2/c1_0.jpg")
    examples = {"more_like": ["visible/p1/c1_0.jpg"], "less_like": ["visible/p2/c1_0.jpg"]}
    same(images[0], *liked, *disliked, **examples)
    caller.close()
    assert len(told) == 5  # no option is without effect
    assert len(min(told, key=len)) == 11  # who is not looked for is left out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--together", "quality"), "--together is 'quality'; expected one of mean, best"),
        (("--weight", 1), "--weight was given for 1 image and there are 2"),
    ],
)
def test_options_of_several_images(people: Path, options: tuple[Any, ...], said: str) -> None:
    images = [people / "visible" / "p1" / "c1_0.jpg"] * 2
    refused = _invoke(query, *images, "--gallery", "g", *options)
    assert isinstance(refused.exception, SettingsError)
    assert said in refused.exception.message


def test_errors_leave_as_errors(live: Any, people: Path) -> None:
    image = people / "infrared" / "p2" / "c3_0.jpg"
    unknown = _invoke(query, image, "--gallery", "nobody", "--server", live.grpc)
    assert isinstance(unknown.exception, GalleryNotFound)
    wrong = _invoke(query, image, "--gallery", "g", "--modality", "thermal")
    assert isinstance(wrong.exception, SettingsError)


def test_a_key_from_a_file(start: Any, people: Path, tmp_path: Path, name: str) -> None:
    key = tmp_path / "key"
    key.write_text("a-key-of-some-length\n")
    with start(key="a-key-of-some-length") as server:
        common = ("--gallery", name, "--api-key-file", key)
        assert _invoke(upload, people, *common, "--server", server.http).exit_code == 0
        image = people / "visible" / "p1" / "c1_0.jpg"
        assert "p1" in _invoke(query, image, *common, "--server", server.grpc).output
        keyless = (upload, people, "--server", server.http), (query, image, "--server", server.grpc)
        for command, what, *where in keyless:
            refused = _invoke(command, what, "--gallery", name, *where).exception
            assert isinstance(refused, Unauthenticated)
            assert "--api-key-file FILE" in refused.message
    both = _invoke(query, image, *common, "--api-key", "x")
    assert isinstance(both.exception, SettingsError)
    key.write_text("\n")
    assert isinstance(_invoke(query, image, *common).exception, SettingsError)
