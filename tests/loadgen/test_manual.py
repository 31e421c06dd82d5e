"""What the documents promise: the examples work, the installation installs, and each test that the page names is there.
"""
import re
import shlex
import subprocess

import pytest
from conftest import LOADGEN, ROOT, peer
from servers import http, page, served

MANUAL = (ROOT / "loadgen" / "loadgen.1").read_text()
EXAMPLES = [line.removeprefix(".Dl ").replace("\\e", "\\") for line in MANUAL.splitlines() if line.startswith(".Dl ")]
SHORT = ("--warmup", "0", "--probe", "0")


def ping(handler):
    while handler.rfile.readline():
        handler.wfile.write(b"+PONG\r\n")


def servers(protocol):
    return {"http": lambda: served(http(lambda n, path: page(b"x"))), "raw": lambda: served(ping)}[protocol]()


def test_there_are_examples():
    assert len(EXAMPLES) >= 5 and {shlex.split(example)[0] for example in EXAMPLES} == {"loadgen"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_work(example):
    words = shlex.split(example)
    protocol = words[words.index("--protocol") + 1]
    with peer(protocol="frame") if protocol == "frame" else servers(protocol) as server:
        words[0], words[words.index("--target") + 1] = str(LOADGEN), getattr(server, "target", server)
        if "--rate" in words:
            words[words.index("--rate") + 1] = "200"  # what a server in Python keeps on a crowded host
        if "--watch" in words:
            words[words.index("--watch") + 1] = "1"
        done = subprocess.run([*words, *SHORT, "--duration", "200ms"], capture_output=True, text=True, timeout=100)
    finds = "--find-rate" in words  # on a crowded host there may be none
    assert done.returncode in ((0, 1, 3) if finds else (0, 3)), done.stderr
    assert "replies/s" in done.stdout + done.stderr


def test_installation(tmp_path):
    if b"__asan_init" in LOADGEN.read_bytes():
        pytest.skip("a sanitizer build is not installed")
    done = subprocess.run(
        ["make", "-s", "install", f"BUILD={LOADGEN.parent}", f"DESTDIR={tmp_path}", "PREFIX=/opt/x"], cwd=ROOT,
        capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    shown = subprocess.run([tmp_path / "opt/x/bin/loadgen", "--version"], capture_output=True, text=True)
    assert shown.returncode == 0 and shown.stdout.startswith("loadgen ")
    assert (tmp_path / "opt/x/share/man/man1/loadgen.1").read_text() == MANUAL


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`(test_\w+\.\w+)::(\w+)`", (ROOT / "docs" / "loadgen.md").read_text())
    assert len(named) > 30
    for file, test in named:
        text = (ROOT / "tests" / "loadgen" / file).read_text()
        assert re.search(rf"^(def|static void) {test}\(", text, re.M), f"{file}::{test}"


def test_every_file_of_the_generator_is_on_the_page():
    page_text = (ROOT / "docs" / "loadgen.md").read_text()
    sources = {path.name for path in (ROOT / "loadgen").glob("*.c")} - {"main.c", "clock.c", "net.c", "text.c"}
    assert {name for name in sources if f"`{name}`" not in page_text} == set()
