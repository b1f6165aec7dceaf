"""The inner loops over a kernel, compiled. Import late: the compiler takes a while to load."""

import numpy as np
from numpy.typing import NDArray

from vireid.arrays import Float32Array, Float64Array, Int64Array
from vireid.compiled import compiled

Kernel = NDArray[np.floating]


@compiled(fastmath=True)
def exponents(
    cost: Kernel, v: Float64Array, delta: float, floor: float, out: Float64Array, shift: Float64Array
) -> None:
    """Fill out with ``v_j - delta C_ij`` less its greatest in the row, from a floor up.

    Args:
        cost: some rows, (n, K).
        v: potentials of the columns, finite, (K,).
        delta: sharpness.
        floor: least exponent.
        out: receives the exponents, (n, K).
        shift: receives minus the rows' greatest, (n,).
    """
    n, k = cost.shape
    for i in range(n):
        greatest = v[0] - delta * cost[i, 0]
        for j in range(k):
            value = v[j] - delta * cost[i, j]
            out[i, j] = value
            greatest = max(greatest, value)
        shift[i] = -greatest
        for j in range(k):
            out[i, j] = max(out[i, j] - greatest, floor)


@compiled(fastmath=True)
def sweep(
    kernel: Kernel, beta: Float64Array, rows: Float64Array, dots: Float64Array, sums: Float64Array
) -> None:
    """Read the kernel once: its rows' products with beta, and the columns' sums once each row has its marginal.

    Args:
        kernel: positive, (N, K).
        beta: scalings of the columns, (K,).
        rows: marginals of the rows, (N,).
        dots: receives the products, (N,).
        sums: receives the columns' sums, without beta, (K,).
    """
    n, k = kernel.shape
    sums[:] = 0
    whole = n - n % 4
    for i in range(0, whole, 4):  # four rows at a time: beta and the sums are loaded once for them
        s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
        for j in range(k):
            b = beta[j]
            s0 += kernel[i, j] * b
            s1 += kernel[i + 1, j] * b
            s2 += kernel[i + 2, j] * b
            s3 += kernel[i + 3, j] * b
        dots[i], dots[i + 1], dots[i + 2], dots[i + 3] = s0, s1, s2, s3
        a0, a1, a2, a3 = rows[i] / s0, rows[i + 1] / s1, rows[i + 2] / s2, rows[i + 3] / s3
        for j in range(k):
            sums[j] += (
                a0 * kernel[i, j] + a1 * kernel[i + 1, j] + a2 * kernel[i + 2, j] + a3 * kernel[i + 3, j]
            )
    for i in range(whole, n):
        s0 = 0.0
        for j in range(k):
            s0 += kernel[i, j] * beta[j]
        dots[i] = s0
        a0 = rows[i] / s0
        for j in range(k):
            sums[j] += a0 * kernel[i, j]


@compiled(fastmath=True)
def count(kernel: Kernel, beta: Float64Array, dots: Float64Array, least: float) -> int:
    """Count the entries that are at least a given share of their row."""
    n, k = kernel.shape
    found = 0
    for i in range(n):
        limit = least * dots[i]
        for j in range(k):
            if kernel[i, j] * beta[j] > limit:
                found += 1
    return found


@compiled(fastmath=True)
def couple(
    kernel: Kernel,
    beta: Float64Array,
    rows: Float64Array,
    dots: Float64Array,
    least: float,
    coupled: Float64Array,
) -> None:
    """Add up, below the diagonal, what two columns share in each row: ``sum_i a_i p_ij p_ik`` of shares p.

    Shares below the least are left out, which is what makes a sharp plan's sum cheap.

    Args:
        kernel: positive, (N, K).
        beta: scalings of the columns, (K,).
        rows: marginals of the rows, (N,).
        dots: the rows' sums, (N,).
        least: share of a row below which an entry is left out.
        coupled: receives the sums, (K, K).
    """
    n, k = kernel.shape
    index: Int64Array = np.empty(k, np.int64)
    share: Float64Array = np.empty(k, np.float64)
    for i in range(n):
        held = 0
        limit = least * dots[i]
        for j in range(k):
            entry = kernel[i, j] * beta[j]
            if entry > limit:
                index[held] = j
                share[held] = entry / dots[i]
                held += 1
        for p in range(held):
            weight = rows[i] * share[p]
            for q in range(p):
                coupled[index[p], index[q]] += weight * share[q]


@compiled(fastmath=True)
def weigh(
    kernel: Kernel,
    beta: Float64Array,
    rows: Float64Array,
    dots: Float64Array,
    least: float,
    out: Float32Array,
) -> None:
    """Fill out with ``sqrt(a_i) p_ij``, 0 for shares below the least (products of those would be denormal)."""
    n, k = kernel.shape
    for i in range(n):
        limit = least * dots[i]
        weight = np.sqrt(rows[i]) / dots[i]
        for j in range(k):
            entry = kernel[i, j] * beta[j]
            out[i, j] = np.float32(entry * weight) if entry > limit else np.float32(0)
