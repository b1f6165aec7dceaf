"""Which item ids the server takes: those of a gallery that can also stand in a path. Knows no transport."""

from index.gallery import ITEM_ID
from vireid.errors import InvalidRequest

RESERVED_ENDS = ("/image", "/thumbnail")
DOTS = {".", ".."}


def check_item_id(item_id: str) -> None:
    """Refuse an id that could not be asked for again.

    Raises:
        InvalidRequest: malformed, or ending in a word that is a path of its own.
    """
    if not ITEM_ID.fullmatch(item_id) or item_id.endswith(RESERVED_ENDS) or DOTS & set(item_id.split("/")):
        raise InvalidRequest(
            f"found item id {item_id[:220]!r}; expected 1 to 200 of A-Z a-z 0-9 . _ : / - without . or .. as a part, "
            f"that do not end in {' or '.join(RESERVED_ENDS)}",
            field="item_id",
            reason="ITEM_ID_INVALID",
        )
