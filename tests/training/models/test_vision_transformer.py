"""Vision transformers: the library's own numbers, standard weights, images that are no squares, what is refused."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from training import models, optimiser
from training.models import standard
from training.models.network import Network
from training.settings import ModelSettings, OptimiserSettings
from vireid.errors import MissingExtra, TrainingError

FAMILIES = ["vit-tiny16", "dinov2-small14"]
KINDS = torch.tensor([1, 0, 1, 1, 0, 0])
Weights = dict[str, Tensor]


def small(name: str, rows: int = 4, columns: int = 4, **other: Any) -> ModelSettings:
    """Two blocks of two heads, on so many patches."""
    patch = int(name[-2:])
    size = {"height": rows * patch, "columns": columns * patch}
    heads = {"vit-tiny16": 2 / 3, "dinov2-small14": 1 / 3}[name]
    return ModelSettings(name=name, width=heads, **{"depth": 2, "pooling": "class", **size, **other})


def images(wanted: ModelSettings, count: int = 6, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    shape = (count, wanted.height, wanted.columns, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)


def own(name: str) -> nn.Module:
    """The library's own model on a square of 4 x 4 patches."""
    torch.manual_seed(7)
    shape = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    made: nn.Module
    if name.startswith("vit"):
        config = transformers.ViTConfig(**shape, intermediate_size=512, image_size=64, patch_size=16)
        made = transformers.ViTModel(config)
    else:
        made = transformers.Dinov2Model(transformers.Dinov2Config(**shape, image_size=56, patch_size=14))
    for parameter in made.parameters():  # fresh scales and shifts of layer norms are ones and zeros
        nn.init.normal_(parameter, std=0.2)
    return made.eval()


def pixels(wanted: ModelSettings, batch: Tensor) -> Tensor:
    mean, std = (
        ([0.5] * 3, [0.5] * 3)
        if wanted.name.startswith("vit")
        else (
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
        )
    )
    return (batch.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )


def published(name: str, weights: Weights) -> Weights:
    """Weights under the names that files published before the library's fifth release have."""
    prefix = name.partition("-")[0]
    renamed = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value"}

    def old(key: str) -> str:
        key = re.sub(r"attention\.([qkv]_proj)", lambda found: f"attention.{renamed[found[1]]}", key)
        key = key.replace("attention.o_proj", "attention.output.dense")
        if prefix == "vit":
            key = re.sub(r"^layers\.", "encoder.layer.", key)
            key = key.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        return f"{prefix}.{key}"

    return {old(key): value for key, value in weights.items()}


def states(name: str) -> Weights:
    return {key: value.clone() for key, value in own(name).state_dict().items()}


# a square of as many patches as the weights know, of others, and rectangles; the last as many patches in another shape
@pytest.mark.parametrize("grid", [(4, 4), (5, 5), (6, 3), (8, 2)])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_class_token_is_that_of_the_library(name: str, grid: tuple[int, int]) -> None:
    wanted = small(name, *grid)
    network = models.build(wanted).eval()
    unused = standard.load(network, states(name))
    assert all(part.startswith("pooler.") or part == "embeddings.mask_token" for part in unused)
    batch = images(wanted)
    options = {"interpolate_pos_encoding": True} if name.startswith("vit") else {}
    with torch.inference_mode():
        expected = own(name)(pixels(wanted, batch), **options).last_hidden_state
        found = network.features(batch, KINDS)
    assert torch.allclose(found.pooled, expected[:, 0], atol=1e-5)
    assert expected[:, 0].std() > 0.1
    for pooling, of_tokens in (
        ("average", expected[:, 1:].mean(1)),
        ("class-average", torch.cat([expected[:, 0], expected[:, 1:].mean(1)], 1)),
    ):
        other = models.build(small(name, *grid, pooling=pooling)).eval()
        standard.load(other, states(name))
        with torch.inference_mode():
            made = other.features(batch, KINDS)
        assert torch.allclose(made.pooled, of_tokens, atol=1e-5)
        assert made.necked.shape == (6, other.dim)


@pytest.mark.parametrize("name", FAMILIES)
def test_published_files_and_those_of_today_are_the_same_start(name: str, tmp_path: Path) -> None:
    published_too = published(name, states(name))
    assert not set(published_too) & set(states(name))
    save_file({**published_too, "classifier.weight": torch.zeros(3, 128)}, tmp_path / "old.safetensors")
    own(name).save_pretrained(tmp_path / "new")
    found = []
    for path in (tmp_path / "old.safetensors", tmp_path / "new" / "model.safetensors"):
        network = models.build(small(name, 5, 3))
        standard.load(network, standard.read(path))
        found.append(network.trunk.state_dict())
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_that_do_not_fit_change_nothing(name: str) -> None:
    network = models.build(small(name))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    good = states(name)
    place = "embeddings.position_embeddings"
    patches = "embeddings.patch_embeddings.projection.weight"
    for weights, said in (
        ({}, r"the weights hold nothing for embeddings\.cls_token"),
        ({**good, place: torch.zeros(1, 17, 64)}, r"hold \(1, 17, 64\) for embeddings\.position_embeddings"),
        (
            {**good, place: torch.zeros(1, 16, 128)},
            r"hold \(1, 16, 128\) for embeddings\.position_embeddings",
        ),
        ({**good, place: torch.zeros(17, 128)}, r"hold \(17, 128\) for embeddings\.position_embeddings"),
        ({**good, patches: torch.zeros(128, 3, 8, 8)}, r"hold \(128, 3, 8, 8\) for embeddings\.patch"),
        ({**good, "layernorm.bias": torch.full((128,), torch.nan)}, r"not finite for layernorm\.bias"),
    ):
        with pytest.raises(TrainingError, match=said):
            standard.load(network, weights)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_weights_of_fewer_blocks_do_not_fit() -> None:
    with pytest.raises(TrainingError, match=r"hold nothing for layers\.2\.attention"):
        standard.load(models.build(small("vit-tiny16", depth=3)), states("vit-tiny16"))


