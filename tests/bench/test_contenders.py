"""Contenders: described by a file or following the contract, they are measured like models; a wrong file is explained."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, House

from bench import contenders, records
from bench.errors import UsageError

TRY = ("--duration", "5ms", "--warmup", "1ms", "--blocks", "2")


def contender(folder: Path, **changes: str) -> Path:
    lines = {
        "thesis": '"a test"',
        "command": f'["{sys.executable}", "{ROOT}/examples/asyncio_echo.py", "{{port}}"]',
        "ready_line": '"listening"',
        "protocols": '["echo"]',
    } | changes
    path = folder / "mine.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in lines.items() if value))
    return path


def test_every_shipped_contender_and_its_program_exist() -> None:
    for path in contenders.files():
        arm = contenders.load(path)
        program = next((word for word in arm.argv if word.startswith("examples/")), None)
        assert program is None or (ROOT / program).is_file()


@pytest.mark.parametrize("ready", ['"listening"', ""], ids=["by its line", "by its port"])
def test_any_command_that_listens_is_measured(house: House, ready: str) -> None:
    house.servers("epoll_lt")
    path = contender(house.folder, ready_line=ready)
    done = house.bench("try", "epoll_lt", str(path), *TRY)
    assert done.returncode == 0, done.stdout + done.stderr
    mine = [r for r in records.read_samples(house.run_folder()) if r["arm"] == "mine"]
    assert [r["status"] for r in mine] == ["ok", "ok"]
    assert len({r["server"]["argv"][-1] for r in mine}) == 2, "a free port for each"


def test_workers_are_watched_too(house: House) -> None:
    script = house.folder / "two.py"
    script.write_text(f"import os, runpy, sys\nif os.fork() == 0:\n    import time; time.sleep(100)\nsys.argv.pop(0)\nrunpy.run_path(sys.argv[0], run_name='__main__')\n")
    house.servers("epoll_lt")
    path = contender(
        house.folder, command=f'["{sys.executable}", "{script}", "{ROOT}/examples/asyncio_echo.py", "{{port}}"]'
    )
    assert house.bench("try", "epoll_lt", str(path), *TRY).returncode == 0
    mine = [r for r in records.read_samples(house.run_folder()) if r["arm"] == "mine"]
    assert all(len(r["server"]["pids"]) == 2 for r in mine)
    assert all(r["loadgen"]["argv"].count("--watch") == 2 for r in mine)


def test_resume_refuses_a_contender_whose_program_changed(house: House) -> None:
    script = house.folder / "mine.py"
    script.write_text((ROOT / "examples" / "asyncio_echo.py").read_text())
    house.servers("epoll_lt")
    path = contender(house.folder, command=f'["{sys.executable}", "{script}", "{{port}}"]')
    assert house.bench("try", "epoll_lt", str(path), *TRY).returncode == 0
    samples = house.run_folder() / "samples.jsonl"
    samples.write_text("".join(samples.read_text().splitlines(keepends=True)[:-1]))
    with open(script, "a") as file:
        file.write("# another version\n")
    refused = house.bench("resume")
    assert refused.returncode == 1 and "mine.py of mine" in refused.stderr and "is not what" in refused.stderr


def test_command_that_cannot_be_started_is_a_failed_sample(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("try", "epoll_lt", str(contender(house.folder, command='["/no/such/program", "{port}"]')), *TRY)
    assert done.returncode == 1 and "could not be started" in done.stdout and "/no/such/program" in done.stdout


def test_the_documented_example_follows_the_contract(house: House) -> None:
    page = (ROOT / "docs" / "adding-a-server.md").read_text()
    mine = house.folder / "mine"
    mine.write_text(
        re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace("/usr/bin/env python3", sys.executable)
    )
    mine.chmod(0o755)
    house.servers("epoll_lt")
    done = house.bench("try", "epoll_lt", str(mine), *TRY)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_documented_contender_file_is_the_shipped_one() -> None:
    page = (ROOT / "docs" / "adding-a-server.md").read_text()
    assert re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1] == (
        ROOT / "bench" / "contenders" / "asyncio.toml"
    ).read_text()


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_node_example_listens(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("try", "epoll_lt", "node", *TRY)
    assert done.returncode == 0, done.stdout + done.stderr


WRONG = [
    ({"thesis": ""}, "missing key 'thesis': expected one line: how it waits"),
    ({"command": '"python3"'}, "command: expected a list of words"),
    ({"command": '["serve", "{prot}"]'}, "command: expected no braces but {port} and {protocol}, got '{prot}'"),
    ({"protocols": '["gopher"]'}, "protocols.0: expected echo, greet, http or frame"),
    ({"ready": '"x"'}, "unknown key 'ready' (did you mean ready_line?)"),
]


@pytest.mark.parametrize("changes, words", WRONG, ids=[words.split(":")[0] for _, words in WRONG])
def test_wrong_file_is_explained(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        contenders.load(contender(tmp_path, **changes))
    assert "mine.toml: " + words in str(caught.value)


def test_unknown_names_get_the_nearest(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("try", "epoll_lt", "asynco")
    assert done.returncode == 2 and "no model or contender 'asynco' (did you mean asyncio?)" in done.stderr
    missing = house.bench("try", "epoll_lt", "./nowhere")
    assert missing.returncode == 2 and "./nowhere: no such program" in missing.stderr


def test_try_explains_every_option_of_a_load(house: House) -> None:
    done = house.bench("try", "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--rate", "--per-connection", "--path"):
        assert option in done.stdout
    assert "--populations" not in done.stdout  # no word on a command line could say it


def test_try_takes_a_rate_as_a_number_and_refuses_a_word_for_one(house: House) -> None:
    house.servers("epoll_lt")
    assert house.bench("try", "epoll_lt", "--rate", "5000", "--dry-run").returncode == 0
    done = house.bench("try", "epoll_lt", "--connections", "many", "--dry-run")
    assert done.returncode == 2
    assert "connections: expected a whole number" in done.stderr
