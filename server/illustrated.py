"""The HTML report of an evaluation, with the small pictures that galleries keep.

Needs the extra ``evaluation``, which is loaded when the first report is made. Knows no job.
"""

from collections.abc import Mapping
from importlib.util import find_spec

from index.gallery import Gallery
from vireid.arrays import UInt8Array
from vireid.datasets.split import Split
from vireid.errors import FailedPrecondition, MissingExtra, NotFound
from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.result import Result
from vireid.images.decode import decode
from vireid.types import Sample

NEEDED = ("jinja2", "matplotlib")


def check_installed() -> None:
    """Refuse an HTML report before any work is done for it, where it cannot be drawn.

    Raises:
        FailedPrecondition: the extra is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FailedPrecondition(
            f"the HTML report needs {' and '.join(missing)}, which the server has not; install it with "
            "pip install 'vireid[evaluation]', or ask without html",
            reason=MissingExtra.reason,
        )


class GalleryAlbum:
    """Finds the pictures of samples that were made from the items of two galleries.

    Args:
        sides: each split, the gallery its samples are from, and their items' ids and cameras in its order.
    """

    def __init__(self, *sides: tuple[Split, Gallery, tuple[str, ...], tuple[str, ...]]) -> None:
        # by identity: items of two galleries may be alike in all that a sample says
        self._places = {
            id(sample): (gallery, item_id, camera)
            for split, gallery, item_ids, cameras in sides
            for sample, item_id, camera in zip(split.samples, item_ids, cameras, strict=True)
        }

    def image(self, sample: Sample) -> UInt8Array | None:
        """Read the thumbnail of a sample's item as RGB, (H, W, 3); None where none is kept, or not any more."""
        gallery, item_id, _ = self._places[id(sample)]
        try:
            return decode(gallery.thumbnail(item_id)).rgb
        except NotFound:
            return None

    def camera(self, sample: Sample) -> str:
        """Give a camera the name the gallery has for it."""
        return self._places[id(sample)][2] or "unknown"


def html(result: Result, evidence: Evidence, made_from: Mapping[str, object], album: GalleryAlbum) -> bytes:
    """Draw the report.

    Args:
        result: what was measured.
        evidence: of the same run.
        made_from: JSON values, told in their order.
        album: where pictures are.

    Raises:
        MissingExtra: what draws it is not installed.
    """
    from vireid.evaluation import report_html  # matplotlib: half a second

    return report_html.html(result, evidence, made_from, Album(album.image, album.camera)).encode()
