"""Array types with their element types in the name; shapes are told in docstrings."""

import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
