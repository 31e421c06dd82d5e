"""lab.toml leaves nothing out: every page of the lab is under test, and every choice of every knob."""
from __future__ import annotations

import os
import re
import subprocess

import pytest
from harness import lab
from harness.model import ROOT

PAGES = sorted(page.stem for page in (ROOT / "servers" / "lab").glob("*.c"))
CHOICES = re.compile(r"^  --([a-z-]+) .*; ((?:[a-z0-9]+\|)+[a-z0-9]+); default ", re.M)


def arguments(page: str) -> list[list[str]]:
    return [told["args"].split() for told in lab.servers() if told["page"] == page]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_and_choice_is_under_test(page: str) -> None:
    program = ROOT / os.environ.get("BUILD", "build") / "lab" / page
    if not program.exists():
        pytest.skip(f"{program} is not built: its library is missing here")
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
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
