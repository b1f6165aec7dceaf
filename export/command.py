"""``vireid export``: a checkpoint to a proven bundle, a look into a bundle, and the making of the default one.

Looking into a bundle needs no torch: what needs it is imported when it is called.
"""

import pkgutil
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as typer_command

# name -> (where its app is, one line for --help): what needs torch, or much else
ON_DEMAND = {
    "onnx": ("export.onnx_command:app", "Write a training run as a proven bundle; add fp16 and bf16 to one."),
    "inspect": ("export.inspect_command:app", "Say what a bundle and its engines are, and what was proven."),
    "int8": ("export.eight_bits_command:int8", "Add an engine in eight bits, proven, to a bundle."),
    "fp8": ("export.eight_bits_command:fp8", "Add an FP8 graph for TensorRT to a bundle."),
    "tensorrt": ("export.tensorrt_command:app", "Build a TensorRT plan, prove it on the GPU that is here."),
    "openvino": ("export.openvino_command:app", "Add an OpenVINO engine, proven, to a bundle."),
    "parity": ("export.parity_command:app", "Hold a bundle's engines against its model again."),
    "default-bundle": (
        "export.default_bundle_command:app",
        "Make and measure the bundle that comes with vireid.",
    ),
}


class _Commands(TyperGroup):
    """The commands of this module, and what needs torch on demand."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands."""
        return [*ON_DEMAND, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, importing what needs torch only when it is called."""
        if cmd_name not in ON_DEMAND:
            return super().get_command(ctx, cmd_name)
        return typer_command(pkgutil.resolve_name(ON_DEMAND[cmd_name][0]))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing torch."""
        own = [(name, super(_Commands, self).get_command(ctx, name)) for name in super().list_commands(ctx)]
        rows = [(name, line) for name, (_, line) in ON_DEMAND.items()]
        rows += [(name, command.get_short_help_str(limit=80)) for name, command in own if command]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Turn a checkpoint into a proven bundle.",
)


@app.callback()
def root() -> None:
    """Turn a checkpoint into a proven bundle."""
