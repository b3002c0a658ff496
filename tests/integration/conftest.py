"""Fixtures: nodes that are stopped and checked when the test ends."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fakes"))

import node as nodes  # noqa: E402
import recorder  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture
def make_node(request):
    """Makes nodes. After a test that passed each must stop cleanly; after one that failed its output is shown."""
    made = []

    def make(**options):
        made.append(nodes.Node(**options))
        return made[-1]

    yield make
    failed = getattr(request.node, "report_call", None) is None or request.node.report_call.failed
    try:
        for node in made:
            if node.process is not None and not failed:
                node.stop()
    finally:
        for node in made:
            if failed:
                print(f"---- output of the node\n{node.output()}")
            node.remove()


@pytest.fixture
def make_origin():
    made = []

    def make(*arguments, **options):
        made.append(recorder.Origin(*arguments, **options))
        return made[-1]

    yield make
    for origin in made:
        origin.close()


@pytest.fixture
def site(make_node, make_origin):
    """site(respond, ...) starts a node whose app `app` is a recording origin; returns (app, origin)."""

    def make(respond=recorder.mirror, before_body=None, service="", rooster="", more="", **options):
        origin = make_origin(respond, before_body)
        node = make_node(**options)
        app = node.app("app", address="127.0.0.1", port=origin.port, service=service, rooster=rooster,
                       more=more)
        node.start()
        return app, origin

    return make
