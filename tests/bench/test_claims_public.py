"""What papers, posts, commits and issues say: the claims whose ids begin with P."""

import re

import pytest

from bench import claims_file

CLAIMS = {claim.id: claim for claim in claims_file.load_all()}
PUBLIC = {id: claim for id, claim in CLAIMS.items() if id.startswith("P")}


def test_at_least_forty_can_be_tested_on_one_machine():
    assert len([claim for claim in PUBLIC.values() if not claim.absent]) >= 40


@pytest.mark.parametrize("claim", PUBLIC.values(), ids=list(PUBLIC))
def test_a_public_claim_says_whose_it_is_and_how_ours_differs(claim):
    assert claim.ours, "a replication that does not say so"
    assert re.match(r"https?://[\w.-]+/", claim.source["url"])
    told = " ".join([claim.source.get("numbers", ""), claim.source.get("paraphrase", ""), *claim.source.get("quote", [])])
    for part in claim.parts:
        assert "theirs" not in part or re.search(r"\d", told), "a figure of theirs from nowhere"


@pytest.mark.parametrize("claim", [c for c in CLAIMS.values() if c.contradicts], ids=lambda claim: claim.id)
def test_who_contradicts_is_contradicted(claim):
    assert [other for other in claim.contradicts if claim.id not in CLAIMS[other].contradicts] == []
