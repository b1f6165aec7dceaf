"""``vireid bench``: measure a server's accuracy and speed with a labelled dataset."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from clients import accuracy, bench_data, bench_table, benchmark, machine
from clients.base import DEFAULT_TIMEOUT_S
from clients.bench_data import BenchData
from clients.bench_target import GRPC, HTTP, Target, addresses_of, wires_of
from clients.benchmark import Plan
from clients.grpc_client import DEFAULT_ADDRESS
from clients.local_server import Started, local_server
from clients.options import key_of, one_of
from clients.stretch import Load
from vireid.errors import SettingsError, VireidError

FORMAT = 1
DEFAULT_CLIENTS = (1, 8)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def bench(
    root: Annotated[
        Path, typer.Argument(metavar="DATA", help="A labelled folder, or a dataset in its published layout.")
    ],
    server: Annotated[
        list[str] | None,
        typer.Option(help=f"host:port (gRPC) or http://host:port; give both for both; {DEFAULT_ADDRESS}."),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Start a server, measure it, end it.")] = False,
    bundle: Annotated[str, typer.Option(help="Of --local: 'default', 'fake', or a path.")] = "default",
    assign: Annotated[
        list[str] | None, typer.Option("--set", help="Of --local: key=value, any setting.")
    ] = None,
    wire: Annotated[str, typer.Option(help="grpc, http or both; those of --server, or grpc.")] = "",
    clients: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="Callers at once; repeatable; 1 and 8.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.05, help="How long calls of each kind are counted.")] = 5.0,
    warm_up_s: Annotated[float, typer.Option("--warm-up", min=0, help="Seconds before, uncounted.")] = 1.0,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Calls a second, open loop; without: as fast as answered.")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, max=1000, help="Hits of a timed search.")
    ] = 10,
    rule: Annotated[str, typer.Option(help="sysu, market or none; what the layout's papers use.")] = "",
    cmc: Annotated[str, typer.Option(help="identity or image; what the layout's papers use.")] = "",
    manifest: Annotated[Path | None, typer.Option(help="CSV with path,person,camera,modality,split.")] = None,
    gallery: Annotated[str, typer.Option("--gallery", "-g", help="Name of the gallery made for it.")] = "",
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds per call.")] = DEFAULT_TIMEOUT_S,
    api_key: Annotated[str, typer.Option(help="API key, if the server has one.")] = "",
    api_key_file: Annotated[Path | None, typer.Option(help="File whose first line is the API key.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Measure Rank-k, mAP, mINP, latency and throughput of a server, running or started here."""
    load = Load(seconds, warm_up_s, rate)
    callers = tuple(dict.fromkeys(clients or DEFAULT_CLIENTS))
    try:
        if local and server:
            raise SettingsError("both --local and --server were given; give one")
        if not local and (assign or bundle != "default"):
            raise SettingsError("--bundle and --set are for the server that --local starts; add --local")
        key = None if local else key_of(api_key, api_key_file)
        with _ended_in_order(), ExitStack() as held:
            data = held.enter_context(bench_data.opened(root, manifest))
            plan = Plan(
                clients=callers,
                load=load,
                top_k=top_k,
                rule=one_of(rule, accuracy.RULES, data.rule, "--rule"),
                cmc=one_of(cmc, accuracy.LEVELS, data.cmc, "--cmc"),
                gallery=gallery,
            )
            started: Started | None = None
            if local:
                wires = wires_of(wire or GRPC, {GRPC: "", HTTP: ""})
                started = held.enter_context(local_server(bundle, assign or ()))
                target = Target({GRPC: started.grpc, HTTP: started.http}, wires, None, timeout_s, local=True)
            else:
                addresses = addresses_of(server or [DEFAULT_ADDRESS])
                target = Target(addresses, wires_of(wire, addresses), key, timeout_s)
            figures = _figures(target, data, plan, started)
        typer.echo(bench_table.as_text(figures))
        if json_path is not None:
            _write(json_path, figures)
    except VireidError as error:
        typer.echo(f"vireid: {error.message} [{error.stable_reason}]", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(1 if _failed(figures) else 0)


def _figures(target: Target, data: BenchData, plan: Plan, started: Started | None) -> dict[str, Any]:
    """Measure, and say what was measured; the keys are told in docs/serving.md."""
    measured = benchmark.measure(target, data, plan, lambda words: typer.echo(f"vireid: {words}", err=True))
    answered_at = measured.pop("first_answer_at")
    server = {
        "local": target.local,
        "addresses": dict(target.addresses),
        "space_id": measured.pop("space_id"),
        "info": target.info(),
    }
    cold = {"ready_s": started.ready_s, "first_answer_s": answered_at - started.began} if started else None
    return {
        "format": FORMAT,
        "data": {
            "name": data.name,
            "layout": data.layout,
            "synthetic": data.synthetic,
            "queries": len(data.queries),
            "gallery": len(data.gallery),
            "persons": data.persons,
            "converted": data.converted,
        },
        "server": server,
        "machine": machine.describe(),
        "cold_start": cold,
        **measured,
    }


def _failed(figures: dict[str, Any]) -> bool:
    return bool(
        figures["enrol"]["refused"]
        or figures["accuracy"]["errors"]
        or any(each["errors"] for each in figures["speed"])
    )


def _write(path: Path, figures: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}; choose another --json") from error


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what runs as Ctrl-C does: with the gallery removed and the server gone."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
