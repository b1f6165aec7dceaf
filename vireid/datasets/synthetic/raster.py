"""A z-buffer over triangles: which one each pixel shows, and where in it. Knows no light."""

import numpy as np

from vireid.arrays import Float32Array, Int64Array
from vireid.compiled import compiled


@compiled(fastmath=True)
def rasterise(
    places: Float32Array, depth: Float32Array, faces: Int64Array, height: int, width: int
) -> tuple[Int64Array, Float32Array]:
    """Find the nearest triangle of each pixel.

    Args:
        places: x and y in pixels, (N, 2).
        depth: distance from the camera, (N,).
        faces: (F, 3).
        height: of the picture.
        width: of the picture.

    Returns:
        The triangle of each pixel, -1 for none, (height, width), and its first two barycentric coordinates,
        (height, width, 2).
    """
    nearest = np.full((height, width), np.float32(1e9))
    shown = np.full((height, width), np.int64(-1))
    inside = np.zeros((height, width, 2), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0 = places[a, 0], places[a, 1]
        x1, y1 = places[b, 0], places[b, 1]
        x2, y2 = places[c, 0], places[c, 1]
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-9:
            continue
        left, right = max(0, int(np.floor(min(x0, x1, x2)))), min(width - 1, int(np.ceil(max(x0, x1, x2))))
        up, down = max(0, int(np.floor(min(y0, y1, y2)))), min(height - 1, int(np.ceil(max(y0, y1, y2))))
        for y in range(up, down + 1):
            for x in range(left, right + 1):
                u = ((y1 - y2) * (x - x2) + (x2 - x1) * (y - y2)) / area
                v = ((y2 - y0) * (x - x2) + (x0 - x2) * (y - y2)) / area
                w = 1 - u - v
                if u < -1e-4 or v < -1e-4 or w < -1e-4:
                    continue
                z = u * depth[a] + v * depth[b] + w * depth[c]
                if z < nearest[y, x]:
                    nearest[y, x] = z
                    shown[y, x] = f
                    inside[y, x, 0], inside[y, x, 1] = u, v
    return shown, inside
