"""``vireid bench``: measure a running server's accuracy and speed over a labelled folder."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from clients import benchmark, folder
from clients.base import DEFAULT_TIMEOUT_S, Client
from clients.benchmark import Asked, Load
from clients.connect import connect
from clients.grpc_client import DEFAULT_ADDRESS
from clients.options import key_of
from clients.retry import NEVER
from clients.upload import UploadReport, upload
from vireid import progress
from vireid.errors import GalleryExists
from vireid.image_folder import Entry

SYNTHETIC_MARKER = "synthetic.json"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def bench(
    root: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A labelled folder: see vireid data --help.")
    ],
    server: Annotated[str, typer.Option(help="host:port (gRPC) or http://host:port.")] = DEFAULT_ADDRESS,
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Gallery to fill; its own if empty.")] = "",
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Callers at once.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each query is asked.")] = 1,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Queries a second, open loop; without: as fast as answered."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", help="Hits asked for; all, at most 1000.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the gallery there afterwards.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds per call.")] = DEFAULT_TIMEOUT_S,
    api_key: Annotated[str, typer.Option(help="API key, if the server has one.")] = "",
    api_key_file: Annotated[Path | None, typer.Option(help="File whose first line is the API key.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Enrol the gallery part of a labelled folder, ask with its queries, report Rank-k, mAP and latency."""
    queries, found = folder.read_labelled(root)
    name = gallery or gallery_name(root)
    load = Load(concurrency=concurrency, rounds=rounds, rate=rate)
    depth = min(top_k or len(found), benchmark.MOST_HITS)
    key = key_of(api_key, api_key_file)
    with connect(server, api_key=key, timeout_s=timeout_s) as client:
        made = make_gallery(client, name)
        try:
            with progress.bar("enrolling", total=len(found)) as advance:
                enrolled = upload(client, name, found, advance=advance)
            # while measuring, an error is an outcome and not a reason to wait
            with (
                connect(server, api_key=key, timeout_s=timeout_s, retry=NEVER) as asking,
                progress.bar("asking", total=len(queries) * rounds) as advance,
            ):
                asked, took_s = benchmark.ask(asking, name, queries, depth, load, advance)
        finally:
            if made and not keep:
                client.delete_gallery(name)
    figures = figures_of(queries, found, enrolled, asked, took_s, load, depth)
    figures |= {"folder": root.name, "server": server, "synthetic": (root / SYNTHETIC_MARKER).is_file()}
    typer.echo(as_text(figures))
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(1 if figures["errors"] or enrolled.failures else 0)


def gallery_name(root: Path) -> str:
    """Name a gallery after the folder's place, so that two benchmarks do not share one."""
    return f"bench-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]}"


def make_gallery(client: Client, name: str) -> bool:
    """Make the gallery; whether it was not there before."""
    try:
        client.create_gallery(name, store_images=False)
    except GalleryExists:
        return False
    return True


def figures_of(
    queries: tuple[Entry, ...],
    found: tuple[Entry, ...],
    enrolled: UploadReport,
    asked: list[Asked],
    took_s: float,
    load: Load,
    depth: int,
) -> dict[str, Any]:
    """Gather what was measured."""
    answered = sum(outcome.reply is not None for outcome in asked)
    return {
        "queries": len(queries),
        "gallery": len(found),
        "enrolled": {
            "created": enrolled.created,
            "replaced": enrolled.replaced,
            "unchanged": enrolled.unchanged,
            "refused": [asdict(failure) for failure in enrolled.failures],
        },
        "load": asdict(load) | {"mode": "closed" if load.rate is None else "open"},
        "answered": answered,
        "seconds": took_s,
        "queries_per_s": answered / took_s,
        "latency_ms": benchmark.latency_ms(asked),
        "server_stages_ms": benchmark.stages_ms(asked),
        "errors": dict(Counter(outcome.reason for outcome in asked if outcome.reply is None)),
        "accuracy": asdict(benchmark.accuracy(queries, found, asked[: len(queries)], depth)),
    }


def as_text(figures: dict[str, Any]) -> str:
    """Write the figures for people."""
    scored, load = figures["accuracy"], figures["load"]
    drawn = " (drawn people, not real ones)" if figures["synthetic"] else ""
    pace = "closed loop" if load["rate"] is None else f"open loop at {load['rate']:g}/s"
    exact = (
        ""
        if scored["complete"]
        else f" (a lower bound: {scored['depth']} hits of {figures['gallery']} items)"
    )
    ranks = "  ".join(f"Rank-{k} {share:.1%}" for k, share in scored["rank"].items())
    lines = [
        f"{figures['folder']}{drawn}: {scored['queries']} queries scored against {figures['gallery']} images",
        f"accuracy    {ranks}  mAP {scored['mean_ap']:.1%}{exact}",
        f"throughput  {figures['queries_per_s']:.1f} queries/s with {load['concurrency']} callers, {pace}",
    ]
    if figures["latency_ms"]:
        times = figures["latency_ms"]
        lines.append(
            "latency     " + "  ".join(f"{k} {times[k]:.1f} ms" for k in ("p50", "p95", "p99", "max"))
        )
        stages = figures["server_stages_ms"]
        lines.append("server      " + "  ".join(f"{name} {ms:.1f} ms" for name, ms in stages.items()))
    lines += [f"failed      {count} queries: {reason}" for reason, count in figures["errors"].items()]
    refused = figures["enrolled"]["refused"]
    lines += [f"refused     {each['item_id']}: {each['message']} [{each['reason']}]" for each in refused[:20]]
    return "\n".join(lines)
