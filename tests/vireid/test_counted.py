import pytest

from vireid.counted import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 items"), (1, "1 item"), (2, "2 items")])
def test_one_is_not_many(count: int, said: str) -> None:
    assert counted(count, "item") == said


def test_a_noun_of_its_own_plural() -> None:
    assert [counted(count, "query", "queries") for count in (1, 3)] == ["1 query", "3 queries"]
