"""bench/require.sh on machines that lack things: a PATH of fakes stands in for the machine, a fake apt-get for the network."""

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "require.sh"


class Machine:
    """A PATH with the shell's own tools and nothing else."""

    def __init__(self, folder: Path):
        self.bin = folder / "bin"
        self.log = folder / "apt.log"
        self.bin.mkdir()
        for tool in ("sort", "rm", "tee", "chmod", "env", "cat", "mkdir"):
            (self.bin / tool).symlink_to(f"/usr/bin/{tool}")
        self.command("id", "echo 0")

    def command(self, name: str, body: str = "exit 0") -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def apt(self, brings: str) -> None:
        """An apt-get that logs its words and installs one command."""
        self.command(
            "apt-get",
            f'echo "$@" >>{self.log}\nprintf "#!/bin/sh\\n" >{self.bin}/{brings}\nchmod 755 {self.bin}/{brings}',
        )

    def script(self) -> str:
        """The script, with a PATH that cannot reach the real machine's daemons."""
        text = SCRIPT.read_text().replace("PATH=$PATH:/usr/sbin:/sbin", "PATH=$PATH").replace(
            "/usr/sbin/policy-rc.d", str(self.bin / "policy-rc.d")
        )
        copy = self.bin / "require.sh"
        copy.write_text(text)
        return str(copy)

    def run(self, *tiers: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["/bin/sh", self.script(), *tiers],
            env={"PATH": str(self.bin), **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    for name in ("nginx", "redis-server", "memcached", "clang", "pkg-config"):
        machine.command(name)
    return machine


def test_silent_and_quick_when_nothing_is_missing(machine: Machine) -> None:
    begun = time.monotonic()
    done = machine.run("extras")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - begun < 5


def test_where_nobody_can_be_asked_the_one_command_is_printed(machine: Machine) -> None:
    machine.apt("nginx")
    (machine.bin / "nginx").unlink()
    done = machine.run("extras")
    assert done.returncode == 1
    assert "sudo apt-get install -y --no-install-recommends nginx-light\n" in done.stderr
    assert not machine.log.exists(), "nothing was installed unasked"


@pytest.mark.parametrize("environment", [{"CI": "1"}, {"CI": "true"}, {"YES": "1"}], ids=str)
def test_told_so_it_installs_without_asking(machine: Machine, environment: dict[str, str]) -> None:
    machine.apt("nginx")
    (machine.bin / "nginx").unlink()
    done = machine.run("extras", **environment)
    assert done.returncode == 0, done.stderr
    assert machine.log.read_text() == "install -y --no-install-recommends nginx-light\n"


def test_daemons_do_not_start_while_it_installs_and_the_ban_is_lifted(machine: Machine) -> None:
    policy = machine.bin / "policy-rc.d"
    machine.command("apt-get", f"{policy}; echo $? >{machine.log}; printf '#!/bin/sh\\n' >{machine.bin}/nginx")
    (machine.bin / "nginx").unlink()
    assert machine.run("extras", YES="1").returncode == 0
    assert machine.log.read_text() == "101\n", "policy-rc.d forbids every start"
    assert not policy.exists()


def test_an_administrators_own_policy_is_left_alone(machine: Machine) -> None:
    machine.command("policy-rc.d", "exit 0  # mine")
    machine.apt("nginx")
    (machine.bin / "nginx").unlink()
    assert machine.run("extras", YES="1").returncode == 0
    assert "mine" in (machine.bin / "policy-rc.d").read_text()


def test_failed_installation_is_tried_once_more_with_fresh_lists_then_given_up(machine: Machine) -> None:
    machine.command("apt-get", f'echo "$1" >>{machine.log}; [ "$1" = update ]')
    (machine.bin / "nginx").unlink()
    done = machine.run("extras", CI="1")
    assert machine.log.read_text().split() == ["install", "update", "install"]
    assert done.returncode == 1 and "the installation failed" in done.stderr and "nginx-light" in done.stderr
    assert not (machine.bin / "policy-rc.d").exists()


def test_without_root_and_without_sudo_it_stops(machine: Machine) -> None:
    machine.command("id", "echo 1000")
    machine.apt("nginx")
    (machine.bin / "nginx").unlink()
    done = machine.run("extras", CI="1")
    assert done.returncode == 1 and "needs root" in done.stderr and not machine.log.exists()


def test_without_apt_it_names_the_packages(machine: Machine) -> None:
    (machine.bin / "memcached").unlink()
    done = machine.run("extras", YES="1")
    assert done.returncode == 1 and "no apt-get" in done.stderr and "memcached" in done.stderr


@pytest.mark.parametrize("answer, installs", [("y", True), ("", True), ("n", False)])
def test_a_person_at_a_terminal_is_asked(machine: Machine, answer: str, installs: bool) -> None:
    machine.apt("nginx")
    (machine.bin / "nginx").unlink()
    leader, follower = pty.openpty()
    os.write(leader, f"{answer}\n".encode())
    done = subprocess.run(
        ["/bin/sh", machine.script(), "extras"],
        env={"PATH": str(machine.bin)},
        stdin=follower,
        capture_output=True,
        text=True,
        timeout=20,
    )
    os.close(leader)
    os.close(follower)
    assert "[Y/n]" in done.stderr
    assert machine.log.exists() == installs
    assert done.returncode == (0 if installs else 1)


def test_empty_machine_lists_each_package_once(tmp_path: Path) -> None:
    done = Machine(tmp_path).run("build", "extras", "build")
    listed = done.stderr.splitlines()[0].split(": missing for")[1].split(":")[1].split()
    assert {"gcc", "make", "pkg-config", "liburing-dev", "libjansson-dev", "nginx-light"} <= set(listed)
    assert len(listed) == len(set(listed))


def test_unknown_tier_is_usage(machine: Machine) -> None:
    done = machine.run("benhc")
    assert done.returncode == 2 and "expected build, bench, test or extras" in done.stderr


def test_this_very_machine_has_the_test_tier() -> None:
    done = subprocess.run([SCRIPT, "build", "bench", "test"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
