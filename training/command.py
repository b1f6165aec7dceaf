"""``vireid train``: start a run of a method, or go on with one; list the recipes.

One subcommand for each method's settings. Torch is imported when a run starts, not to show help.
"""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training import compare_command, report_command
from training.method_settings import SETTINGS, MethodSettings
from training.settings import described, fitting, read, recipes
from vireid.errors import VireidError
from vireid.settings import parse_assignments

if TYPE_CHECKING:
    from training.stages import Stage

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Train a model.")

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Report = Annotated[bool, typer.Option(help="Write RUN/report.html at the end.")]


def _starting(method: str) -> Callable[..., None]:
    """Make the subcommand of a method."""
    usual = ", ".join(fitting(method)) or "none comes along"

    def start(
        data: Annotated[Path, typer.Option(help="The dataset's root folder.")],
        recipe: Annotated[
            str | None,
            typer.Option(
                help=f"A recipe ({usual}) or a TOML file. Left out: the first of these that begins with the dataset's "
                "name, or with synthetic for drawn data."
            ),
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Folder of the run, new or empty; runs/RECIPE if left out.")
        ] = None,
        name: Annotated[
            str | None, typer.Option(help="The dataset; found by the layout if left out.")
        ] = None,
        assign: Annotated[list[str] | None, typer.Option("--set", help="key=value over the recipe.")] = None,
        weights: Annotated[
            Path | None,
            typer.Option(
                "--init",
                help="Weights to start from (.safetensors): standard ones of the recipe's network, or a "
                "one-stream run's last.safetensors.",
            ),
        ] = None,
        source: Annotated[
            str | None,
            typer.Option(
                help="NAME=DIR: a labelled visible set that spcl, or otla's first stage, learns from besides."
            ),
        ] = None,
        stage1: Annotated[
            Path | None, typer.Option(help="A finished run to take an unsupervised otla's first labels from.")
        ] = None,
        device: Device = "auto",
        report: Report = True,
    ) -> None:
        overrides: dict[str, Any] = parse_assignments(assign or [])
        chosen = recipe or _usual(method, data, name)
        settings = read(chosen, overrides, method)
        from training import stages
        from training.order import Order, Source

        besides = None if source is None else Source.of(source)
        order = Order(settings, data, name, weights, besides, stage1, device)
        _train(stages.start(out or Path("runs") / Path(chosen).stem, order), report, weights)

    return start


def _usual(method: str, data: Path, name: str | None) -> str:
    """Name the recipe for a dataset: the one of just this name, or of several settings of a method the first."""
    from vireid.datasets.split import is_synthetic
    from vireid.datasets.verify import detect

    usual = f"{'synthetic' if is_synthetic(data) else name or detect(data)}-{method}"
    known = fitting(method)
    return usual if usual in known else next((each for each in known if each.startswith(usual)), usual)


def _help(settings: type[MethodSettings]) -> str:
    """Turn the docstring of a method's settings into help; its lines stay as they are."""
    first, _, rest = (inspect.getdoc(settings) or "").partition("\n")
    words = rest.strip().replace("Attributes:", "Settings, as --set method.KEY=VALUE:")
    # a paragraph that begins with \b is not filled anew
    return "\n\n".join([first, *("\b\n" + part for part in words.split("\n\n") if part)])


for _method, _settings in SETTINGS.items():
    app.command(_method, help=_help(_settings))(_starting(_method))


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    data: Annotated[Path | None, typer.Option(help="The dataset's root, if it moved.")] = None,
    device: Device = "auto",
    report: Report = True,
) -> None:
    """Go on with a run as if it had never stopped."""
    from training import stages

    _train(stages.resume(folder, data, device), report)


app.command("report")(report_command.report)
app.command("compare")(compare_command.compare)


@app.command(name="recipes")
def list_recipes() -> None:
    """List the recipes that come along, one line each."""
    widest = max(map(len, recipes()))
    for name, path in recipes().items():
        typer.echo(f"{name:{widest}}  {described(path)}")


def _train(stages: "Iterator[Stage]", report: bool, weights: Path | None = None) -> None:
    from training import ranks

    for stage in stages:
        if stage.banner and ranks.place() == 0:
            typer.echo(stage.banner)
        try:
            stage.started.loop.train()
        except KeyboardInterrupt:
            typer.echo(f"stopped after {stage.started.loop.epoch} whole epochs", err=True)
            if stage.started.loop.epoch or stage.banner:
                typer.echo(f"go on with: vireid train resume {stage.folder}", err=True)
            raise typer.Exit(130) from None
    is_first = ranks.place() == 0
    ranks.leave()
    if is_first:
        _tell(stage.folder)
        if report:
            _report(stage.folder, weights)


def _report(folder: Path, weights: Path | None) -> None:
    from training.report import write  # pictures: seconds

    try:
        typer.echo(f"report    {write(folder, weights=weights)}")
    except VireidError as error:  # what was trained is there, and can be reported later
        typer.echo(f"report    none: {error}", err=True)


def _tell(folder: Path) -> None:
    from training import checkpoint

    typer.echo(f"run       {folder}")
    for line in checkpoint.read_metrics(folder):
        scores = line.get("evaluation")
        if scores:
            label = "synthetic: " if scores["synthetic"] else ""
            means = ", ".join(f"{key} {value:.4f}" for key, value in scores["mean"].items())
            typer.echo(f"epoch {line['epoch']:<3} {means}  ({label}{scores['protocol']['words']})")
        if line.get("selected", {}).get("best"):
            chosen = line["selected"]
            typer.echo(f"          best {chosen['by']} so far, kept: {chosen['note']}")
    typer.echo(f"next      vireid export onnx {folder} --out model.bundle.zip")
