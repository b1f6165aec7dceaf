"""Items and snapshots whose time has come are removed, again and again, beside whatever else goes on.

They are hidden the moment their time comes; here they go from the disk. Knows no gallery's inside.
"""

import logging
import threading

from index.store import GalleryStore
from vireid.errors import VireidError

log = logging.getLogger(__name__)

EVERY_S = 60.0


class Expiry:
    """A thread that removes what has expired.

    Args:
        store: the galleries.
        every_s: how long it rests in between; what expired stays on the disk no longer than this and the work.
    """

    def __init__(self, store: GalleryStore, every_s: float = EVERY_S) -> None:
        self._store, self._every_s = store, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="expiry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being removed."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                sweep(self._store)
            except Exception:  # whoever ended here would never remove anything again
                log.exception("what has expired could not be removed; it is tried again")
            self._ended.wait(self._every_s)


def sweep(store: GalleryStore) -> None:
    """Remove once what has expired in every gallery that can be asked; log a receipt, or why it could not be."""
    for info in store.list():
        if info.state != "ready":
            continue
        try:
            receipt = store.get(info.name).expire()
        except VireidError as error:
            log.warning(
                "gallery %s: what has expired is hidden but not removed: %s", info.name, error.message
            )
            continue
        if receipt.items or receipt.snapshots:
            log.info(
                "gallery %s: removed %d expired items, %d images, %d vectors and %d snapshots; %d snapshots still hold "
                "some of them",
                info.name,
                receipt.items,
                receipt.images,
                receipt.vectors,
                receipt.snapshots,
                receipt.still_in,
            )
