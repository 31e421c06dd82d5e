"""{socket} in a variant's options: a Unix socket of each sample's own."""

import os
import subprocess
import sys
from pathlib import Path

from bench import paths, serve
from bench.arms import Arm

UNIX = Arm("epoll_unix", ("epoll_lt", "--listen", "unix:{socket}"), "")


def path_in(words: list[str]) -> str:
    return next(word.removeprefix("unix:") for word in words if word.startswith("unix:"))


def test_each_launch_has_a_socket_of_its_own():
    first, second = (path_in(serve.launch(UNIX, "echo", {}).argv) for _ in range(2))
    assert first != second
    assert not os.path.exists(first) and os.path.isdir(os.path.dirname(first))
    assert len(first) < 108  # what an address has room for


def test_what_a_killed_server_left_goes_with_the_process():
    code = (
        "import socket; from bench import serve; path = serve.own_socket()\n"
        "left = socket.socket(socket.AF_UNIX); left.bind(path); print(path)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert not Path(done.stdout.strip()).parent.exists()


def test_other_arms_have_no_folder_made_for_them():
    code = (
        "from bench import serve; from bench.arms import Arm\n"
        "serve.launch(Arm('a', ('a',), ''), 'echo', {}); print(serve.sockets.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
