"""The suite refuses to pass over nothing."""
import pytest


def test_there_are_servers_to_test(request: pytest.FixtureRequest) -> None:
    assert request.config.models, "no server found: run `make`, or set SERVERS_DIR to a directory of servers"
