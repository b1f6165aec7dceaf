"""Optimal transport beside POT: a pass over the kernel, and seconds until the marginals are met.

    python -m learning.sinkhorn --quick        (in the folder benchmarks)

Instances are predictions over K clusters whose sizes are Poisson, against uniform marginals: cost ``-log
softmax`` of scaled cosine similarities. Everything runs on one thread; rounds alternate; a ratio is the median
over rounds. The error is the greatest relative deviation of any row's or column's sum, worked out from the
potentials in double precision for either side.

POT's plain solver (``ot.sinkhorn``) and its logarithmic one are timed as they are: a pass is what a further
iteration adds, and the plain one's includes a look at its own error every tenth time. The same iteration in bare
NumPy is told besides. Ours holds the kernel in single precision and sums in double; POT's is double. Seconds to
1e-6 are those of the iterations the plain one needs, found beforehand; where it does not get there, that is
said, and ours must. How soon plain iterations get there hangs on the instance: with predictions so soft that
about ten do, what is left to gain is less than the goal.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import ot
import torch
from threadpoolctl import threadpool_limits

from learning.goal import Goal
from training.transport import Problem, solve
from training.transport.kernel import Kernel

SHAPES = ((12_000, 395), (20_000, 1_000), (2_000, 2_000))
TOLERANCE, SHARP = 1e-6, 25.0
DIM, SCALE = 128, 18.0  # of the features, and of their similarities: soft at delta 1, near the arg-max at 25
LEAST_PLAIN, LEAST_LOG, LEAST_SECONDS = 2.0, 20.0, 5.0
MOST_PLAIN_STEPS = 4_000  # looked for; in a quick run a tenth, and none at the great sharpness


@dataclass(frozen=True)
class Instance:
    """A cost and its size.

    Args:
        cost: -log of predictions, (N, K).
        name: for the goals.
    """

    cost: np.ndarray
    name: str

    @property
    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """Give uniform ones."""
        n, k = self.cost.shape
        return np.full(n, 1 / n), np.full(k, 1 / k)


def instance(n: int, k: int, seed: int = 0) -> Instance:
    """Draw features around centres, with Poisson numbers of them, and predict their clusters."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((k, DIM))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cluster = random.permutation(np.resize(np.repeat(np.arange(k), random.poisson(n / k, k)), n))
    features = centres[cluster] + random.standard_normal((n, DIM)) / np.sqrt(DIM)
    logits = SCALE * features @ centres.T / np.linalg.norm(features, axis=1, keepdims=True)
    return Instance(-torch.from_numpy(logits).log_softmax(1).numpy(), f"{n}x{k}")


def seconds(action: Callable[[], object]) -> float:
    """Time one call, in CPU seconds: other programs do not count."""
    began = time.process_time()
    action()
    return time.process_time() - began


