"""The ledger: made from records alone, complete, honest about contradictions, current in the documents, and drawn."""

import io
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from claims_fakes import Fake, claim, part, run_folder

from bench import claims_agree, claims_file, claims_ledger, claims_plan, claims_text, claims_verdict
from bench import docs, docs_claims, drawing
from bench.errors import UsageError

PROBE = '[probe]\nname = "edge_trigger"\n'
PAIR = 'arm = "poll"\nover = "epoll_lt"\n'
CROSSES = part("place", "within = [20, 800]", "crossover", PAIR + 'along = "connections"\nlevel = 1.5')
GROWS = part("scaling", "above = 3", "growth", 'arm = "poll"\nalong = "connections"')
TWICE = part("direction", "above = 1.2") + "theirs = 1.5\n"
FACT = part("behaviour", "equals = 524", "fact", 'field = "after.queued"', "")
QUOTED = 'quote = ["word for word"]'


def truth(arm: str, cell: dict) -> float:
    return 100 + 0.4 * cell["connections"] if arm == "poll" else 100.0


@pytest.fixture
def claims(tmp_path: Path) -> list[claims_file.Claim]:
    """One of each kind: two that contradict each other, a fact, and one that nobody can test."""
    return [
        claim(tmp_path, TWICE + GROWS + CROSSES, id="P90", more='contradicts = ["P92"]'),
        claim(tmp_path, FACT, id="P91", source=PROBE),
        claim(tmp_path, part("direction", "below = 0.8"), id="P92"),
        claim(tmp_path, "", id="P93", source="", more='absent = "kqueue is not Linux\'s"\n'),
    ]


@pytest.fixture
def run(tmp_path: Path, claims: list[claims_file.Claim]) -> Path:
    return run_folder(tmp_path / "results" / "20260101-000000-claims-full", claims, truth)


@pytest.fixture
def ledger(run: Path) -> dict:
    return claims_ledger.derive(run)


def by_id(ledger: dict) -> dict[str, dict]:
    return {one["id"]: one for one in ledger["claims"]}


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_every_claim_has_its_verdict_and_every_part_its_own(ledger: dict) -> None:
    found = by_id(ledger)
    assert {id: one["verdict"] for id, one in found.items()} == {
        "P90": "reproduced",
        "P91": "reproduced",
        "P92": "not reproduced",
        "P93": "not testable here",
    }
    assert ledger["counts"] == {"reproduced": 2, "not reproduced": 1, "not testable here": 1}
    assert [p["verdict"] for p in found["P90"]["parts"]] == ["reproduced"] * 3
    assert found["P90"]["parts"][0]["theirs"] == 1.5 and found["P90"]["parts"][0]["blocks"] == 12
    assert found["P91"]["parts"][0]["ours"] == "524 in 3 runs" and found["P91"]["parts"][0]["runs"] == [True] * 3
    assert found["P93"]["why"] == [{"code": "platform", "text": "kqueue is not Linux's"}]
    assert found["P93"]["figure"] is None


def test_each_part_names_the_command_that_shows_its_samples(ledger: dict, run: Path) -> None:
    found = by_id(ledger)
    assert found["P90"]["parts"][0]["commands"] == [f"python3 -m bench show {run.name} p90/connections=100"]
    assert len(found["P90"]["parts"][1]["commands"]) == 4, "a scaling is read from every place on its axis"


def test_the_same_records_give_the_same_bytes(run: Path) -> None:
    claims_ledger.write(run)
    first = (run / "derived" / "ledger.json").read_bytes()
    claims_ledger.write(run)
    assert (run / "derived" / "ledger.json").read_bytes() == first
    assert b"Infinity" not in first and b"NaN" not in first


def test_a_region_changed_after_the_run_changes_nothing(run: Path, claims: list, ledger: dict) -> None:
    path = Path(claims[0].file)
    path.write_text(path.read_text().replace("above = 1.2", "above = 9"))
    assert claims_ledger.derive(run) == ledger


