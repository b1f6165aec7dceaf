"""The one command: light to start, clear when something is wrong."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vireid import command
from vireid.command import CATALOGUE, EXTRAS, app, main
from vireid.errors import GalleryNotFound

HEAVY = {"torch", "numpy", "onnxruntime", "faiss", "fastapi", "grpc", "PIL", "training"}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", [["--help"], ["nonsense"], ["--version"]])
def test_it_starts_without_anything_heavy(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['vireid', *{arguments!r}]\n"
        "from vireid.command import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", ["serve", "demo", "query", "evaluate", "doctor", "index"])
def test_production_commands_never_load_torch(name: str) -> None:
    module = CATALOGUE[name][0]
    code = f"import sys, {module}; print('torch' in sys.modules or 'training' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["query", "upload"])
def test_clients_never_load_numpy(name: str) -> None:
    code = f"import sys, {CATALOGUE[name][0]}; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_subcommand_has_help(name: str) -> None:
    module = CATALOGUE[name][0]
    if module.split(".")[0] in {"training", "export"} and importlib.util.find_spec("torch") is None:
        pytest.skip("needs the training extra")
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"{name} [OPTIONS]" in result.output
    assert "completion" not in result.output  # one style of help for all
    assert "╭" not in result.output


def test_help_lists_them_all() -> None:
    text = words(CliRunner().invoke(app, ["--help"]).output)
    for name, (_, line) in CATALOGUE.items():
        assert f"{name} {line}" in text


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("vireid 0.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("serv", "No such command 'serv'. Did you mean 'serve'?"),
        ("evalute", "Did you mean 'evaluate'?"),
        ("zzz", "There are: demo, serve, query,"),
    ],
)
def test_an_unknown_subcommand(typed: str, said: str) -> None:
    result = CliRunner().invoke(app, [typed])
    assert result.exit_code == 2
    assert said in words(result.output)


def run(monkeypatch: pytest.MonkeyPatch, body: object) -> int:
    """Run ``vireid doctor`` with another body; return the exit status."""
    single = command.typer.Typer()
    single.command()(body)  # type: ignore[type-var]
    fake = types.SimpleNamespace(app=single)
    monkeypatch.setattr(command.importlib, "import_module", lambda _name: fake)
    monkeypatch.setattr(sys, "argv", ["vireid", "doctor"])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_an_error_of_ours_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise GalleryNotFound("there is no gallery 'a'; create it first")

    assert run(monkeypatch, body) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "vireid: there is no gallery 'a'; create it first [GALLERY_NOT_FOUND]\n"


def test_errors_of_ours_that_came_in_a_group_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("inner", [GalleryNotFound("no gallery 'x'")])])

    assert run(monkeypatch, body) == 2
    assert capsys.readouterr().err == "vireid: no gallery 'x' [GALLERY_NOT_FOUND]\n"


def test_a_group_with_a_fault_in_it_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        raise ExceptionGroup("tasks", [GalleryNotFound("no gallery 'x'"), RuntimeError("a fault")])

    with pytest.raises(ExceptionGroup):
        run(monkeypatch, body)


def test_a_missing_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    assert run(monkeypatch, body) == 2
    assert "needs torch.nn, which is not installed; run: pip install 'vireid[training]' [MISSING_EXTRA]" in (
        capsys.readouterr().err
    )


def test_other_errors_are_faults_and_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        run(monkeypatch, body)


def test_every_named_extra_exists(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
