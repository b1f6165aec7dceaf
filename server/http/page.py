"""The page: the files of ``server/web``, at their names and at ``/``. Knows no API."""

from importlib import resources
from pathlib import Path

from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class _Files(Mount):
    """Answers for files that are there, so that any other path is judged by the API's own routes."""

    def __init__(self, folder: Path) -> None:
        super().__init__("/", StaticFiles(directory=folder, html=True), name="page")
        self._places = {"/"} | {f"/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*")}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["path"] not in self._places:
            return Match.NONE, {}
        return super().matches(scope)


def route() -> Mount:
    """Build the route of the page."""
    return _Files(Path(str(resources.files("server") / "web")))
