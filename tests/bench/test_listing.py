"""`list models` shows every page, also one that cannot be built or run here; what a model lacks is refused by name."""

from pathlib import Path

import pytest
from conftest import House

from bench import available, pages


def write_page(folder: Path, name: str, libraries: str = "") -> None:
    (folder / f"{name}.c").write_text(
        f'/* {name}: a page.{libraries} */\nstatic const struct model model = {{.thesis = "Thesis of {name}.",}};\n'
    )


@pytest.fixture
def here(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A build folder of fakes beside a folder of pages, in this process."""
    monkeypatch.setenv("BUILD", str(house.build))
    (tmp_path / "pages").mkdir()
    monkeypatch.setattr(pages, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(pages.names, "__defaults__", (tmp_path / "pages",))
    monkeypatch.setattr(pages.read, "__defaults__", (tmp_path / "pages",))
    return house


def test_every_page_is_listed_with_what_this_host_says(here: House) -> None:
    here.servers("epoll_lt", "not_here", "dies_early", "deaf")
    for name in ("epoll_lt", "not_here", "dies_early", "deaf", "unbuilt"):
        write_page(pages.PAGES, name)
    write_page(pages.PAGES, "kqueue", " pkg-config: no-such-library-here")
    found = {model.name: model for model in available.every()}
    assert set(found) == {"epoll_lt", "not_here", "dies_early", "deaf", "unbuilt", "kqueue"}
    assert found["epoll_lt"].here == "ok" and found["epoll_lt"].thesis == "a fake called epoll_lt"
    assert found["not_here"].here == "cannot run here: io_uring_setup: refused by seccomp"
    assert found["dies_early"].here.startswith("fails: ") and "a fake reason" in found["dies_early"].here
    assert found["deaf"].here == "runs, but does not end on SIGTERM"
    assert found["unbuilt"].here.endswith("run make") and found["unbuilt"].thesis == "Thesis of unbuilt."
    assert found["kqueue"].here == "left out: this host has no no-such-library-here"
    assert list(found)[0] == "epoll_lt" and found["kqueue"].arm is None


def test_the_command_lists_this_projects_pages_without_a_build(house: House) -> None:
    done = house.bench("list", "models")
    assert done.returncode == 0, done.stderr
    for name in pages.names():
        assert name in done.stdout


def test_a_protocol_that_an_arm_does_not_speak_is_refused_with_those_that_do(house: House) -> None:
    house.servers("epoll_lt", "poll")
    done = house.bench("try", "poll", "epoll_lt", "--protocol", "greet")
    assert done.returncode == 2
    assert "poll does not speak greet; of the models these do: none" in done.stderr


def test_an_option_that_an_arm_does_not_have_is_refused_with_those_that_do(house: House) -> None:
    house.servers("epoll_lt", "poll")
    done = house.bench("try", "poll", "epoll_lt", "--workers", "2")
    assert done.returncode == 2
    assert "poll has no --workers; of the models these have: none" in done.stderr
