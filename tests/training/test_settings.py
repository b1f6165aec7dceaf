"""Recipes: those that come along, and wrong ones."""

from pathlib import Path

import pytest

from training import methods, models
from training.method_settings import SETTINGS
from training.settings import described, fitting, read, recipes
from vireid.errors import SettingsError


def test_every_recipe_that_comes_along_names_what_exists() -> None:
    for method in SETTINGS:
        assert fitting(method), method
    for name, path in recipes().items():
        wanted = read(name)
        assert name in fitting(wanted.method.name)
        assert described(path)
        assert wanted.model.name in models.MODELS
        assert wanted.method.name in methods.METHODS
        assert wanted.schedule.warmup_epochs < wanted.epochs
    assert read("sysu-mm01-supervised").model.height == 288


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\n[data]\npersons = 4\n")
    found = read(str(path), {"data.persons": 6})
    assert (found.epochs, found.data.persons) == (3, 6)


@pytest.mark.parametrize(
    ("recipe", "overrides", "said"),
    [
        ("synthetic-dcl", {"model.stripes": 3}, "stripes=3 is of a network with twin tails"),
        ("synthetic-dcl", {"model.stripe_dim": 64}, "stripe_dim=64 is of a network with twin tails"),
        ("synthetic-supervised", {"epoch": 3}, "epochs"),
        ("synthetic-supervised", {"optimiser.rates": 3}, r"optimiser\.rate"),
        ("synthetic-supervised", {"epochs": 0}, "epochs"),
        ("nothing", {}, "there is no recipe 'nothing', and no such file; near it: none"),
        ("synthetic-multi", {}, "no recipe 'synthetic-multi', and no such file; near it: synthetic-mult, "),
    ],
)
def test_wrong_recipes(recipe: str, overrides: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(recipe, overrides)


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("epochs = ")
    with pytest.raises(SettingsError):
        read(str(tmp_path / "bad.toml"))
    (tmp_path / "odd.toml").write_text("[model]\nwidht = 0.5\n")
    with pytest.raises(SettingsError, match=r"model\.width"):
        read(str(tmp_path / "odd.toml"))
