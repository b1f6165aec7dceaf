"""A gallery that exists only while something is measured. Knows no wire."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clients.base import Client
from vireid.errors import GalleryExists, GalleryNotFound, VireidError


@contextmanager
def temporary_gallery(client: Client, chosen: str, warn: Callable[[str], None]) -> Iterator[str]:
    """Make an empty gallery and remove it afterwards, whatever happens.

    Args:
        client: where to.
        chosen: its name; empty makes one up.
        warn: told if it could not be removed after something else failed.

    Yields:
        Its name.

    Raises:
        GalleryExists: there is one of that name; it is not touched.
        VireidError: it could not be made or removed.
    """
    name = chosen or f"bench-{secrets.token_hex(6)}"
    ours = not chosen  # a name made up here is nobody else's, even if Ctrl-C comes while the gallery is made
    try:
        try:
            client.create_gallery(name, store_images=False)
        except GalleryExists:
            ours = False
            raise GalleryExists(
                f"the gallery {name!r} is there already, and a benchmark touches only its own; "
                "choose another --gallery, or leave it out"
            ) from None
        except VireidError:
            ours = False
            raise
        ours = True
        yield name
    except BaseException:
        if ours:
            _remove_after_failure(client, name, warn)
        raise
    client.delete_gallery(name)


def _remove_after_failure(client: Client, name: str, warn: Callable[[str], None]) -> None:
    try:
        client.delete_gallery(name)
    except GalleryNotFound:
        return
    except VireidError as error:
        warn(
            f"the gallery {name!r} could not be removed ({error.message}); remove it when the server is back"
        )
