"""`bench check`: an honest server passes, a liar fails in words, and what cannot be asked is said."""

import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT, House

SWAPPER = """
import asyncio, sys
class Swap(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(data[::-1])
async def main():
    server = await asyncio.get_running_loop().create_server(Swap, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


def contender(folder: Path, program: str, **more: str) -> str:
    path = folder / "mine.toml"
    keys = {
        "thesis": '"a test"',
        "command": f'["{sys.executable}", "{program}", "{{port}}"]',
        "protocols": '["echo"]',
        **more,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in keys.items()))
    return str(path)


def documented(house: House) -> str:
    page = (ROOT / "docs" / "adding-a-server.md").read_text()
    mine = house.folder / "mine"
    mine.write_text(
        re.search(r"```python\n(.*?)```", page, re.DOTALL)[1].replace("/usr/bin/env python3", sys.executable)
    )
    mine.chmod(0o755)
    return str(mine)


@pytest.mark.parametrize("name", ["asyncio", "the documented one"])
def test_the_shipped_examples_pass_all_that_a_contender_is_asked(house: House, name: str) -> None:
    done = house.bench("check", name if name == "asyncio" else documented(house))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout and not re.search(r"\b0 passed", done.stdout)


def test_a_liar_is_told_what_it_does_wrong(house: House) -> None:
    program = house.folder / "swap.py"
    program.write_text(SWAPPER)
    done = house.bench("check", contender(house.folder, str(program)), "-k", "every_size and 4096 or eof_without")
    assert done.returncode == 1
    assert "failed  echo: every size comes back" in done.stdout
    assert "1 passed, 1 failed" in done.stdout, "the end without a byte is right"


def test_a_program_that_claims_the_whole_contract_is_asked_for_its_counters(house: House) -> None:
    done = house.bench("check", documented(house), "--contract", "-k", "eof_without or describe_is")
    assert done.returncode == 1 and "counter 'accepted' is None, expected a number" in done.stdout


def test_scenarios_of_other_protocols_are_not_asked(house: House) -> None:
    done = house.bench("check", "asyncio", "-k", "test_http")
    assert done.returncode == 1 and "no scenario fits -k test_http" in done.stderr


def test_one_that_never_listens_fails_with_its_words(house: House) -> None:
    program = house.folder / "dies.py"
    program.write_text("raise SystemExit('no such device')")
    done = house.bench("check", contender(house.folder, str(program)), "-k", "eof_without")
    assert done.returncode == 1 and "exit 1, stderr 'no such device'" in done.stdout


def test_one_that_this_host_cannot_run_is_skipped_with_its_reason(house: House) -> None:
    program = house.folder / "dies.py"
    program.write_text("import sys; print('io_uring is refused here', file=sys.stderr); sys.exit(77)")
    done = house.bench("check", contender(house.folder, str(program)), "-k", "eof_without")
    assert done.returncode == 77 and "mine cannot run here: io_uring is refused here" in done.stdout
