"""Documents: generated blocks are current, and every mark is known."""

import json
import re
from pathlib import Path

import pytest

from conftest import House

from bench import derive, docs, docs_claims, paths
from bench.errors import UsageError

HAS_SAMPLE = (paths.SAMPLE_RUN / "plan.json").exists()


@pytest.mark.skipif(not HAS_SAMPLE, reason="no sample of records is committed yet")
@pytest.mark.parametrize("path", docs.documents(), ids=lambda p: p.name)
def test_committed_document_is_what_make_docs_makes(path: Path) -> None:
    text = path.read_text()
    assert docs.filled(text, derive.derive(paths.SAMPLE_RUN), path) == text, "run: make docs"


@pytest.mark.skipif(not HAS_SAMPLE, reason="no sample of records is committed yet")
def test_every_figure_that_a_document_shows_is_committed() -> None:
    for path in docs.documents():
        for found in re.finditer(r"!\[[^]]*\]\(([^)]+)\)", path.read_text()):
            assert (path.parent / found[1]).is_file(), f"{path.name} shows {found[1]}"


@pytest.mark.parametrize("path", docs.documents(), ids=lambda p: p.name)
def test_every_mark_is_known_and_closed(path: Path) -> None:
    text = path.read_text()
    begun = [name for name in re.findall(r"^<!-- begin:(\S+) -->$", text, re.MULTILINE)]
    assert set(begun) <= set(docs.BLOCKS)
    assert begun == [found[2] for found in docs.MARK.finditer(text)]


def test_the_findings_show_each_claim_that_they_speak_of() -> None:
    if not docs_claims.SAMPLE.is_dir():
        pytest.skip("no run of claims is committed: make claims, then make docs CLAIMS=RUN")
    page = (paths.ROOT / "docs" / "findings.md").read_text()
    shown = re.findall(r"<!-- begin:claim-(\w+) -->\n(.*?)<!-- end:", page, re.DOTALL)
    assert len(shown) > 5 and not [name for name, text in shown if f"**{name.upper()}**" not in text.upper()]


def test_unknown_block_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PAGE.md: unknown block 'results-tabel' \(did you mean results-table\?\)"):
        docs.filled("<!-- begin:results-tabel -->\n<!-- end:results-tabel -->", {}, tmp_path / "PAGE.md")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The summary of a run over fakes, under the names of the shipped experiments."""
    house = House(tmp_path_factory.mktemp("house")).servers("epoll_lt", "poll", "blocking")
    path = house.experiment(name="rates", blocks=2, rates="[1000, 2000, 4000]")
    assert house.bench("run", path, "--no-figures").returncode == 0
    return derive.derive(house.run_folder())


def test_headline_table_has_every_model_and_says_why_one_is_missing(sample: dict) -> None:
    lines = docs.headline_table(sample).splitlines()
    assert lines[0] == "| model | CPU per request at 2,000 requests/s [µs] | p99 latency there [µs] |"
    assert lines[2:] == [
        "| `blocking` | serves one client at a time | serves one client at a time |",
        "| `poll` | 6 (×1.20) | 60 (×1.20) |",
        "| `epoll_lt` | 5 | 50 |",
    ]


def test_filling_a_document_twice_changes_nothing_more(sample: dict) -> None:
    page = paths.ROOT / "README.md"
    text = "<!-- begin:results-table -->\nold\n<!-- end:results-table -->\nprose stays\n<!-- begin:figure-rates -->\n<!-- end:figure-rates -->\n"
    once = docs.filled(text, sample, page)
    assert "old" not in once and "prose stays" in once and "](docs/figures/rates.svg)" in once
    assert docs.filled(once, sample, page) == once
    assert "](figures/rates.svg)" in docs.filled(text, sample, paths.ROOT / "docs" / "page.md")


def test_provenance_names_run_blocks_and_host(sample: dict) -> None:
    said = docs.provenance(sample)
    assert sample["run"] in said and "medians over 2 blocks" in said and "Linux" in said


def test_sample_derives_to_what_the_run_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    house = House(tmp_path_factory.mktemp("house")).servers("epoll_lt", "poll")
    assert house.bench("run", house.experiment(name="rates"), "--no-figures").returncode == 0
    monkeypatch.setattr(paths, "SAMPLE_RUN", tmp_path / "sample")
    docs.take_sample(house.run_folder())
    assert derive.derive(tmp_path / "sample") == derive.derive(house.run_folder())
    assert '"bins"' not in (tmp_path / "sample" / "samples.jsonl").read_text()
    assert '"bins"' in (house.run_folder() / "samples.jsonl").read_text()


@pytest.mark.skipif(not HAS_SAMPLE, reason="no sample of records is committed yet")
def test_committed_derived_data_are_what_the_sample_gives(tmp_path: Path) -> None:
    summary = json.loads((paths.SAMPLE_RUN / "derived" / "summary.json").read_text())
    assert json.loads(json.dumps(derive.derive(paths.SAMPLE_RUN))) == summary, "run: make docs"
