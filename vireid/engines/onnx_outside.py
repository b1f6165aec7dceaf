"""Whether an ONNX graph leans on what is not in it, weights in other files or operators of a library, told from its bytes alone.

A runtime would read such a file from wherever it stands, unchecked, and the operators are known to some runtimes only. Walks the
wire format of protocol buffers as far as tensors lie; knows no library and no runtime.
"""

from collections.abc import Iterator

from vireid.errors import BundleCorrupt

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of a tensor
_DOMAIN = {"opset": 1, "node": 7}  # message -> its field that says whose operators it takes
_OWN = {"", "ai.onnx"}
# message -> field -> message: the paths from a model to its tensors
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
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
        BundleCorrupt: it keeps weights in other files, takes operators that are not ONNX's own, or is no ONNX file.
    """
    outside, foreign = False, set()
    try:
        for message, field, value in _walk(memoryview(graph), "model"):
            if message == "tensor":
                outside |= field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)
            elif _DOMAIN.get(message) == field and isinstance(value, memoryview):
                foreign.add(bytes(value).decode())
    except (IndexError, ValueError, RecursionError) as error:
        raise BundleCorrupt(f"{where} is no ONNX file ({error}); export the bundle again") from error
    if outside:
        raise BundleCorrupt(f"{where} keeps weights in other files; export the bundle again as one file")
    if foreign := foreign - _OWN:
        raise BundleCorrupt(
            f"{where} takes operators from {', '.join(sorted(foreign))}, which not every runtime knows; "
            f"export it with ONNX's own alone"
        )


def _walk(data: memoryview, message: str) -> Iterator[tuple[str, int, int | memoryview]]:
    """Yield every field of a message and of those in it, as far as tensors and operators lie."""
    inside = _INSIDE.get(message, {})
    for field, value in _fields(data):
        yield message, field, value
        if field in inside and isinstance(value, memoryview):
            yield from _walk(value, inside[field])


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
