"""A vision transformer as one graph: any batch, positions baked in, standard weights of another grid."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import numpy_helper

from export import to_onnx
from export.parity import draw_probes
from export.to_onnx import Description, export
from training import models
from training.models import standard
from training.models.network import Network
from training.settings import ModelSettings
from vireid import bundle
from vireid.engines import open_engine


def network(name: str, pooling: str) -> Network:
    """Two blocks on a tall image, begun from weights of a square one, with statistics of drawn figures."""
    torch.manual_seed(3)
    patch = int(name[-2:])
    wanted = ModelSettings(
        name=name, width=0.34, depth=2, height=6 * patch, columns=3 * patch, pooling=pooling
    )
    made = models.build(wanted)
    shape = {
        "hidden_size": made.level_dim // 5,
        "num_hidden_layers": 2,
        "image_size": 5 * patch,
        "patch_size": patch,
    }
    heads = {"num_attention_heads": made.level_dim // 5 // 64}
    library = (
        transformers.ViTModel(
            transformers.ViTConfig(**shape, **heads, intermediate_size=4 * shape["hidden_size"])
        )
        if name.startswith("vit")
        else transformers.Dinov2Model(transformers.Dinov2Config(**shape, **heads))
    )
    standard.load(made, {key: value.detach() for key, value in library.state_dict().items()})
    for seed in range(20):
        shown = draw_probes(6 * patch, 3 * patch, count=8, seed=seed)
        made.features(torch.from_numpy(shown.images), torch.from_numpy(shown.modality), levels=True)
    return made.eval()


@pytest.mark.parametrize(("name", "pooling"), [("vit-tiny16", "class"), ("dinov2-small14", "class-average")])
def test_the_graph_is_valid_and_embeds_as_the_network_does(name: str, pooling: str, tmp_path: Path) -> None:
    made = network(name, pooling)
    read = bundle.read(export(made, Description(name, "supervised"), tmp_path / "vit.zip"))
    assert read.manifest.parity["cosine_min"] >= 0.9999
    engine = open_engine(read, device="cpu")
    height, width = made.input_size
    for count in (4, 7, 31):
        probes = draw_probes(height, width, count=count, seed=count)
        with torch.inference_mode():
            expected = made(torch.from_numpy(probes.images), torch.from_numpy(probes.modality)).numpy()
        found = engine.embed(probes.images, probes.modality)
        assert (found * expected).sum(1).min() > 0.9999
        np.testing.assert_allclose(found, expected, atol=1e-4)
        np.testing.assert_allclose(
            engine.embed(probes.images[2:3], probes.modality[2:3])[0], found[2], atol=1e-5
        )


def test_positions_are_a_constant_of_the_graph() -> None:
    made = network("vit-tiny16", "class")
    proto = onnx.load_from_string(to_onnx.to_graph(made))
    onnx.checker.check_model(proto, full_check=True)
    assert not [node for node in proto.graph.node if node.op_type in {"Resize", "Upsample"}]
    wanted = made.get_parameter("trunk.embeddings.position_embeddings").detach().numpy()
    assert wanted.shape == (1, 19, 64)
    held = [numpy_helper.to_array(each) for each in proto.graph.initializer]
    assert any(
        each.size == wanted.size and np.array_equal(each.reshape(wanted.shape), wanted) for each in held
    )
