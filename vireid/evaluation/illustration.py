"""The HTML report and the pictures of one run, gathered while it is measured and written at its end."""

from pathlib import Path

from vireid import progress
from vireid.evaluation import evidence, report
from vireid.evaluation.album import FILES, Album
from vireid.evaluation.evaluate import sides
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Case, Measured
from vireid.evaluation.protocol import Protocol


class Illustration:
    """What a run is shown with; with neither a file nor a folder it does nothing and needs nothing."""

    def __init__(
        self,
        html: Path | None,
        pictures: Path | None,
        permutations: Path | None = None,
        album: Album | None = FILES,
    ) -> None:
        """Prepare.

        Args:
            html: where the report goes, None for no report.
            pictures: the folder the pictures go to, None for no pictures.
            permutations: ``rand_perm_cam.mat`` for the official draw; None takes the one in the dataset's folder.
            album: where images are; None where there are none.

        Raises:
            MissingExtra: the extra ``evaluation`` is needed and not installed; told before any work is done.
        """
        self._html, self._pictures = html, pictures
        self._permutations, self._album = permutations, album
        self._parts: list[Evidence] = []
        if self._wanted:
            from vireid.evaluation import report_html  # noqa: F401 - needs an extra, and half a second

    @property
    def _wanted(self) -> bool:
        return self._html is not None or self._pictures is not None

    def watch(self, case: Case, protocol: Protocol) -> None:
        """Gather from one identity split, or from all there is; for ``measure``."""
        if self._wanted:
            query, _ = sides(case.dataset, protocol)
            with progress.bar("looking at all pairs", total=len(query)) as advance:
                self._parts.append(evidence.gather(case, protocol, self._permutations, advance))

    def save(self, measured: Measured) -> None:
        """Write what was asked for.

        Raises:
            DatasetError: an image is missing or cannot be read.
            OSError: a file cannot be written.
        """
        if not self._wanted:
            return
        from vireid.evaluation import report_html  # see above

        found = evidence.merge(self._parts)
        if self._html is not None:
            report_html.write(self._html, measured.result, found, report.made_from(measured), self._album)
        if self._pictures is not None:
            report_html.write_pictures(self._pictures, measured.result, found, self._album)
