"""Whether an ONNX graph leans on what is not in it, weights in other files or operators of a library, told from its bytes alone.

A runtime would read such a file from wherever it stands, unchecked, and the operators are known to some runtimes only. Walks the
wire format of protocol buffers as far as tensors lie; knows no library and no runtime.
"""

from collections.abc import Iterator

from vireid.errors import BundleCorrupt

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_OPSET_IMPORT, _DOMAIN = 8, 1  # of a model, and of what is imported
_OWN = {"", "ai.onnx"}
# message -> field -> message: the paths from a model to its tensors
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def refuse(graph: bytes, where: str) -> None:
    """Refuse a graph that leans on what is not in it.

    Args:
        graph: an ONNX file.
        where: what to call it.

    Raises:
        BundleCorrupt: it keeps weights in other files, imports operators that are not ONNX's own, or is no ONNX file.
    """
    if has_weights_outside(graph):
        raise BundleCorrupt(
            f"{where}: the graph keeps weights in other files; export the bundle again as one file"
        )
    if domains := foreign_domains(graph):
        raise BundleCorrupt(
            f"{where}: the graph takes operators from {', '.join(domains)}, which not every runtime knows; "
            f"export it with ONNX's own alone"
        )


def has_weights_outside(graph: bytes) -> bool:
    """Say whether a tensor of a graph names another file.

    Raises:
        BundleCorrupt: the bytes are no message.
    """
    try:
        return _outside(memoryview(graph), "model")
    except (IndexError, ValueError, RecursionError) as error:
        raise BundleCorrupt(f"the graph is no ONNX file ({error}); export the bundle again") from error


def foreign_domains(graph: bytes) -> tuple[str, ...]:
    """Name the operator sets a graph imports that are not ONNX's own.

    Raises:
        BundleCorrupt: the bytes are no message.
    """
    try:
        imported = [part for field, part in _fields(memoryview(graph)) if field == _OPSET_IMPORT]
        words = [
            bytes(word).decode()
            for part in imported
            if isinstance(part, memoryview)
            for field, word in _fields(part)
            if field == _DOMAIN and isinstance(word, memoryview)
        ]
    except (IndexError, ValueError) as error:
        raise BundleCorrupt(f"the graph is no ONNX file ({error}); export the bundle again") from error
    return tuple(sorted(set(words) - _OWN))


def _outside(data: memoryview, message: str) -> bool:
    inside = _INSIDE.get(message, {})
    for field, value in _fields(data):
        if message == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in inside and isinstance(value, memoryview) and _outside(value, inside[field]):
            return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            number, at = _varint(data, at)
            yield field, number
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field goes on past the end")
            yield field, data[at : at + length]
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field is of kind {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError("a number is too long")
