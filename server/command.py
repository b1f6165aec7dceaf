"""``vireid serve``: a bundle and its galleries over HTTP and gRPC."""

from pathlib import Path
from typing import Annotated, Any

import typer

from server import logs
from server.app import Server, run
from server.settings import PREFIX, ServerSettings
from vireid import settings as loader

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    bundle: Annotated[str | None, typer.Option(help="'default', 'fake', or the path of a bundle.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the galleries.")] = None,
    host: Annotated[str | None, typer.Option(help="Address; beyond loopback a key is needed.")] = None,
    http_port: Annotated[int | None, typer.Option(help="0 takes any free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes any free one.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda; never a silent fallback.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto: the fastest that is proven; or a name: onnxruntime-int8, ...")
    ] = None,
    allow_unproven: Annotated[
        bool | None, typer.Option("--allow-unproven", help="Serve an engine without a passing parity report.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Embedding threads; 0: one a core.")] = None,
    insecure_no_auth: Annotated[
        bool | None, typer.Option("--insecure-no-auth", help="Listen beyond loopback without a key.")
    ] = None,
    assign: Annotated[list[str] | None, typer.Option("--set", help="key=value, any setting.")] = None,
) -> None:
    """Serve a bundle and its galleries over HTTP and gRPC."""
    flags: dict[str, Any] = {
        "bundle": bundle,
        "data": data,
        "host": host,
        "http_port": http_port,
        "grpc_port": grpc_port,
        "device": device,
        "engine": engine,
        "allow_unproven": allow_unproven,
        "workers": workers,
        "insecure_no_auth": insecure_no_auth,
        **loader.parse_assignments(assign or []),
    }
    settings = loader.load(ServerSettings, file=config, prefix=PREFIX, overrides=flags)
    logs.configure(settings.log_level, settings.log_json)
    run(_serve(settings))


async def _serve(settings: ServerSettings) -> None:
    server = Server(settings)

    async def tell(running: Server) -> None:
        info = running.service.info()
        typer.echo(f"model    {info['model']['name']}, engine {info['engine']['name']}")
        typer.echo(f"gRPC     {running.grpc_address}")
        typer.echo(running.http_address)

    await server.run(tell)
