"""What papers, posts, commits and issues say: the claims whose ids begin with P; and claims that contradict each other."""

import re

import pytest

from bench import claims_file, needs

FILES = [path for path in claims_file.files() if path.name.startswith("p")]


@pytest.fixture(scope="module")
def claims():
    return {claim.id: claim for claim in claims_file.load_all()}


def test_at_least_forty_can_be_tested_on_one_machine(claims):
    assert len([claim for id, claim in claims.items() if id.startswith("P") and not claim.absent]) >= 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_public_claim_says_whose_it_is_and_how_ours_differs(path):
    claim = claims_file.load(path)
    assert claim.ours or claim.kind != "experiment", "a replication that does not say so"
    assert re.match(r"https?://[\w.-]+/", claim.source["url"])
    told = " ".join([claim.source.get("numbers", ""), claim.source.get("paraphrase", ""), *claim.source.get("quote", [])])
    for part in claim.parts:
        figure = claim.kind == "experiment" and isinstance(part.get("theirs"), (int, float))
        assert not figure or re.search(r"\d", told), "a figure of theirs from nowhere"


def test_who_contradicts_is_contradicted(claims):
    one_sided = [
        (claim.id, other) for claim in claims.values() for other in claim.contradicts if claim.id not in claims[other].contradicts
    ]
    assert one_sided == []


def test_a_server_of_too_few_cpus_is_told_how_to_get_more():
    assert needs.missing({"server_cpus": 4}, 1024, server_cpus=4) is None
    why = needs.missing({"server_cpus": 4}, 1024)
    assert why == "needs 4 CPUs for the server (--server-cpus), it has 1"