@pytest.mark.parametrize("name", FAMILIES)
def test_modality_and_company_change_nothing(name: str) -> None:
    wanted = small(name, 6, 3)
    network = models.build(wanted).eval()
    batch = images(wanted)
    together = network(batch, KINDS)
    assert torch.equal(together, network(batch, 1 - KINDS))
    assert together.shape == (6, network.dim)
    assert torch.allclose(together.norm(dim=1), torch.ones(6), atol=1e-5)
    for row in range(6):
        alone = network(batch[row : row + 1], KINDS[row : row + 1])
        assert torch.allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "expected"), [(2, [0, 1, 1, 2, 2]), (5, [0, 2, 3, 4, 5]), (8, [0, 2, 4, 6, 8])]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_levels_are_the_mean_tokens_of_evenly_spaced_blocks(
    name: str, depth: int, expected: list[int]
) -> None:
    wanted = small(name, depth=depth)
    network = models.build(wanted).eval()
    blocks = [
        part for part in network.modules() if type(part).__name__ in {"ViTLayer", "Dinov2Layer", "Tokens"}
    ]
    assert len(blocks) == depth + 1
    seen: dict[int, Tensor] = {}

    def remember(at: int) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _given, made: seen.__setitem__(at, made.mean(1))

    handles = [block.register_forward_hook(remember(at)) for at, block in enumerate(blocks)]
    batch = images(wanted)
    found = network.features(batch, KINDS, levels=True)
    for handle in handles:
        handle.remove()
    assert found.levels is not None
    assert found.levels.shape == (6, network.level_dim)
    assert torch.allclose(found.levels, torch.cat([seen[at] for at in expected], 1), atol=1e-5)
    plain = network.features(batch, KINDS)
    assert plain.levels is None
    assert torch.equal(plain.necked, found.necked)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_learns_and_the_encoder_at_its_share(name: str) -> None:
    network = models.build(small(name)).train()
    made = optimiser.build(nn.ModuleDict({"model": network}), OptimiserSettings(rate=1.0, trunk_share=0.1))
    optimiser.set_rate(made, 1.0)
    rates = {id(each): group["lr"] for group in made.param_groups for each in group["params"]}
    network.features(images(small(name)), KINDS).necked.pow(3).sum().backward()
    for key, value in network.named_parameters():
        if value.requires_grad:
            assert value.grad is not None, key
            assert rates[id(value)] == pytest.approx(0.1 if key.startswith("trunk.") else 1.0), key


# without a classifier; ViT's at 224 x 224 as in the paper's table 1 and DeiT's, DINOv2's at 518 x 518 less the mask token
@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("vit-tiny16", 224, 5_524_416),
        ("vit-small16", 224, 21_665_664),
        ("vit-base16", 224, 85_798_656),
        ("dinov2-small14", 518, 22_056_576 - 384),
        ("dinov2-base14", 518, 86_580_480 - 768),
    ],
)
def test_it_has_as_many_weights_as_the_published_one(name: str, side: int, expected: int) -> None:
    with torch.device("meta"):
        network: Network = models.build(ModelSettings(name=name, height=side, columns=side, pooling="class"))
    assert sum(value.numel() for value in network.trunk.parameters()) == expected


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"288 x 144 were asked for.*model\.height=294 model\.columns=140"
    ):
        models.build(ModelSettings(name="dinov2-small14", pooling="class"))
    with pytest.raises(TrainingError, match=r"'gem' is of maps.*class, average, class-average"):
        models.build(ModelSettings(name="vit-tiny16"))
    with pytest.raises(TrainingError, match="there is no pooling 'class'"):
        models.build(ModelSettings(name="one-stream-resnet18", pooling="class"))
    with pytest.raises(ValueError, match="depth=3 is of a vision transformer"):
        ModelSettings(name="one-stream-resnet18", depth=3)
    with pytest.raises(ValueError, match="split=3 is of a two-stream network; 'vit-tiny16' has one stream"):
        ModelSettings(name="vit-tiny16", split=3)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'vireid\[vit\]'"):
        models.build(small("vit-tiny16"))
    models.build(ModelSettings(name="one-stream-resnet18", width=0.125))