def test_a_crossover_is_attached_to_a_direction(tmp_path: Path) -> None:
    """The ratio at 1,000 connections is what is asked; where it passes 1 is what the records tell besides."""
    one = claim(tmp_path, part("direction", "above = 1.2", rest=PAIR + "at = {connections = 1000}"))
    rises = lambda arm, metric, cell: (cell["connections"] / 31.6) ** 0.15 if arm == "poll" else 1.0  # noqa: E731
    [crossed] = claims_ledger.of_data(Fake([one], rises, noise=0.05), "run", "host", 0)["claims"][0]["crossovers"]
    assert crossed["low"] < 31.6 < crossed["high"] and crossed["rises"] and crossed["along"] == "connections"
    assert claims_ledger.of_data(Fake([one], rises, blocks=3), "run", "host", 0)["claims"][0]["crossovers"] == []


def test_no_digit_is_finer_than_an_interval_around_zero() -> None:
    told = claims_ledger.Estimate(0.000207, -0.0397, 0.0402, 12)
    assert [claims_ledger.rounded(end, told) for end in (told.value, told.low, told.high)] == [0, -0.04, 0.04]
    wide = claims_ledger.Estimate(0.9, 0.0001, 51_000, 2)
    assert claims_ledger.rounded(0.9, wide) == 0.9, "what is above zero is known by its logarithm"


def test_what_lies_beyond_all_measured_is_told_and_null(tmp_path: Path) -> None:
    one = claim(tmp_path, part("size", "above = 5", metric="p99_us"))
    data = Fake([one], lambda arm, metric, cell: math.inf if arm == "poll" else 100.0)
    [found] = claims_ledger.of_data(data, "run", "host", 0)["claims"][0]["parts"]
    assert found["ours"] == "×∞ (∞ to ∞)" and found["value"] is None and found["verdict"] == "reproduced"


FILES = [path for path in claims_file.files()]


def test_every_claim_of_the_house_comes_out_with_a_verdict() -> None:
    """Whatever statistics they use: over simulated data each has an entry that can be written down."""
    found = [claims_plan.settled(claims_file.load(path), "full", 20_000) for path in FILES]
    absent = {one.id: SimpleNamespace(code="platform", text=one.absent) for one in found if one.absent}
    done = [0.051 * (k + 1) for k in range(2000)]
    runs = [SimpleNamespace(service_s=0.05, completions_s=done, interleaved=True)] * 12
    data = Fake(found, called=[{"recv": 1.0, "epoll_wait": 1.0}] * 3, facts=[{}] * 3, runs=runs, lacking=absent)
    ledger = claims_ledger.of_data(data, "run", "host", 0)
    json.dumps(ledger, allow_nan=False)
    assert len(ledger["claims"]) == len(FILES) == sum(ledger["counts"].values())
    assert {one["verdict"] for one in ledger["claims"]} <= set(claims_verdict.VERDICTS)
    assert claims_text.table(ledger).count("\n") == len(FILES) + 2


# --- two runs --------------------------------------------------------------------------------------------------------


def test_two_runs_agree_until_a_verdict_turns_round(tmp_path: Path, run: Path, claims: list) -> None:
    less = run_folder(tmp_path / "results" / "less", claims, lambda arm, cell: truth(arm, cell) * 1.01)
    console = Console(file=io.StringIO(), width=120)
    assert claims_agree.show(run, less, console) == 0
    assert "4 claims in both: 4 with the same word, 0 turned round, 0 lean apart" in console.file.getvalue()
    upside_down = run_folder(tmp_path / "results" / "turned", claims, lambda arm, cell: 1 / truth(arm, cell))
    assert claims_agree.show(run, upside_down, console) == 1
    assert "P90: reproduced, then not reproduced" in console.file.getvalue()


def test_another_region_is_another_part(ledger: dict) -> None:
    other = json.loads(json.dumps(ledger))
    by_id(other)["P92"]["parts"][0]["region"] = {"below": 0.5}
    found, parts = claims_agree.pairs(ledger, other)
    assert [pair.name for pair in found] == ["P90", "P91", "P93"] and "P92 direction" not in [p.name for p in parts]


def test_leanings_may_differ() -> None:
    apart = claims_agree.Pair("P1", "leans reproduced", "not reproduced")
    assert apart.leans_apart and not apart.turned
    assert not claims_agree.Pair("P1", "reproduced", "inconclusive").turned


