"""docs/models.md has a section for every page in servers/, with facts that are made and prose that is not missing."""

import re

import pytest

from bench import docs_models, pages, paths

TEXT = (paths.ROOT / "docs" / "models.md").read_text()
SECTIONS = {
    found[1]: found[2] for found in re.finditer(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}


@pytest.mark.parametrize("model", pages.names())
def test_every_page_has_its_section(model: str) -> None:
    assert model in SECTIONS, f"servers/{model}.c has no section in docs/models.md (docs/adding-a-server.md)"
    section = SECTIONS[model]
    assert f"<!-- begin:facts-{model} -->" in section
    for part in ("How it waits.", "When to use it.", "The documents."):
        words = section.partition(f"**{part}** ")[2].partition("\n\n")[0].split()
        assert len(words) >= 12, f"{model}: {part} is missing or says nothing"


def test_no_section_is_left_of_a_page_that_is_gone() -> None:
    assert set(SECTIONS) <= set(pages.names())


def test_sections_stand_in_the_readers_order() -> None:
    assert list(SECTIONS) == pages.names()


@pytest.mark.parametrize("model", pages.names())
def test_what_was_counted_is_what_the_page_says(model: str) -> None:
    """The committed records, and so the tables, are of the pages as they are."""
    record = docs_models.anatomy.of(docs_models.sample(), model, "lockstep", "echo")
    if not record:
        pytest.skip(f"{model} is not in the committed records yet: make anatomy, then make docs ANATOMY=RUN")
    said = pages.read(model).calls
    assert {name: n for name, n in record["calls"].items() if name not in said.open_ended} == said.exact
