"""The lab's servers: pages of servers/lab with the options of tests/conformance/lab.toml."""
from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path

from harness.model import Model, describe

FILE = Path(__file__).resolve().parents[1] / "lab.toml"


def servers() -> list[dict]:
    return tomllib.loads(FILE.read_text())["server"]


def find_models(directory: Path) -> list[Model]:
    """One model for each table of lab.toml whose page is built; SERVERS=a,b narrows the list to these pages."""
    wanted = set(filter(None, os.environ.get("SERVERS", "").split(",")))
    return [model(directory / told["page"], told) for told in servers()
            if (directory / told["page"]).is_file() and (not wanted or told["page"] in wanted)]


def model(path: Path, told: dict) -> Model:
    protocols = told.get("protocols", ["echo", "http"])
    args = told["args"].split()
    found = describe(path, "--protocol", protocols[0], *args)
    return replace(found, label=f"{path.name} {told['args']}", command=(str(path), *args), exempt=told.get("not", {}),
                   protocols=tuple(p for p in found.protocols if p in protocols))
