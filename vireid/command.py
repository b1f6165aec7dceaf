"""The one command ``vireid``: a catalogue of subcommands, each imported only when it is called.

So ``vireid serve`` never imports torch, and ``vireid --help`` imports nothing heavy. Knows the names of the
modules that hold the subcommands, not the modules.
"""

import difflib
import importlib
import importlib.metadata
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command as typer_command

from vireid.errors import VireidError

# name -> (module that holds `app`, one line for --help)
CATALOGUE: dict[str, tuple[str, str]] = {
    "demo": ("server.demo_command", "Serve a drawn gallery: the product, running, in one command."),
    "serve": ("server.command", "Serve a bundle and its galleries over HTTP and gRPC."),
    "query": ("clients.query_command", "Search a running server by image, over gRPC."),
    "upload": ("clients.upload_command", "Upload a folder into a gallery of a running server."),
    "bench": ("clients.bench_command", "Measure accuracy and speed over a labelled folder."),
    "data": ("vireid.datasets.command", "Draw, verify and describe datasets."),
    "evaluate": ("vireid.evaluation.command", "CMC, mAP and mINP of a bundle on a dataset."),
    "index": ("index.command", "Build, inspect and search a gallery folder."),
    "train": ("training.command", "Train a model."),
    "export": ("export.command", "Turn a checkpoint into a proven bundle."),
    "doctor": ("vireid.engines.command", "Say what this machine can run, and test it."),
}

# what a missing import means: top-level module -> the extra that brings it
EXTRAS: dict[str, str] = {
    "torch": "training",
    "onnx": "export",
    "onnxscript": "export",
    "scipy": "synthetic",
    "sklearn": "evaluation",
    "matplotlib": "evaluation",
    "jinja2": "evaluation",
}


class LazyGroup(TyperGroup):
    """A command group that imports a subcommand's module only when it is needed."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Name the subcommands in the catalogue's order."""
        return list(CATALOGUE)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """Import and return one subcommand, or None if there is none of that name."""
        if cmd_name not in CATALOGUE:
            return None
        module, _ = CATALOGUE[cmd_name]
        return typer_command(importlib.import_module(module).app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a subcommand; a word that names none is told the nearest that does."""
        if args and not args[0].startswith("-") and args[0] not in CATALOGUE:
            near = difflib.get_close_matches(args[0], CATALOGUE, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(CATALOGUE)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in CATALOGUE.items()])


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Find the same person by day and by night.",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vireid {importlib.metadata.version('vireid')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version and end."),
    ] = False,
) -> None:
    """Find the same person by day and by night."""


def _first(group: BaseExceptionGroup[VireidError]) -> VireidError:
    """Return the first error of a group, however deep; of tasks that failed together it stands for all."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _end(error: VireidError) -> NoReturn:
    typer.echo(f"vireid: {error.message} [{error.stable_reason}]", err=True)
    sys.exit(2)


def main() -> None:
    """Run the command; a vireid error ends it with one clear line and status 2."""
    try:
        app()
    except VireidError as error:
        _end(error)
    except BaseExceptionGroup as group:
        ours, others = group.split(VireidError)
        if ours is None or others is not None:
            raise
        _end(_first(ours))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        typer.echo(
            f"vireid: this command needs {error.name}, which is not installed; "
            f"run: pip install 'vireid[{extra}]' [MISSING_EXTRA]",
            err=True,
        )
        sys.exit(2)
