"""The worked examples of docs/ci.md: each command of each step exists and is spelt right; the gate's steps are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import ROOT

from bench import checked, cli, lockstep, project
from bench.errors import UsageError

EXAMPLES = ROOT / "examples" / "ci"
FILES = sorted(EXAMPLES.glob("*.yml"))
SERVICES = ("apt-get", "sudo")  # of the services' machines; not every machine that runs these tests has them
BUILTINS = ("cd",)


def steps(path: Path) -> list[tuple[str, str]]:
    """Each step's name and shell text: GitHub's `run: |` blocks, GitLab's lists of scripts."""
    lines = path.read_text().splitlines()
    found, name = [], path.name
    for number, line in enumerate(lines):
        if told := re.match(r"\s*- name: (.+)", line):
            name = told[1]
        if re.match(r"\s*run: \|$", line):
            depth = len(line) - len(line.lstrip())
            found.append((name, block(lines[number + 1 :], depth)))
        if told := re.match(r"(\s*)(before_script|script|after_script):$", line):
            items = block(lines[number + 1 :], len(told[1]))
            found.append((f"{name} {told[2]}", "".join(f"{item[2:]}\n" for item in items.splitlines())))
    return found


def block(lines: list[str], depth: int) -> str:
    """The lines that follow and are indented deeper."""
    taken = []
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        taken.append(line)
    return textwrap.dedent("\n".join(taken)).strip() + "\n"


def commands(text: str) -> list[list[str]]:
    """The words of each line, without assignments before the command and redirections after it."""
    found = []
    for line in text.strip().splitlines():
        if told := re.match(r'[A-Z]+="\$\((.+)\)"$', line):
            line = told[1].replace('"$(', "'$(").replace('0000"', "0000'")
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z]+=", words[0]):
            words.pop(0)
        if words:
            found.append(words[: words.index(">>")] if ">>" in words else words)
    return found


ALL = [
    pytest.param(words, id=f"{path.stem}: {' '.join(words)[:60]}")
    for path in FILES
    for _, text in steps(path)
    for words in commands(text)
]


def test_both_services_have_an_example_with_steps() -> None:
    assert [path.name for path in FILES] == ["github-actions.yml", "gitlab-ci.yml"]
    assert all(len(steps(path)) >= 5 for path in FILES)


@pytest.mark.parametrize("words", ALL)
def test_every_command_and_target_exists(words: list[str]) -> None:
    program = words[0]
    if program == "python3":
        assert words[1:3] == ["-m", "bench"]
        options = cli.parser().parse_args(words[3:])  # exits on a word that it does not know
        assert callable(options.function)
    elif program == "make":
        targets = [word for word in words[words.index("-C") + 2 :] if not word.startswith(("-", "$"))]
        assert targets
        for target in targets:
            arm = ROOT / "tests" / f"{target.removeprefix('build/')}.c"
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) or arm.is_file(), target
    elif program.startswith("muxbench/"):
        script = ROOT / program.removeprefix("muxbench/")
        assert os.access(script, os.X_OK)
        assert set(words[1:]) <= set(re.findall(r"^\t(\w+)\)$", script.read_text(), re.MULTILINE))
    else:
        assert program in BUILTINS or program in SERVICES or shutil.which(program), program


def test_the_example_file_is_a_project_file() -> None:
    told = checked.read(EXAMPLES / "muxbench.toml", "project")
    assert told["gate"]["mode"] == "exact" and told["server"]["command"][1] == "asyncio_echo.py"


# --- run --------------------------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A runner's folder: a project whose last commit makes one call more, and muxbench in it as the steps have it."""
    if why := lockstep.why_impossible():
        pytest.skip(why)
    place = tmp_path / "project"
    place.mkdir()
    text = (ROOT / "examples" / "asyncio_echo.py").read_text()
    (place / "asyncio_echo.py").write_text(text)
    shutil.copy(EXAMPLES / "muxbench.toml", place / ".muxbench.toml")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one")):
        git(place, *words)
    (place / "asyncio_echo.py").write_text(
        text.replace("self.transport.write(data)", "__import__('os').getppid(); self.transport.write(data)")
    )
    git(place, "commit", "-q", "-a", "-m", "two")
    (place / "muxbench").mkdir()
    for entry in ROOT.iterdir():
        (place / "muxbench" / entry.name).symlink_to(entry)
    return place


