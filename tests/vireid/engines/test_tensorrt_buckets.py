"""Buckets are read as they are written, leave no gap, and hold every batch."""

import pytest

from vireid.engines import tensorrt_buckets
from vireid.engines.tensorrt_buckets import Bucket
from vireid.errors import SettingsError


def test_buckets_are_read_as_they_are_written() -> None:
    assert tensorrt_buckets.parse("1,2-8, 9-32,33-128") == tensorrt_buckets.BUCKETS
    assert tensorrt_buckets.spelled(tensorrt_buckets.BUCKETS) == "1,2-8,9-32,33-128"
    assert tensorrt_buckets.parse("1-16") == (Bucket(1, 16, 16),)


@pytest.mark.parametrize(
    "words", ["", "2-8", "1,3-8", "1-8,8-9", "1-0", "1,a", "1-9999", "1,,2", "-1", "1-8-9"]
)
def test_buckets_with_gaps_are_refused(words: str) -> None:
    with pytest.raises(SettingsError, match="found the bucket"):
        tensorrt_buckets.parse(words)


def test_every_batch_has_its_bucket_and_large_ones_are_cut() -> None:
    buckets = tensorrt_buckets.BUCKETS
    for batch in range(1, 129):
        bucket = buckets[tensorrt_buckets.place(buckets, batch)]
        assert bucket.least <= batch <= bucket.most
    for batch in (1, 127, 128, 129, 300):
        parts = list(tensorrt_buckets.parts(batch, 128))
        assert [number for part in parts for number in range(part.start, part.stop)] == list(range(batch))
        assert all(part.stop - part.start <= 128 for part in parts)
