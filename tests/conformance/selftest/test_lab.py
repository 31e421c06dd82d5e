"""lab.toml leaves nothing out: every page of the lab is under test, and every choice of every knob. Its numbers and
times serve at both ends of their range, and are refused beyond."""
from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest
from harness import lab
from harness.model import ROOT

PAGES = sorted(page.stem for page in (ROOT / "servers" / "lab").glob("*.c"))
CHOICES = re.compile(r"^  --([a-z-]+) .*; ((?:[a-z0-9]+\|)+[a-z0-9]+); default ", re.M)

RANGES = re.compile(r"^  --([a-z-]+) .*; (\d+)(ns)? to (\d+)(?:ns)?; default ", re.M)
UNAVAILABLE = 77


def program_of(page: str) -> str:
    program = ROOT / os.environ.get("BUILD", "build") / "lab" / page
    if not program.exists():
        pytest.skip(f"{program} is not built: its library is missing here")
    return str(program)


def help_of(page: str) -> str:
    return subprocess.run([program_of(page), "--help"], capture_output=True, text=True, check=True).stdout


def arguments(page: str) -> list[list[str]]:
    return [told["args"].split() for told in lab.servers() if told["page"] == page]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_and_choice_is_under_test(page: str) -> None:
    text = help_of(page)
    given = {(words[i], words[i + 1]) for words in arguments(page) for i in range(0, len(words), 2)}
    missing = [f"--{knob} {choice}" for knob, choices in CHOICES.findall(text) for choice in choices.split("|")
               if (f"--{knob}", choice) not in given]
    assert arguments(page), f"no server of lab.toml runs {page}"
    assert not missing, f"no server of lab.toml has {', '.join(missing)}"


def test_lab_toml_names_pages_and_scenarios_that_exist() -> None:
    known = set(re.findall(r"^def (test_\w+)", "".join(p.read_text() for p in lab.FILE.parent.glob("test_*.py")), re.M))
    for told in lab.servers():
        assert told["page"] in PAGES
        assert not set(told.get("not", {})) - known, f"{told['page']} {told['args']}: no such scenario"


def companions(page: str, knob: str) -> list[str]:
    """The choices beside which lab.toml has this knob: some need one."""
    for words in arguments(page):
        pairs = dict(zip(words[::2], words[1::2]))
        if pairs.pop(f"--{knob}", None) is not None:
            return [word for pair in pairs.items() for word in pair]
    return []


def ends(page: str) -> Iterator[tuple[str, str, bool]]:
    """Each knob with a range: its ends, and what lies just beyond them; whether it is allowed."""
    for knob, low, unit, high in RANGES.findall(help_of(page)):
        yield from ((knob, f"{value}{unit}", True) for value in (low, high))
        yield from ((knob, f"{value}{unit}", False) for value in (int(low) - 1, int(high) + 1) if value >= 0)


@pytest.mark.parametrize("page", PAGES)
def test_a_knob_serves_at_both_ends_and_is_refused_beyond(page: str) -> None:
    for knob, value, allowed in ends(page):
        command = [program_of(page), *companions(page, knob), f"--{knob}", value, "--protocol", "echo"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            ready = server.stdout.readline()
            if allowed and ready:
                with socket.create_connection(("127.0.0.1", int(ready.split("=")[1])), timeout=20) as client:
                    client.sendall(b"at the end of the range")
                    assert client.recv(64), command
                server.terminate()
            told = server.communicate(timeout=20)[1]
        finally:
            server.kill()
        expected = (0, UNAVAILABLE) if allowed else (2,)
        assert server.returncode in expected, f"{' '.join(command)}: {server.returncode}, {told}"
        assert allowed or f"--{knob} takes" in told, told
