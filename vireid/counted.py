"""A number and what is counted, in words for people. Knows no noun."""


def counted(count: int, one: str, more: str = "") -> str:
    """Say how many there are: ``1 item``, ``2 items``.

    Args:
        count: how many.
        one: what one of them is called.
        more: what several are called; empty for ``one`` with an s.
    """
    return f"{count} {one if count == 1 else more or one + 's'}"