# --- as people read it -----------------------------------------------------------------------------------------------


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_table_has_a_row_for_each_claim_and_contradictions_side_by_side(ledger: dict) -> None:
    table = rows(claims_text.table(ledger))
    assert {len(row) for row in table} == {7}
    assert [row[0].split("]")[0] for row in table[2:]] == ["[P90", "[P92", "[P91", "[P93"]
    assert "⇄ P92" in table[2][0] and "⇄ P90" in table[3][0] and "⇄" not in table[4][0]
    assert "*direction* ×1.5" in table[2][2] and "**✔ reproduced**" == table[2][4]
    assert re.search(r"\*direction\* ×1\.4\d* \(1\.\d+ to 1\.\d+\) ✔", table[2][3])
    assert table[5][6] == "kqueue is not Linux's [platform]"


def test_the_compact_table_fits_a_phone(ledger: dict) -> None:
    table = rows(claims_text.compact(ledger))
    assert {len(row) for row in table} == {3} and len(table) == 6
    assert table[2][0] == "[P90](docs/ledger.md#p90) ⇄ P92"


def test_the_document_links_samples_figures_and_files(ledger: dict, run: Path) -> None:
    text = claims_ledger.markdown(run, ledger)
    assert "4 claims: 2 reproduced, 1 not reproduced, 1 not testable here" in text
    assert '<a id="p90"></a>' in text and "[figure](../figures/claims/p90.svg)" in text and "p93.svg" not in text
    assert f"`python3 -m bench show {run.name} p90/connections=100`" in text and "p90-planted.toml)" in text
    assert "in place of the author's" in text and "ours: numbers out of a generator" in text


def on_terminal(show) -> str:
    console = Console(file=io.StringIO(), width=160, highlight=False)
    show(console)
    return console.file.getvalue()


def test_the_terminal_shows_counts_rows_and_reasons(run: Path) -> None:
    text = on_terminal(lambda console: claims_ledger.show(run, console))
    assert "4 claims: 2 reproduced" in text and "P90 ⇄ P92" in text and "kqueue is not Linux's [platform]" in text


def test_one_claim_in_full(run: Path) -> None:
    text = on_terminal(lambda console: claims_ledger.show_claim(run, "p90", console))
    assert "A planted source" in text and "above 1.2?" in text and "theirs ×1.5" in text
    assert re.search(r"against +P92", text) and re.search(r"in short +It is as it was planted", text)
    assert "samples: python3 -m bench show" in text and "block by block:" in text
    with pytest.raises(UsageError, match=r"no claim 'P9' in .*did you mean"):
        claims_ledger.show_claim(run, "P9", Console(file=io.StringIO()))


# --- the committed sample and the documents --------------------------------------------------------------------------