def pot(case: Instance, delta: float, steps: int, method: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Run POT for a number of iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge is known
        plan, log = ot.sinkhorn(
            *case.marginals, case.cost, 1 / delta, method=method, numItermax=steps, stopThr=0, log=True
        )
    return plan, log


def plain_steps(case: Instance, delta: float, most: int) -> int | None:
    """Count the plain iterations that bring both sides within the tolerance, by the same iteration in our words."""
    (a, b), kernel = case.marginals, np.exp(-case.cost * delta)
    u, v = np.ones_like(a) / len(a), np.ones_like(b)
    with np.errstate(all="ignore"):
        for step in range(1, most + 1):
            sums = kernel.T @ u
            if step > 1 and np.abs(v * sums / b - 1).max() <= TOLERANCE:
                return step - 1
            v = b / sums
            u = a / (kernel @ v)
    return None


def error(case: Instance, u: np.ndarray, v: np.ndarray, delta: float) -> float:
    """Work out the greatest relative deviation of a row's or column's sum."""
    (a, b), sums, worst = case.marginals, np.zeros(case.cost.shape[1]), 0.0
    for start in range(0, len(a), 500):
        plan = np.exp(u[start : start + 500, None] + v - delta * case.cost[start : start + 500])
        worst = max(worst, float(np.abs(plan.sum(1) / a[start : start + 500] - 1).max()))
        sums += plan.sum(0)
    return max(worst, float(np.abs(sums / b - 1).max()))


def a_pass(case: Instance, rounds: int) -> Iterable[Goal]:
    """Time one pass of ours beside what one more iteration costs either of POT's solvers, at delta 1."""
    kernel = Kernel(Problem(case.cost, delta=1), torch.float32)
    g = torch.zeros(case.cost.shape[1], dtype=torch.float64)
    kernel.look(g)
    (a, b), matrix = case.marginals, np.exp(-case.cost)
    ours: list[float] = []
    bare: list[float] = []
    peers: dict[str, list[float]] = {"plain": [], "log": []}
    ratios: dict[str, list[float]] = {"plain": [], "log": []}
    steps = {"plain": 150, "log": 3}
    for _ in range(rounds):
        ours.append(seconds(lambda: [kernel.look(g) for _ in range(50)]) / 50)
        bare.append(seconds(lambda: [a / (matrix @ (b / (matrix.T @ a))) for _ in range(50)]) / 50)
        for name, method in (("plain", "sinkhorn"), ("log", "sinkhorn_log")):
            start = min(seconds(lambda m=method: pot(case, 1.0, 1, m)) for _ in range(2))
            whole = seconds(lambda m=method, n=1 + steps[name]: pot(case, 1.0, n, m))
            peers[name].append((whole - start) / steps[name])
            ratios[name].append(peers[name][-1] / ours[-1])
    for name, least in (("plain", LEAST_PLAIN), ("log", LEAST_LOG)):
        detail = f"{statistics.median(ours) * 1e3:.2f} CPU ms; POT {statistics.median(peers[name]) * 1e3:.2f}"
        detail += f", bare NumPy {statistics.median(bare) * 1e3:.2f}"
        yield Goal.at_least(
            f"sinkhorn_pass_{case.name}_against_pot_{name}", statistics.median(ratios[name]), least, detail
        )


def to_tolerance(case: Instance, delta: float, rounds: int, most_steps: int) -> Iterable[Goal]:
    """Time ours to the tolerance beside POT's plain solver, where that gets there."""
    name = f"sinkhorn_{case.name}_delta_{delta:g}"
    steps = plain_steps(case, delta, most_steps)
    ours, peers = [], []
    for _ in range(rounds):
        began = time.process_time()
        plan = solve(Problem(case.cost, delta=delta), tolerance=TOLERANCE)
        ours.append(time.process_time() - began)
        if steps is not None:
            peers.append(seconds(lambda: pot(case, delta, steps, "sinkhorn")))
    found = error(case, plan.u.numpy(), plan.v.numpy(), delta)
    told = f"{plan.iterations} passes, {statistics.median(ours):.3f} CPU s"
    if steps is None:
        told += (
            f"; plain iterations do not get there in {most_steps}" if most_steps else "; plain ones not tried"
        )
    yield Goal.at_most(f"{name}_error", found, TOLERANCE, told)
    if steps is not None:
        ratio = statistics.median(peer / own for peer, own in zip(peers, ours, strict=True))
        detail = f"{told}; POT {steps} iterations, {statistics.median(peers):.3f} CPU s"
        yield Goal.at_least(f"{name}_seconds_against_pot_plain", ratio, LEAST_SECONDS, detail)


def goals(quick: bool) -> Iterable[Goal]:
    """Measure all; the quick form does one round, and delta 1 and 25 only."""
    rounds = 1 if quick else 5
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            solve(Problem(instance(2_000, 60).cost, delta=SHARP))  # loads what is compiled
            for shape in SHAPES:
                case = instance(*shape)
                yield from a_pass(case, rounds)
                for delta in (1.0, SHARP) if quick else (1.0, 5.0, SHARP):
                    most = MOST_PLAIN_STEPS // 10 if quick else MOST_PLAIN_STEPS
                    yield from to_tolerance(case, delta, rounds, 0 if quick and delta == SHARP else most)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    for measured in goals("--quick" in sys.argv):
        print(measured.line(), f"  ({measured.detail})", flush=True)
