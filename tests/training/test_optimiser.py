"""Who learns at which rate."""

import pytest
import torch
from torch import nn

from training import models, optimiser, schedule
from training.settings import OptimiserSettings, RunSettings, ScheduleSettings


@pytest.fixture
def modules(tiny: RunSettings) -> nn.ModuleDict:
    network = models.build(tiny.model)
    return nn.ModuleDict(
        {"model": network, "classifier": nn.Linear(network.dim, 3), "trunk": nn.Linear(2, 2)}
    )


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_trunk_and_stems_have_their_share_and_all_else_the_rate(modules: nn.ModuleDict, name: str) -> None:
    made = optimiser.build(modules, OptimiserSettings(name=name, rate=2.0, trunk_share=0.1))  # type: ignore[arg-type]
    optimiser.set_rate(made, 0.5)
    rates = {id(each): group["lr"] for group in made.param_groups for each in group["params"]}
    for word, parameter in modules.named_parameters():
        if not parameter.requires_grad:
            assert id(parameter) not in rates
            continue
        slow = word.startswith(("model.trunk.", "model.visible_stem.", "model.infrared_stem."))
        assert rates[id(parameter)] == pytest.approx(0.05 if slow else 0.5), word
    assert {
        name.split(".")[1] for name, _ in modules.named_parameters() if not optimiser.pretrained(name)
    } >= {"neck"}


def test_a_trunk_without_a_rate_stays(modules: nn.ModuleDict) -> None:
    made = optimiser.build(modules, OptimiserSettings(name="sgd", trunk_share=0.0, weight_decay=0.1))
    before = {name: value.clone() for name, value in modules.state_dict().items()}
    optimiser.set_rate(made, 0.1)
    for parameter in modules.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    for name, value in modules.named_parameters():
        assert torch.equal(value, before[name]) == (optimiser.pretrained(name) or not value.requires_grad), (
            name
        )


def test_the_published_table_of_rates(modules: nn.ModuleDict) -> None:
    """Wang et al., ECCV 2022: head 3.5e-3, trunk a tenth, ten epochs of growth, a tenth at 20 and at 50."""
    wanted = OptimiserSettings(rate=3.5e-3, trunk_share=0.1)
    shape = ScheduleSettings(name="step", warmup_epochs=10, at=(20, 50), stepped=True)
    made = optimiser.build(modules, wanted)
    head = {0: 3.5e-4, 9: 3.5e-3, 10: 3.5e-3, 20: 3.5e-4, 50: 3.5e-5, 80: 3.5e-5}
    for epoch, rate in head.items():
        for within in (0.0, 0.5, 0.999):
            optimiser.set_rate(made, wanted.rate * schedule.share(epoch + within, shape, 81))
            assert [group["lr"] for group in made.param_groups] == pytest.approx([rate / 10, rate], rel=1e-12)
