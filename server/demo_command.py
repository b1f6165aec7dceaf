"""``vireid demo``: the product, running, over a gallery of drawn people.

Draws people by day and by night, enrols them, keeps some night crops aside as queries, and serves. Nothing of it is
evidence of accuracy on real people.
"""

import asyncio
import json
import re
import shutil
import socket
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from server import logs
from server.answers import ImageQuery
from server.app import Server, run
from server.service import RetrievalService
from server.settings import PREFIX, ServerSettings
from vireid import bundle as bundles
from vireid import progress
from vireid import settings as loader
from vireid.datasets.synthetic.draw import Crop, crops_in, draw_crops
from vireid.datasets.synthetic.presets import preset
from vireid.engines.fake import FakeEngine
from vireid.errors import SettingsError, StorageError
from vireid.types import Filter, ItemMeta, Modality

app = typer.Typer(add_completion=False, rich_markup_mode=None)

GALLERY = "demo"
PRESET = "sysu-like"
IMAGES = 2
SEED = 77
MARKER = "demo.json"
HTTP_PORT, GRPC_PORT = 8080, 50051
AT_ONCE = 8
PAGE = 1000
OURS = re.compile(r"P\d{3,}-(day|night)-camera\d-\d+")
DAY = datetime(2026, 5, 4, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A drawn crop and what the demo says of it."""

    item_id: str
    data: bytes
    modality: Modality
    meta: ItemMeta
    kept_aside: bool


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Folder of the demo; drawn once, reused afterwards.")] = Path(
        "demo-data"
    ),
    people: Annotated[int, typer.Option(min=2, max=500, help="How many people to draw.")] = 36,
    http_port: Annotated[int | None, typer.Option(help="8080, or any free one if that is taken.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="50051, or any free one if that is taken.")] = None,
    bundle: Annotated[str, typer.Option(help="'default', 'fake', or the path of a bundle.")] = "default",
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
) -> None:
    """Serve a drawn gallery: open the page, drop a night crop, see the person by day."""
    crops = _crops(data, people, workers)
    settings = loader.load(
        ServerSettings,
        prefix=PREFIX,
        overrides={
            "bundle": bundle,
            "data": data / "galleries" / _space(bundle)[:16],
            "http_port": _port(HTTP_PORT) if http_port is None else http_port,
            "grpc_port": _port(GRPC_PORT) if grpc_port is None else grpc_port,
            "log_level": "warning",
        },
    )
    logs.configure(settings.log_level, settings.log_json)
    run(_serve(settings, crops, data / "queries"))


async def _serve(settings: ServerSettings, crops: Sequence[_Drawn], queries: Path) -> None:
    server = Server(settings)
    await _enrol(server.service, [crop for crop in crops if not crop.kept_aside])

    async def tell(running: Server) -> None:
        _tell(running, crops, queries)

    await server.run(tell)


def _tell(running: Server, crops: Sequence[_Drawn], queries: Path) -> None:
    asked = next(crop for crop in crops if crop.kept_aside)
    query = queries / f"{asked.item_id}.jpg"
    enrolled = sum(not crop.kept_aside for crop in crops)
    people = len({crop.meta.person for crop in crops})
    http = running.http_address
    address = f"{http}/v1/galleries/{GALLERY}/search?top_k=5&modalities=visible"
    shown = sys.argv[0] if "/" in sys.argv[0] else "vireid"
    typer.echo("")
    typer.echo(
        f"Gallery '{GALLERY}': {enrolled} drawn crops of {people} people. Night crops to ask with: {queries}/"
    )
    typer.echo("The page:")
    typer.echo(http)
    typer.echo("The same by HTTP and by gRPC:")
    typer.echo(f"curl -s --data-binary @{query} '{address}'")
    typer.echo(f"{shown} query {query} --gallery {GALLERY} --server {running.grpc_address} --find visible")
    typer.echo("Ctrl-C ends it.")


async def _enrol(service: RetrievalService, crops: Sequence[_Drawn]) -> None:
    known = {info.name: info for info in await service.list_galleries()}
    if GALLERY in known and known[GALLERY].state != "ready":
        raise StorageError(f"the demo's gallery cannot be opened: {known[GALLERY].detail}")
    if GALLERY not in known:
        await service.create_gallery(GALLERY)
    await _forget_others(service, {crop.item_id for crop in crops})
    room = asyncio.Semaphore(AT_ONCE)
    with progress.bar("enrolling", total=len(crops)) as advance:

        async def put(crop: _Drawn) -> None:
            async with room:
                query = ImageQuery(crop.data, crop.modality)
                await service.put_item(GALLERY, crop.item_id, query, crop.meta)
                advance(1)

        async with asyncio.TaskGroup() as group:
            for crop in crops:
                group.create_task(put(crop))


async def _forget_others(service: RetrievalService, wanted: Set[str]) -> None:
    """Take crops of an earlier drawing out of the gallery; what somebody added stays."""
    others, cursor = [], ""
    while True:
        items, cursor = await service.list_items(GALLERY, Filter(), PAGE, cursor)
        others += [one.item_id for one in items if OURS.fullmatch(one.item_id) and one.item_id not in wanted]
        if not cursor:
            break
    if others:
        await service.delete_items(GALLERY, others, None, dry_run=False)


def _crops(folder: Path, people: int, workers: int) -> list[_Drawn]:
    """Draw the crops, or read those of an earlier run with the same numbers; galleries are left alone.

    Raises:
        SettingsError: the folder is not that of a demo.
    """
    wanted = {"preset": PRESET, "people": people, "images": IMAGES, "seed": SEED, "form": 1}
    marker, drawn = folder / MARKER, folder / "crops"
    if folder.exists() and not marker.is_file() and any(folder.iterdir()):
        raise SettingsError(
            f"{folder} holds something else than a demo; choose a folder that is empty or does not exist with --data"
        )
    if not (marker.is_file() and json.loads(marker.read_text()) == wanted):
        folder.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({"drawing": True}))  # whose folder this is, even if drawing is cut short
        for old in (drawn, folder / "queries"):
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir()
        with progress.bar("drawing", total=crops_in(preset(PRESET), people, IMAGES)) as advance:
            for crop in draw_crops(PRESET, people, IMAGES, seed=SEED, workers=workers):
                described = _describe(crop)
                place = folder / "queries" if described.kept_aside else drawn
                (place / f"{described.item_id}.jpg").write_bytes(crop.jpeg)
                advance(1)
        marker.write_text(json.dumps(wanted))
    names = [*sorted((folder / "queries").iterdir()), *sorted(drawn.iterdir())]
    return [_read(path) for path in names]


def _space(bundle: str) -> str:
    """Name the embedding space: each has galleries of its own, so that no other model finds them."""
    if bundle == "fake":
        return FakeEngine().space_id
    return bundles.open_named(bundle).space_id


def _describe(crop: Crop) -> _Drawn:
    word = "day" if crop.modality is Modality.VISIBLE else "night"
    item_id = f"P{crop.person:03d}-{word}-camera{crop.camera}-{crop.shot}"
    return _of(item_id, crop.jpeg)


def _read(path: Path) -> _Drawn:
    return _of(path.stem, path.read_bytes())


def _of(item_id: str, data: bytes) -> _Drawn:
    person, word, camera, shot = item_id.split("-")
    night = word == "night"
    random = np.random.default_rng([SEED, int(person[1:]), int(camera[-1]), int(shot)])
    # by day between 8 and 18 o'clock, by night between 20 and 5
    hours = float(random.uniform(20, 29) if night else random.uniform(8, 18))
    moment = DAY + timedelta(days=int(random.integers(0, 3)), hours=hours)
    meta = ItemMeta(
        person=person,
        camera=camera.removeprefix("camera"),
        captured_at=moment.replace(second=0, microsecond=0),
    )
    modality = Modality.INFRARED if night else Modality.VISIBLE
    return _Drawn(item_id, data, modality, meta, kept_aside=night and shot == "2")


def _port(usual: int) -> int:
    """Return the usual port, or 0 (any free one) if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", usual))
        except OSError:
            return 0
    return usual
