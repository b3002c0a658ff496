"""Fixtures: links that end with the test."""

import pytest

import wires


@pytest.fixture
def link():
    """link("ours", "go"): ends of those kinds, joined; the first is the client."""
    made = []

    def make(*kinds):
        one = wires.Link.__new__(wires.Link)
        made.append(one)
        one.__init__(kinds)
        return one

    yield make
    for one in made:
        one.close()
