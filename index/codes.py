"""Words by number, in the order in which they came. Knows not what they mean."""

from collections.abc import Iterable, Sequence

import numpy as np

from vireid.arrays import BoolArray, Int64Array


class Codes:
    """A growing list of distinct words."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._by_word: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the words."""
        return len(self.words)

    def of(self, words: Sequence[str]) -> Int64Array:
        """Return the number of each word, (N,); new words get new numbers."""
        by_word = self._by_word
        for word in dict.fromkeys(words):
            if word not in by_word:
                by_word[word] = len(self.words)
                self.words.append(word)
        return np.fromiter(map(by_word.__getitem__, words), np.int64, len(words))

    def chosen(self, words: Iterable[str]) -> BoolArray:
        """Return for each number whether its word is among some; for one number at least."""
        among = np.zeros(max(len(self.words), 1), np.bool_)
        among[[self._by_word[word] for word in words if word in self._by_word]] = True
        return among
