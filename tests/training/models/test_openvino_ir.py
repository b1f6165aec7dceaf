"""Networks written here as IR files, against NumPy; and real ones against their own runtime."""

from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate

from training.models.openvino_ir import OpenVinoNet
from vireid.errors import TrainingError

RNG = np.random.default_rng(20)
ELEMENT = {"float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32"}


class IrWriter:
    """Writes a small IR: ``constant`` and ``add`` return a layer's id; the last layer is the result."""

    def __init__(self, *shape: int) -> None:
        self.blob = b""
        self.layers: list[tuple[str, str, dict[str, str], tuple[int, ...]]] = []
        self.edges: list[tuple[int, int, int]] = []
        self.input = self._layer(
            "Parameter", "data", {"shape": ",".join(map(str, shape)), "element_type": "f32"}, shape
        )

    def _layer(self, kind: str, name: str, attributes: dict[str, str], shape: tuple[int, ...]) -> int:
        self.layers.append((kind, name, attributes, shape))
        return len(self.layers) - 1

    def constant(self, array: np.ndarray, name: str = "weight", *, at: int | None = None) -> int:
        start = len(self.blob) if at is None else at
        if at is None:
            self.blob += array.tobytes()
        attributes = {
            "element_type": ELEMENT[array.dtype.name],
            "shape": ",".join(map(str, array.shape)),
            "offset": str(start),
            "size": str(array.nbytes),
        }
        return self._layer("Const", name, attributes, array.shape)

    def add(self, kind: str, inputs: Sequence[int], shape: tuple[int, ...], **attributes: str) -> int:
        at = self._layer(kind, f"{kind.lower()}_{len(self.layers)}", attributes, shape)
        self.edges += [(source, at, port) for port, source in enumerate(inputs)]
        return at

    def write(self, folder: Path) -> Path:
        self.add("Result", [len(self.layers) - 1], ())
        root = ElementTree.Element("net", name="hand-made", version="11")
        layers = ElementTree.SubElement(root, "layers")
        for number, (kind, name, attributes, shape) in enumerate(self.layers):
            layer = ElementTree.SubElement(
                layers, "layer", id=str(number), name=name, type=kind, version="opset1"
            )
            ElementTree.SubElement(layer, "data", attributes)
            if kind != "Result":
                port = ElementTree.SubElement(ElementTree.SubElement(layer, "output"), "port", id="0")
                for size in shape:
                    ElementTree.SubElement(port, "dim").text = str(size)
        edges = ElementTree.SubElement(root, "edges")
        for source, target, port in self.edges:
            ElementTree.SubElement(
                edges,
                "edge",
                {
                    "from-layer": str(source),
                    "from-port": "0",
                    "to-layer": str(target),
                    "to-port": str(port),
                },
            )
        path = folder / "net.xml"
        ElementTree.ElementTree(root).write(path)
        path.with_suffix(".bin").write_bytes(self.blob)
        return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return OpenVinoNet(path)(torch.from_numpy(x)).numpy()


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def slow_convolution(x: np.ndarray, weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """Valid cross-correlation at stride 1, one output channel at a time, by scipy."""
    per = x.shape[1] // groups
    out = []
    for image in x:
        planes = [image[(o // (len(weight) // groups)) * per :][:per] for o in range(len(weight))]
        out.append([correlate(plane, w, "valid")[0] for plane, w in zip(planes, weight, strict=True)])
    return np.array(out, np.float32)


def windows(x: np.ndarray, size: int, step: int, reduce: Callable[..., np.ndarray]) -> np.ndarray:
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::step, ::step]
    return reduce(view, axis=(-2, -1))


def test_convolution_with_unequal_padding_stride_and_dilation(tmp_path: Path) -> None:
    ir, weight = IrWriter(1, 3, 9, 8), normal(5, 3, 3, 2)
    shape = (1, 5, 5, 5)
    ir.add(
        "Convolution",
        [ir.input, ir.constant(weight)],
        shape,
        strides="2,2",
        dilations="1,2",
        pads_begin="1,2",
        pads_end="2,1",
    )
    x = normal(4, 3, 9, 8)
    spread = np.zeros((5, 3, 3, 3), np.float32)
    spread[..., ::2] = weight
    expected = slow_convolution(np.pad(x, ((0, 0), (0, 0), (1, 2), (2, 1))), spread)[:, :, ::2, ::2]
    np.testing.assert_allclose(run(ir.write(tmp_path), x), expected, atol=1e-5)


def test_group_convolution(tmp_path: Path) -> None:
    ir, weight = IrWriter(1, 4, 6, 5), normal(2, 3, 2, 3, 3)
    ir.add(
        "GroupConvolution",
        [ir.input, ir.constant(weight)],
        (1, 6, 6, 5),
        strides="1,1",
        dilations="1,1",
        pads_begin="1,1",
        pads_end="1,1",
    )
    x = normal(3, 4, 6, 5)
    expected = slow_convolution(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), weight.reshape(6, 2, 3, 3), 2)
    np.testing.assert_allclose(run(ir.write(tmp_path), x), expected, atol=1e-5)


def test_pooling(tmp_path: Path) -> None:
    ir = IrWriter(1, 2, 7, 9)
    pooled = ir.add(
        "MaxPool",
        [ir.input],
        (1, 2, 4, 5),
        kernel="3,3",
        strides="2,2",
        pads_begin="1,1",
        pads_end="1,1",
        rounding_type="floor",
    )
    ir.add(
        "AvgPool",
        [pooled],
        (1, 2, 2, 2),
        kernel="2,2",
        strides="2,2",
        pads_begin="0,0",
        pads_end="0,0",
        rounding_type="floor",
    )
    x = normal(2, 2, 7, 9)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    expected = windows(windows(padded, 3, 2, np.max)[:, :, :4, :4], 2, 2, np.mean)
    np.testing.assert_allclose(run(ir.write(tmp_path), x), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["INSIDE_SQRT", "OUTSIDE_SQRT"])
@pytest.mark.parametrize("axes", [[2, 3], [-1], [1, 3]])
@pytest.mark.parametrize("scaled", ["true", "false"])
def test_mean_variance_normalisation(tmp_path: Path, mode: str, axes: list[int], scaled: str) -> None:
    ir = IrWriter(1, 3, 5, 4)
    ir.add(
        "MVN",
        [ir.input, ir.constant(np.array(axes))],
        (1, 3, 5, 4),
        eps="0.01",
        eps_mode=mode,
        normalize_variance=scaled,
    )
    x = normal(3, 3, 5, 4) * 3 + 1
    centred = x - x.mean(tuple(axes), keepdims=True)
    variance = (centred**2).mean(tuple(axes), keepdims=True)
    divisor = np.sqrt(variance + 0.01) if mode == "INSIDE_SQRT" else np.sqrt(variance) + 0.01
    expected = centred / divisor if scaled == "true" else centred
    np.testing.assert_allclose(run(ir.write(tmp_path), x), expected, atol=1e-5)


def test_elementwise_and_activations(tmp_path: Path) -> None:
    ir = IrWriter(1, 3, 2, 2)
    mean, scale, slope = normal(1, 3, 1, 1), normal(1, 3, 1, 1).astype(np.float16), normal(3)
    shape = (1, 3, 2, 2)
    at = ir.add("Subtract", [ir.input, ir.constant(mean)], shape)
    at = ir.add(
        "Multiply",
        [at, ir.add("Convert", [ir.constant(scale)], (1, 3, 1, 1), destination_type="f32")],
        shape,
    )
    steep = ir.add("PReLU", [at, ir.constant(slope)], shape)
    gate = ir.add("Sigmoid", [ir.add("ReLU", [at], shape)], shape)
    ir.add("Add", [steep, gate], shape)
    x = normal(5, 3, 2, 2)
    z = (x - mean) * scale.astype(np.float32)
    expected = np.where(z > 0, z, z * slope[:, None, None]) + 1 / (1 + np.exp(-np.maximum(z, 0)))
    np.testing.assert_allclose(run(ir.write(tmp_path), x), expected, atol=1e-6)


def test_head_with_folded_shapes_takes_any_batch(tmp_path: Path) -> None:
    """ReduceMean, Reshape, MatMul, then a reshape to a shape computed by ShapeOf, Gather and Concat."""
    ir, weight = IrWriter(1, 4, 3, 2), normal(6, 4)
    mean = ir.add("ReduceMean", [ir.input, ir.constant(np.array([2, 3]))], (1, 4, 1, 1), keep_dims="true")
    flat = ir.add("Reshape", [mean, ir.constant(np.array([0, -1]))], (1, 4), special_zero="true")
    wide = ir.add("MatMul", [flat, ir.constant(weight)], (1, 6), transpose_a="false", transpose_b="true")
    of = ir.add("ShapeOf", [flat], (2,), output_type="i64")
    index, axis = ir.constant(np.array(0)), ir.constant(np.array(0))
    batch = ir.add("Gather", [ir.add("Convert", [of], (2,)), index, axis], ())
    target = ir.add("Concat", [batch, ir.constant(np.array([3])), ir.constant(np.array([2]))], (3,), axis="0")
    ir.add("Reshape", [wide, target], (1, 3, 2), special_zero="false")
    x = normal(7, 4, 3, 2)
    expected = (x.mean((2, 3)) @ weight.T).reshape(7, 3, 2)
    path = ir.write(tmp_path)
    np.testing.assert_allclose(run(path, x), expected, atol=1e-6)
    assert OpenVinoNet(path).output_shape == (3, 2)


def test_gather_and_concat_of_channels(tmp_path: Path) -> None:
    ir = IrWriter(1, 3, 2, 2)
    flipped = ir.add(
        "Gather",
        [ir.input, ir.constant(np.array([2, 1, 0], np.int32)), ir.constant(np.array([1]))],
        (1, 3, 2, 2),
        batch_dims="0",
    )
    ir.add("Concat", [flipped, ir.input], (1, 6, 2, 2), axis="1")
    x = normal(2, 3, 2, 2)
    np.testing.assert_array_equal(run(ir.write(tmp_path), x), np.concatenate([x[:, ::-1], x], 1))


def reversing(folder: Path) -> Path:
    ir = IrWriter(1, 3, 4, 4)
    flipped = ir.add(
        "Gather",
        [ir.input, ir.constant(np.array([2, 1, 0])), ir.constant(np.array(1))],
        (1, 3, 4, 4),
    )
    ir.add(
        "ReLU", [ir.add("Subtract", [flipped, ir.constant(normal(1, 3, 1, 1))], (1, 3, 4, 4))], (1, 3, 4, 4)
    )
    return ir.write(folder)


def test_channel_reversal_can_be_dropped(tmp_path: Path) -> None:
    path, x = reversing(tmp_path), torch.from_numpy(normal(2, 3, 4, 4))
    bgr, rgb = OpenVinoNet(path), OpenVinoNet(path, drop_channel_reversal=True)
    torch.testing.assert_close(rgb(x), bgr(x.flip(1)))


def test_channel_reversal_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ir = IrWriter(1, 3, 2, 2)
    ir.add("ReLU", [ir.input], (1, 3, 2, 2))
    path = ir.write(tmp_path)
    with pytest.raises(TrainingError, match="RGB as it is"):
        OpenVinoNet(path, drop_channel_reversal=True)


def test_layers_reading_the_same_bytes_share_a_trainable_parameter(tmp_path: Path) -> None:
    ir, bias = IrWriter(1, 2, 2, 2), normal(1, 2, 1, 1)
    first = ir.add("Add", [ir.input, ir.constant(bias, "gate.fc.bias")], (1, 2, 2, 2))
    ir.add("Add", [first, ir.constant(bias, "again", at=0)], (1, 2, 2, 2))
    net = OpenVinoNet(ir.write(tmp_path))
    assert [name for name, _ in net.named_parameters()] == ["gate.fc.bias"]
    x = torch.zeros(3, 2, 2, 2)
    net(x).sum().backward()
    gradient = net.get_parameter("gate.fc.bias").grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full((1, 2, 1, 1), 24.0))  # 3 images x 4 pixels x 2 uses


def test_residual_outputs_and_edits(tmp_path: Path) -> None:
    ir = IrWriter(1, 2, 2, 2)
    left = ir.add("ReLU", [ir.input], (1, 2, 2, 2))
    right = ir.add("Sigmoid", [ir.input], (1, 2, 2, 2))
    block = ir.add("ReLU", [ir.add("Add", [left, right], (1, 2, 2, 2))], (1, 2, 2, 2))
    ir.add("Add", [block, ir.constant(np.ones((1, 2, 1, 1), np.float32))], (1, 2, 2, 2))
    net = OpenVinoNet(ir.write(tmp_path))
    assert net.residual_outputs == [(str(block), 2)]
    x = torch.from_numpy(normal(2, 2, 2, 2))
    torch.testing.assert_close(net(x, {str(block): lambda y: 3 * y}), 3 * (net(x) - 1) + 1)


def test_unknown_operation_is_named(tmp_path: Path) -> None:
    ir = IrWriter(1, 3, 2, 2)
    ir.add("GridSample", [ir.input], (1, 3, 2, 2))
    path = ir.write(tmp_path)
    with pytest.raises(TrainingError, match="'GridSample'"):
        OpenVinoNet(path)


@pytest.mark.parametrize("kind", ["MVN", "ReduceMean"])
def test_operation_along_the_batch_is_refused(tmp_path: Path, kind: str) -> None:
    ir = IrWriter(1, 3, 2, 2)
    ir.add(kind, [ir.input, ir.constant(np.array([0, 1]))], (1, 3, 2, 2), keep_dims="true")
    path = ir.write(tmp_path)
    with pytest.raises(TrainingError, match="another's embedding"):
        OpenVinoNet(path)


def test_reshape_that_moves_the_batch_is_refused(tmp_path: Path) -> None:
    ir = IrWriter(1, 4, 2, 2)
    ir.add("Reshape", [ir.input, ir.constant(np.array([4, 4]))], (4, 4))
    path = ir.write(tmp_path)
    with pytest.raises(TrainingError, match="moves the batch"):
        OpenVinoNet(path)


def test_padded_average_pool_and_auto_pad_are_refused(tmp_path: Path) -> None:
    x = torch.zeros(1, 2, 4, 4)
    ir = IrWriter(1, 2, 4, 4)
    ir.add("AvgPool", [ir.input], (1, 2, 3, 3), kernel="2,2", strides="2,2", pads_begin="1,1", pads_end="1,1")
    padded = OpenVinoNet(ir.write(tmp_path))
    with pytest.raises(TrainingError, match="AvgPool with padding"):
        padded(x)
    ir = IrWriter(1, 2, 4, 4)
    ir.add("Convolution", [ir.input, ir.constant(normal(2, 2, 3, 3))], (1, 2, 4, 4), auto_pad="same_upper")
    automatic = OpenVinoNet(ir.write(tmp_path))
    with pytest.raises(TrainingError, match="same_upper"):
        automatic(x)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = reversing(tmp_path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(TrainingError, match="cut short"):
        OpenVinoNet(path)
    weights.unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        OpenVinoNet(path)
    path.write_text("<net><layers>")
    with pytest.raises(TrainingError, match="cannot be read as an OpenVINO IR"):
        OpenVinoNet(path)
    path.write_text("<net/>")
    with pytest.raises(TrainingError, match="no OpenVINO IR"):
        OpenVinoNet(path)


@given(batch=st.integers(1, 6), at=st.integers(0, 5))
def test_row_does_not_depend_on_its_batch(
    tmp_path_factory: pytest.TempPathFactory, batch: int, at: int
) -> None:
    ir, weight = IrWriter(1, 2, 4, 4), normal(3, 2, 3, 3)
    made = ir.add(
        "Convolution", [ir.input, ir.constant(weight)], (1, 3, 2, 2), strides="1,1", dilations="1,1"
    )
    ir.add("MVN", [made, ir.constant(np.array([2, 3]))], (1, 3, 2, 2), eps="1e-5")
    path = ir.write(tmp_path_factory.mktemp("ir"))
    x = normal(batch, 2, 4, 4)
    row = at % batch
    np.testing.assert_allclose(run(path, x)[row], run(path, x[row : row + 1])[0], atol=1e-5)


@pytest.mark.parametrize("number", ["0286", "0287", "0288"])
def test_the_zoo_networks_agree_with_their_own_runtime(shared_dir: Path, number: str) -> None:
    openvino = pytest.importorskip("openvino")
    path = shared_dir / "data" / "weights" / "omz" / f"person-reidentification-retail-{number}.xml"
    # the runtime's default precision on a recent CPU is bf16, which alone costs .0006 of cosine
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = RNG.integers(0, 256, (3, 3, 256, 128)).astype(np.float32)
    expected = np.concatenate([compiled([image[None]])[0] for image in images])
    net = OpenVinoNet(path)
    with torch.inference_mode():
        got = net(torch.from_numpy(images)).numpy()
    cosine = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.999999
    assert len(net.residual_outputs) == 6
    flipped = OpenVinoNet(path, drop_channel_reversal=True)
    with torch.inference_mode():
        torch.testing.assert_close(flipped(torch.from_numpy(images[:, ::-1].copy())), torch.from_numpy(got))