@pytest.fixture
def sampled(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sample = tmp_path / "sample" / "claims"
    for module in (claims_ledger, docs_claims):
        monkeypatch.setattr(module, "SAMPLE", sample)
    docs_claims.take_sample(run, sample)
    return sample


def without_commands(ledger: dict) -> dict:
    told = json.loads(json.dumps(ledger))
    for one in told["claims"]:
        for asked in one["parts"]:
            asked.pop("commands")
    return told


def test_a_sample_gives_what_its_run_gave_and_is_small(run: Path, sampled: Path, ledger: dict) -> None:
    assert without_commands(claims_ledger.derive(sampled)) == without_commands(ledger)
    lines = (sampled / "samples.jsonl").read_text().splitlines()
    assert len(lines) == len((run / "samples.jsonl").read_text().splitlines())
    assert max(map(len, lines)) < 400 and "bins" not in lines[0]


def test_a_sample_keeps_who_was_the_limit_and_no_quotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = claim(tmp_path, part("direction", "above = 1.2"))
    path = Path(quoted.file)
    path.write_text(path.read_text().replace('paraphrase = "It is as it was planted."', QUOTED))
    one = claims_plan.settled(claims_file.load(path), "full", 20_000)
    run = run_folder(tmp_path / "results" / "claims", [one], truth, bound="poll")
    sample = tmp_path / "sample"
    monkeypatch.setattr(claims_ledger, "SAMPLE", sample)
    docs_claims.take_sample(run, sample)
    found = claims_ledger.derive(sample)
    assert found["claims"][0]["why"][0]["code"] == "client-bound" and found["claims"][0]["verdict"] == "inconclusive"
    assert not any("word for word" in path.read_text() for path in sample.iterdir())


def test_documents_are_silent_without_a_sample_and_filled_with_one(
    tmp_path: Path, sampled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "**4 claims: 2 reproduced" in docs_claims.summary({}) and "(docs/ledger.md#p90)" in docs_claims.summary({})
    assert docs_claims.whole({}).startswith("# The claims ledger")
    monkeypatch.setattr(docs_claims, "SAMPLE", tmp_path / "nowhere")
    assert docs_claims.summary({}) == "" and docs_claims.whole({}) == "" and docs_claims.draw() == []
    monkeypatch.setattr(docs_claims, "PAGE", tmp_path / "ledger.md")
    docs_claims.lay_page()
    assert not (tmp_path / "ledger.md").exists()


def test_a_run_of_something_else_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run of claims"):
        docs_claims.take_sample(run_folder(tmp_path / "quick", [], truth), tmp_path / "sample")


HAS_SAMPLE = (docs_claims.SAMPLE / "plan.json").exists()


@pytest.mark.skipif(not HAS_SAMPLE, reason="no sample of claims is committed yet")
def test_the_committed_ledger_is_what_the_sample_gives() -> None:
    told = json.loads((docs_claims.SAMPLE / "derived" / "ledger.json").read_text())
    assert json.loads(json.dumps(claims_ledger.derive(docs_claims.SAMPLE))) == told, "run: make docs"


@pytest.mark.skipif(not HAS_SAMPLE, reason="no sample of claims is committed yet")
def test_the_whole_ledger_is_a_page_and_its_figures_are_there() -> None:
    assert "begin:ledger" in docs_claims.PAGE.read_text()
    shown = re.findall(r"\]\((figures/claims/[^)]+)\)", docs_claims.PAGE.read_text())
    assert shown and all((docs_claims.PAGE.parent / path).is_file() for path in shown)


def test_marks_of_the_ledger_are_known() -> None:
    assert {"ledger", "ledger-summary"} <= set(docs.BLOCKS)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_each_measured_claim_and_the_whole_ledger_are_drawn(run: Path) -> None:
    claims_ledger.write(run)
    made = drawing.drawn("plots.claims", run, "--svg")
    assert sorted(path.stem for path in made) == ["ledger", "p90", "p91", "p92"]
    assert all(path.stat().st_size > 5000 for path in made) and made[0].parent == run / "figures" / "claims"


def test_figures_of_a_sample_replace_those_before(tmp_path: Path, sampled: Path, monkeypatch) -> None:
    monkeypatch.setattr(docs_claims, "FIGURES", tmp_path / "figures")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "p01.svg").write_text("of a claim that the sample has no more")
    monkeypatch.setattr(drawing, "drawn", lambda *words: [Path(words[-1]) / "p90.svg"])
    assert docs_claims.draw() == [tmp_path / "figures" / "p90.svg"]
    assert not (tmp_path / "figures" / "p01.svg").exists()


def test_a_figure_shades_what_confirms() -> None:
    from plots import claims as figure

    assert figure.spans({"above": 1.2}, 0.5, 4) == [(1.2, 4)] and figure.spans({"below": 1}, 0.5, 4) == [(0.5, 1)]
    assert figure.spans({"within": [1, 2]}, 0, 9) == [(1, 2)] and figure.spans({"equals": 1}, 0, 9) == []
    assert figure.spans({"outside": [1, 2]}, 0, 9) == [(0, 1), (2, 9)]
    assert figure.spans({"above": 1, "below": 2}, 0, 9) == [(1, 2)]


def test_every_verdict_has_a_look_of_its_own_in_words_and_in_figures() -> None:
    from plots.verdicts import LOOKS

    assert set(LOOKS) == set(claims_text.SIGNS) == set(claims_verdict.VERDICTS)
    assert [how.sign for how in LOOKS.values()] == [claims_text.SIGNS[word][0] for word in LOOKS]
    assert len({how.sign for how in LOOKS.values()}) == len(LOOKS), "told apart without colour"
    assert len({how.fill for how in LOOKS.values()}) == len(LOOKS)
