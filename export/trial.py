"""How near a changed graph comes to the one it was made from, tried on the spot on a set of images.

Quick and for comparing graphs with one another; the proof of an engine, as it is served, is ``export.parity``'s. Knows no layers.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from export import ranking
from export.bars import Bar
from export.exam import Exam
from vireid.arrays import Float32Array, Int64Array, UInt8Array
from vireid.errors import ExportError

BATCH = 8
TURNS = 6  # in which graphs are timed

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Score:
    """What a graph reached.

    Attributes:
        cosine_mean: with the source's rows.
        cosine_min: the least.
        map_change: in points of 100, infrared to visible.
    """

    cosine_mean: float
    cosine_min: float
    map_change: float

    def misses(self, bar: Bar) -> tuple[str, ...]:
        """Name each number that misses its bar, beside it."""
        found = []
        if not self.cosine_mean >= bar.cosine_mean:
            found.append(f"cosine mean {self.cosine_mean:.4f}, at least {bar.cosine_mean} is required")
        if not self.cosine_min >= bar.cosine_min:
            found.append(f"cosine min {self.cosine_min:.4f}, at least {bar.cosine_min} is required")
        if not -self.map_change <= bar.map_loss:
            found.append(f"mAP {self.map_change:+.2f} points, at most {bar.map_loss} may be lost")
        return tuple(found)


class Trial:
    """A source graph's rows, to hold others against.

    Args:
        graph: the source.
        images: preprocessed RGB, (N, H, W, 3).
        modality: 0 visible, 1 infrared, (N,).
        threads: of the processor.
        advance: told of each image of the source.
        fused: let onnxruntime compute in eight bits; it rounds in the same places and computes in fp32 otherwise, which is
            all it can do with FP8.

    Raises:
        ExportError: the source does not run.
    """

    def __init__(
        self,
        graph: bytes,
        images: UInt8Array,
        modality: Int64Array,
        threads: int = 1,
        advance: Advance | None = None,
        *,
        fused: bool = True,
    ) -> None:
        self._images, self._modality = images, modality
        self._threads, self._fused = threads, fused
        self._expected = self.rows(graph, advance)

    def rows(self, graph: bytes, advance: Advance | None = None) -> Float32Array:
        """Run a graph on the images, (N, D).

        Raises:
            ExportError: it does not run.
        """
        made = []
        try:
            session = _session(graph, self._threads, fused=self._fused)
            for at in range(0, len(self._images), BATCH):
                part = slice(at, at + BATCH)
                given = {"images": self._images[part], "modality": self._modality[part]}
                made.append(session.run(["embeddings"], given)[0])
                if advance is not None:
                    advance(len(made[-1]))
        except Exception as error:  # onnxruntime's errors have no public base
            raise ExportError(f"the graph does not run in onnxruntime: {error}") from error
        return np.concatenate(made)

    def cosine(self, graph: bytes) -> float:
        """Return the mean cosine of a graph's rows with the source's; -1 where they are no numbers."""
        return float(_cosine(self.rows(graph), self._expected).mean())

    def seconds(self, graphs: Sequence[bytes]) -> list[float]:
        """Say how much of the processor's time each graph takes for one batch: the least of some turns.

        Processor time is the same whatever else the machine has to do, and turns make what disturbs it hit all alike.

        Raises:
            ExportError: one does not run.
        """
        given = {"images": self._images[:BATCH], "modality": self._modality[:BATCH]}
        best = [float("inf")] * len(graphs)
        try:
            sessions = [_session(graph, self._threads, fused=self._fused) for graph in graphs]
            for turn in range(1 + TURNS):
                for place, session in enumerate(sessions):
                    began = time.process_time()
                    session.run(["embeddings"], given)
                    if turn:  # the first prepares what the others use
                        best[place] = min(best[place], time.process_time() - began)
        except Exception as error:  # onnxruntime's errors have no public base
            raise ExportError(f"the graph does not run in onnxruntime: {error}") from error
        return best

    def score(self, graph: bytes, exam: Exam, advance: Advance | None = None) -> Score:
        """Score a graph on an exam, whose images must be those of this trial."""
        rows = self.rows(graph, advance)
        cosine = _cosine(rows, self._expected)
        if not np.isfinite(rows).all():
            return Score(float(cosine.mean()), float(cosine.min()), -100.0)
        change = ranking.rank(self._expected, rows, exam).map_change
        return Score(float(cosine.mean()), float(cosine.min()), change)


def _cosine(rows: Float32Array, expected: Float32Array) -> Any:
    wide, truth = rows.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (wide * truth).sum(axis=1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(truth, axis=1)
    return np.nan_to_num(found, nan=-1.0)


def _session(graph: bytes, threads: int, *, fused: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fused:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # what onnxruntime 1.31 does beyond gives rows of FP8 that have nothing to do with what the graph says
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