def test_githubs_steps_find_a_planted_call_and_report_it(site: Path) -> None:
    """Gate and Report as they stand in the file: exit code 10, a summary, a JUnit file."""
    results = site / "muxbench-results"
    environment = {
        **os.environ,
        "RESULTS": str(results),
        "BASE": git(site, "rev-parse", "HEAD~1"),
        "GITHUB_STEP_SUMMARY": str(site / "summary.md"),
        "MUXBENCH_LOCK": str(site),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    told = dict(steps(EXAMPLES / "github-actions.yml"))

    def run(name: str) -> subprocess.CompletedProcess:
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", told[name]]  # as GitHub runs a step
        return subprocess.run(shell, cwd=site, capture_output=True, text=True, timeout=120, env=environment)

    gated = run("Gate")
    assert gated.returncode == 10, gated.stdout + gated.stderr
    assert "asyncio-echo echo: +1 getppid per request (0 → 1)" in gated.stdout
    reported = run("Report")
    assert reported.returncode == 0, reported.stderr
    summary = (site / "summary.md").read_text()
    assert summary.startswith("### muxbench: REGRESSED") and "+1 getppid per request" in summary
    failures = list(ElementTree.parse(results / "junit.xml").getroot().iter("failure"))
    assert len(failures) == 2 and all("getppid" in failure.get("message") for failure in failures)


# --- the project file -------------------------------------------------------------------------------------------------

GOOD = '[server]\ncommand = ["./mine", "{port}"]\nprotocols = ["echo"]\n'


@pytest.mark.parametrize(
    "text, complaint",
    [
        (None, "no such project file"),
        ("[server\n", "not valid TOML"),
        ("", r"missing key 'server': expected a table \[server\]"),
        ('[server]\nprotocols = ["echo"]\n', "server: missing key 'command': expected a list of words"),
        (GOOD.replace("echo", "ekho"), "server.protocols.0: expected echo, greet, http or frame"),
        (GOOD.replace("{port}", "{prot}"), "server.command: expected no braces but {port} and {protocol}"),
        (GOOD + 'comand = "x"\n', r"server: unknown key 'comand' \(did you mean command\?\)"),
        (GOOD + '[gate]\nmode = "fast"\n', r"gate.mode: expected exact \(system calls"),
        (GOOD + "[gate]\nmargin = 5\n", "gate.margin: expected a share such as 0.05"),
        (GOOD + '[gate]\ncases = ["udp"]\n', "gate.cases.0: expected echo, http or connection"),
    ],
)
def test_a_wrong_project_file_is_explained_by_file_and_key(tmp_path: Path, text: str | None, complaint: str) -> None:
    if text is not None:
        (tmp_path / ".muxbench.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"\.muxbench\.toml: {complaint}"):
        project.load(tmp_path)


def test_a_project_becomes_a_contender_that_runs_in_its_tree(tmp_path: Path) -> None:
    (tmp_path / ".muxbench.toml").write_text(GOOD + "clients_at_once = 7\n")
    found = project.load(tmp_path)
    arm = project.arm_of(found, tmp_path / "tree")
    assert arm.argv == ("env", "-C", str(tmp_path / "tree"), "./mine", "{port}") and arm.clients_at_once == 7
    path = tmp_path / "mine.toml"
    path.write_text(project.as_contender(found, tmp_path / "tree"))
    assert checked.read(path, "contender")["command"] == list(arm.argv)


def test_a_build_that_fails_is_told_with_its_last_line(tmp_path: Path) -> None:
    (tmp_path / ".muxbench.toml").write_text(
        GOOD + 'build = ["sh", "-c", "echo one; echo no such header >&2; exit 3"]\n'
    )
    with pytest.raises(Exception, match=r"server.build: sh -c .* ended with status 3: no such header"):
        project.build(project.load(tmp_path), tmp_path)
