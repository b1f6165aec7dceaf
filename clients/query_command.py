"""``vireid query``: search a running server by an image and print the ranked hits."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clients.base import DEFAULT_TIMEOUT_S
from clients.grpc_client import DEFAULT_ADDRESS, GrpcClient
from clients.options import AUTO, key_of, modality_of, one_of
from clients.replies import SearchReply
from vireid.counted import counted
from vireid.errors import SettingsError
from vireid.types import Filter, Hit

MEAN, BEST = "mean", "best"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def query(
    images: Annotated[
        list[Path], typer.Argument(help="JPEG, PNG or WebP pictures of one person; several are one query.")
    ],
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Where to look.")],
    server: Annotated[str, typer.Option(help="host:port of the server's gRPC port.")] = DEFAULT_ADDRESS,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Hits at most.")] = 10,
    modality: Annotated[str, typer.Option(help="auto, visible or infrared.")] = AUTO,
    camera: Annotated[list[str] | None, typer.Option(help="Only this camera; repeatable.")] = None,
    person: Annotated[list[str] | None, typer.Option(help="Only this person; repeatable.")] = None,
    found_in: Annotated[
        str, typer.Option("--find", help="Only hits of this modality: visible, infrared or auto for both.")
    ] = AUTO,
    min_score: Annotated[float | None, typer.Option(help="Leave out hits below this cosine.")] = None,
    min_probability: Annotated[
        float | None, typer.Option(help="Leave out hits less likely than this; for a calibrated bundle.")
    ] = None,
    rerank: Annotated[
        int, typer.Option(help="Re-rank so many of the best by k-reciprocal neighbours; 0 for none.")
    ] = 0,
    by: Annotated[
        str,
        typer.Option(
            "--together", help="Several images: search with their 'mean', or count each item's 'best' score."
        ),
    ] = MEAN,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="What an image counts for in the mean, say its quality; once for each, in order."),
    ] = None,
    more_like: Annotated[
        list[str] | None, typer.Option(help="An item that shows the person: look that way too; repeatable.")
    ] = None,
    less_like: Annotated[
        list[str] | None,
        typer.Option(help="An item that shows somebody else: look away from it, leave it out; repeatable."),
    ] = None,
    one_per_person: Annotated[
        bool, typer.Option("--one-per-person", help="Of each person the best hit only.")
    ] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait.")] = DEFAULT_TIMEOUT_S,
    api_key: Annotated[str, typer.Option(help="API key, if the server has one.")] = "",
    api_key_file: Annotated[Path | None, typer.Option(help="File whose first line is the API key.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the same person in a gallery of a running server, over gRPC.

    Several images of the person, as of one walk past a camera, are one query. Hits that were judged by eye steer the
    next search: name them with --more-like and --less-like.
    """
    one_of(by, (MEAN, BEST), MEAN, "--together")
    first, *others = images
    if weight and len(weight) != len(images):
        raise SettingsError(
            f"--weight was given for {counted(len(weight), 'image')} and there are {len(images)}; give one for each, or none"
        )
    wanted = modality_of(found_in, "--find")
    where = Filter(
        cameras=tuple(camera or ()),
        persons=tuple(person or ()),
        modalities=() if wanted is None else (wanted,),
    )
    with GrpcClient(server, api_key=key_of(api_key, api_key_file), timeout_s=timeout_s) as client:
        reply = client.search(
            gallery,
            first,
            top_k=top_k,
            modality=modality_of(modality),
            where=where,
            min_score=min_score,
            min_probability=min_probability,
            rerank=rerank,
            one_per_person=one_per_person,
            more_like=more_like or (),
            less_like=less_like or (),
            together=others,
            weights=weight or (),
            best=bool(others) and by == BEST,
        )
    typer.echo(as_document(reply) if as_json else as_table(reply))


def as_document(reply: SearchReply) -> str:
    """Write a reply as JSON."""
    document = {
        "hits": [_row_of(hit) for hit in reply.hits],
        "modality": reply.modality.word,
        "modality_confidence": reply.confidence,
        "warnings": [asdict(warning) for warning in reply.warnings],
        "items_total": reply.items_total,
        "items_searched": reply.items_searched,
        "exact": reply.exact,
        "space_id": reply.space_id,
        "gallery_version": reply.gallery_version,
        "centring": reply.centring,
        "timing": asdict(reply.timing),
    }
    return json.dumps(document, indent=2)


def as_table(reply: SearchReply) -> str:
    """Write a reply for people: a line about the search, then one line per hit, best first."""
    sure = "" if reply.confidence >= 1 else f" ({reply.confidence:.0%} sure)"
    summary = (
        f"{reply.modality.word} query{sure}, {counted(len(reply.hits), 'hit')} from {reply.items_searched} of "
        f"{counted(reply.items_total, 'item')}, {reply.timing.total_s * 1e3:.1f} ms at the server"
    )
    notes = [f"note: {warning.message} [{warning.code}]" for warning in reply.warnings]
    if not reply.hits:
        return "\n".join([summary, *notes, "no hit"])
    head = ("rank", "score", "likely", "person", "camera", "modality", "captured", "item")
    rows = [head, *(_cells(hit) for hit in reply.hits)]
    if all(hit.probability is None for hit in reply.hits):
        rows = [(*row[:2], *row[3:]) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([summary, *notes, "", *lines])


def _cells(hit: Hit) -> tuple[str, ...]:
    meta = hit.item.meta
    captured = "-" if meta.captured_at is None else meta.captured_at.strftime("%Y-%m-%d %H:%M:%SZ")
    return (
        str(hit.rank),
        f"{hit.score:.4f}",
        "-" if hit.probability is None else f"{hit.probability:.0%}",
        meta.person or "-",
        meta.camera or "-",
        hit.item.modality.word,
        captured,
        hit.item.item_id,
    )


def _row_of(hit: Hit) -> dict[str, object]:
    meta = hit.item.meta
    return {
        "rank": hit.rank,
        "score": hit.score,
        "probability": hit.probability,
        "item_id": hit.item.item_id,
        "person": meta.person,
        "camera": meta.camera,
        "modality": hit.item.modality.word,
        "captured_at": None if meta.captured_at is None else meta.captured_at.isoformat(),
        "attributes": dict(meta.attributes),
    }
