"""Documents: generated blocks are current, and every mark is known."""

import re
from pathlib import Path

import pytest

from bench import derive, docs, paths
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


def test_unknown_block_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PAGE.md: unknown block 'results-tabel' \(did you mean results-table\?\)"):
        docs.filled("<!-- begin:results-tabel -->\n<!-- end:results-tabel -->", {}, tmp_path / "PAGE.md")
