"""Exact search in FAISS on the CPU.

FAISS holds the vectors and scans them; ids, filters by id and the order of equal scores are ours: a flat index
has no upsert, takes an id twice and orders ties by accident.

What is fastest was measured (100,000 x 512, docs/gallery.md): one query is scanned, by one thread, filtered by a
bitmap; several are multiplied as one matrix, as FAISS scans them one after the other below its BLAS threshold.
"""

import faiss
import numpy as np

from index import ranking
from index.places import Places
from vireid.arrays import BoolArray, Float32Array, Int64Array

# one query: below this share of the rows, multiplying just those beats a scan that skips
SCAN_SHARE = 0.005
# several queries: above this share of the rows, multiplying all beats gathering some
GATHER_SHARE = 0.5
# beyond k, for those whose single-precision score is out of order
SPARE = 32
CELLS_AT_ONCE = 16_000_000


class FaissBackend:
    """A flat inner-product index over rows whose ids are held beside it.

    Args:
        dim: embedding dimension D.
    """

    def __init__(self, dim: int) -> None:
        self._index = faiss.IndexFlatIP(dim)
        self._places = Places()

    def __len__(self) -> int:
        """Count the vectors held."""
        return len(self._places)

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add vectors; see ``index.backend.Backend.add``."""
        ranking.check_rows(ids, vectors, self._index.d)
        self._places.add(ids)
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; see ``index.backend.Backend.remove``."""
        held = len(self._places)
        holes, movers = self._places.drop(ids)
        if len(self._places) < held:
            # taking rows out of the middle would move every row behind them
            rows = self._rows()
            rows[holes] = rows[movers]
            self._index.remove_ids(faiss.IDSelectorRange(len(self._places), held))
        return held - len(self._places)

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return vectors; see ``index.backend.Backend.vectors``."""
        return self._rows()[self._places.of(ids)]

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors; see ``index.backend.Backend.search``."""
        ranking.check_finite(queries)
        queries = np.ascontiguousarray(queries, np.float32)
        rows = None if allow is None else self._places.among(allow)
        possible = len(self._places) if rows is None else len(rows)
        k = min(k, possible)
        if not k:
            return ranking.stacked([(np.empty(0, np.float32), np.empty(0, np.int64))] * len(queries), 0)
        if len(queries) == 1 and possible > SCAN_SHARE * len(self._places):
            return ranking.stacked([self._scan(queries, k, rows)], k)
        at_once = max(1, CELLS_AT_ONCE // len(self._places))
        found: list[ranking.Answer] = []
        for start in range(0, len(queries), at_once):
            found += self._multiply(queries[start : start + at_once], k, rows)
        return ranking.stacked(found, k)

    def _scan(self, query: Float32Array, k: int, rows: Int64Array | None) -> ranking.Answer:
        possible = len(self._places) if rows is None else len(rows)
        wide = min(possible, k + k // 8 + SPARE)
        parameters = None
        if rows is not None:
            allowed = np.zeros(len(self._places), np.bool_)
            allowed[rows] = True
            parameters = faiss.SearchParameters(sel=_selector(allowed))  # type: ignore[call-arg]
        # of this thread; searches run beside one another, so more threads for one only take turns
        faiss.omp_set_num_threads(1)
        rough, places = self._index.search(query, wide, params=parameters)
        near = rough[0] >= rough[0, k - 1] - ranking.slack(self._index.d)
        if near[-1] and wide < possible:
            # more rows are as good as tied for the k-th place than were fetched
            return self._multiply(query, k, rows)[0]
        return ranking.settle(query[0], self._rows(), places[0][near], self._places.ids, k)

    def _multiply(self, queries: Float32Array, k: int, rows: Int64Array | None) -> list[ranking.Answer]:
        vectors = self._rows()
        if rows is None:
            rough = queries @ vectors.T
        elif len(rows) < GATHER_SHARE * len(self._places):
            rough = queries @ vectors[rows].T
        else:
            rough = (queries @ vectors.T)[:, rows]
        answers = []
        for query, scores in zip(queries, rough, strict=True):
            near = ranking.nominees(scores, k, self._index.d)
            places = near if rows is None else rows[near]
            answers.append(ranking.settle(query, vectors, places, self._places.ids, k))
        return answers

    def _rows(self) -> Float32Array:
        flat = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._index.d)
        rows: Float32Array = flat.reshape(self._index.ntotal, self._index.d)
        return rows


def _selector(chosen: BoolArray) -> faiss.IDSelector:
    """Select rows; FAISS's type hints describe the C++ calls, its Python calls take arrays."""
    return faiss.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))  # type: ignore[call-arg, arg-type]
