"""The backend interface: vectors by int64 id, searched exactly, with filters.

Knows no persons, no files, no galleries.
"""

from typing import Protocol, runtime_checkable

from vireid.arrays import Float32Array, Int64Array


class Backend(Protocol):
    """Unit vectors by id. Ids are ours, unique, and never reused."""

    def __len__(self) -> int:
        """Count the vectors held."""
        ...

    def add(self, ids: Int64Array, vectors: Float32Array) -> None:
        """Add copies of vectors; the arrays are the caller's again on return.

        Args:
            ids: unique, none held yet, (N,).
            vectors: finite unit rows, (N, D).

        Raises:
            EmbeddingNotFinite: a row holds NaN or infinity.
            ValueError: shapes disagree, or an id is held already.
        """
        ...

    def remove(self, ids: Int64Array) -> int:
        """Remove vectors; ids not held are ignored.

        Returns:
            How many were removed.
        """
        ...

    def vectors(self, ids: Int64Array) -> Float32Array:
        """Return the vectors of ids, (N, D), to the last bit as they were added.

        Raises:
            ValueError: an id is not held.
        """
        ...

    def search(
        self, queries: Float32Array, k: int, allow: Int64Array | None = None
    ) -> tuple[Float32Array, Int64Array]:
        """Find the k most similar vectors by inner product.

        Args:
            queries: finite unit rows, (Q, D).
            k: at least 1.
            allow: if given, only these ids may be found; ids not held are ignored.

        Returns:
            Scores, best first, (Q, n), and ids, (Q, n), with n = min(k, vectors that may be found). Scores
            are those of ``index.ranking.settle``, the same from every backend; equal ones are ordered by
            ascending id, at the k-th place too. Never padded.

        Raises:
            EmbeddingNotFinite: a query holds NaN or infinity.
        """
        ...


@runtime_checkable
class Roomy(Protocol):
    """A backend that can be told how much is coming."""

    def expect(self, count: int) -> None:
        """Make room for so many vectors in all at once rather than step by step."""
        ...
