"""What servers/core/portable.h does on systems that lack accept4, ppoll and others, done here: the pages built that way
behave no worse. It is no run on such a system, but no line of it is left unread either."""
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.model import ROOT
from test_liars import run_suite

FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-DPORTABLE_FALLBACKS", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread"]
SCENARIOS = {
    "epoll_lt": "a_delay_is_never_early and greet or echo and (out_of_descriptors or connect_and_leave) or blocks_lets",
    "thread_per_conn": "a_delay_is_never_early or a_reset_during_a_delay and http or echo and connect_and_leave",
}


@pytest.mark.parametrize("page", SCENARIOS)
def test_pages_over_the_fallbacks(tmp_path: Path, page: str) -> None:
    servers = tmp_path / "servers"
    servers.mkdir()
    core = ROOT / "servers" / "core"
    subprocess.run(["cc", *FLAGS, f"-I{core}", "-o", servers / page, ROOT / "servers" / f"{page}.c", *core.glob("*.c")],
                   check=True)
    results = run_suite(servers, "-k", SCENARIOS[page])
    failed = sorted(name for name, passed in results.items() if not passed)
    assert len(results) > 5 and not failed, f"{len(results)} scenarios, failed: {failed}"
