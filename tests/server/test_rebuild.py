"""A build beside a server: what is told meanwhile, and what comes of it."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from server import rebuild
from server.rebuild import Rebuild
from tests.server.plan_parts import LACKING, PART, PATIENCE_S, script, small
from vireid import bundle as bundles
from vireid.engines.base import Engine
from vireid.engines.fake import FakeEngine
from vireid.engines.tensorrt import Choices
from vireid.errors import EngineError

GOOD = """
    print("words for people")
    print('{"stage": "building", "done": 0.25}')
    print('{"other": 1}')
    print('{"stage": "proving", "done": 0.5}', flush=True)
"""


class Taken:
    """Remembers what was handed over, and says why it does not serve."""

    def __init__(self, against: str = "") -> None:
        self.engines: list[Engine] = []
        self.against = against
        self.done = threading.Event()

    def __call__(self, engine: Engine) -> str:
        self.engines.append(engine)
        self.done.set()
        return self.against


def ended(build: Rebuild) -> rebuild.Told:
    """Wait until a build came to an end."""
    until = time.monotonic() + PATIENCE_S
    while build.told.state == "building_engine":
        assert time.monotonic() < until, build.told
        time.sleep(0.01)
    return build.told


# ---- the build --------------------------------------------------------------------
def test_a_plan_that_was_built_is_opened_and_handed_over() -> None:
    engine, taken = FakeEngine(), Taken()
    build = Rebuild(LACKING, script(GOOD), lambda: engine)
    assert build.told.state == "building_engine"
    assert build.told.reason == "no plan of this graph"
    build.start(taken)
    told = ended(build)
    assert taken.engines == [engine]
    assert (told.engine, told.state) == ("tensorrt-fp16", "switched")
    assert (told.stage, told.done) == ("proving", 0.5)
    assert json.dumps(told.as_json())
    build.stop()


def test_progress_is_told_while_it_is_built() -> None:
    build = Rebuild(
        LACKING,
        script("""
            import sys
            print('{"stage": "building", "done": 0.4}', flush=True)
            import time; time.sleep(60)
        """),
        FakeEngine,
    )
    build.start(Taken())
    until = time.monotonic() + PATIENCE_S
    while build.told.done != 0.4:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert build.told.state == "building_engine"
    began = time.monotonic()
    build.stop()
    assert time.monotonic() - began < 5
    assert build.told.state == "building_engine"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("import sys; sys.exit('the graph is refused: UInt8')", "status 1: the graph is refused: UInt8"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9: it said nothing"),
        ("import os; os._exit(7)", "status 7: it said nothing"),
    ],
)
def test_a_build_that_fails_is_told_and_nothing_is_taken(words: str, match: str) -> None:
    taken = Taken()
    build = Rebuild(LACKING, script(words), FakeEngine)
    build.start(taken)
    told = ended(build)
    assert told.state == "build_failed"
    assert match in told.reason
    assert taken.engines == []
    build.stop()


@pytest.mark.parametrize(("status", "state"), [(0, "switched"), (3, "build_failed")])
def test_words_that_are_no_text_do_not_end_a_build(status: int, state: str) -> None:
    words = f"""
        import os
        os.write(1, b"caf\\xe9\\n")
        os.write(2, b"caf\\xe9\\n")
        os._exit({status})
    """
    build = Rebuild(LACKING, script(words), FakeEngine)
    build.start(Taken())
    told = ended(build)
    assert told.state == state
    assert ("status 3: caf" in told.reason) == bool(status)
    build.stop()


def test_a_build_gives_way_to_what_serves() -> None:
    words = f"""
        import os, sys, time
        until = time.monotonic() + 20
        while os.getpriority(os.PRIO_PROCESS, 0) < {os.getpriority(os.PRIO_PROCESS, 0)} + 5:
            if time.monotonic() > until:
                sys.exit("its priority is that of the server")
            time.sleep(0.01)
    """
    build = Rebuild(LACKING, script(words), FakeEngine)
    build.start(Taken())
    assert ended(build).state == "switched"
    build.stop()


def test_a_build_that_cannot_be_started() -> None:
    build = Rebuild(LACKING, ["/no/such/program"], FakeEngine)
    build.start(Taken())
    assert "cannot be started" in ended(build).reason
    build.stop()


def test_a_build_that_takes_too_long_is_ended() -> None:
    build = Rebuild(LACKING, script("import time; time.sleep(60)"), FakeEngine, limit_s=0.3)
    build.start(Taken())
    told = ended(build)
    assert (told.state, told.reason) == ("build_failed", "the build was ended after 0 s")
    assert told.seconds < 20
    build.stop()


@pytest.mark.parametrize("error", [EngineError("the plan is refused"), MemoryError("all gone")])
def test_a_plan_that_does_not_open(error: Exception) -> None:
    def refuse() -> Engine:
        raise error

    taken = Taken()
    build = Rebuild(LACKING, script(GOOD), refuse)
    build.start(taken)
    told = ended(build)
    assert told.state == "build_failed"
    assert str(error) in told.reason
    assert taken.engines == []
    build.stop()


def test_an_engine_that_opens_after_the_end_is_not_taken() -> None:
    opening, going_on = threading.Event(), threading.Event()

    def slow() -> Engine:
        opening.set()
        assert going_on.wait(PATIENCE_S)
        return FakeEngine()

    taken = Taken()
    build = Rebuild(LACKING, script(GOOD), slow)
    build.start(taken)
    assert opening.wait(PATIENCE_S)
    ending = threading.Thread(target=build.stop)
    ending.start()
    until = time.monotonic() + PATIENCE_S
    while not build._stopped.is_set():
        assert time.monotonic() < until
    going_on.set()
    ending.join(PATIENCE_S)
    assert taken.engines == []


def test_an_engine_that_is_not_taken_says_why() -> None:
    build = Rebuild(LACKING, script(GOOD), FakeEngine)
    build.start(Taken("it is slower here"))
    told = ended(build)
    assert (told.state, told.reason) == ("not_taken", "it is slower here")
    build.stop()


def test_the_command_is_one_that_there_is(tmp_path: Path) -> None:
    from typer.main import get_command

    from export.tensorrt_command import app as exporting

    bundle = bundles.read(bundles.default_path())
    words = rebuild.command(bundle, PART, Choices(folder=tmp_path))
    assert words[3:5] == ["export", "tensorrt"]
    context = get_command(exporting).make_context("tensorrt", words[5:])
    assert context.params["path"] == bundle.path
    assert context.params["plan_only"] is True
    assert context.params["progress_lines"] is True
    assert context.params["cache"] == tmp_path


def test_the_real_command_builds_a_plan_and_tells_how_it_goes(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs vireid[tensorrt-rtx]")
    choices = Choices(folder=tmp_path / "plans", flavour="tensorrt_rtx")
    part = PART.model_copy(update={"precision": "fp32"})
    taken = Taken()
    build = Rebuild(LACKING, rebuild.command(small(tmp_path), part, choices), FakeEngine)
    build.start(taken)
    told = ended(build)
    assert told.state == "switched", told
    assert told.done == 1.0
    assert len(list(choices.folder.glob("*.plan"))) == 1
