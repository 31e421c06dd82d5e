"""Merging results, searching a rate, fairness."""
import json
import subprocess

import pytest
from conftest import LOADGEN, attempts, check_document, loadgen, peer


def merge(*paths, out="-"):
    done = subprocess.run([LOADGEN, "merge", "--json", out, *paths], capture_output=True, timeout=20)
    return done.returncode, done.stdout, done.stderr.decode()


def test_merging_loses_nothing(tmp_path):
    paths, docs = [], []
    with peer(lie="wrong", every=50) as server:
        for number, options in enumerate((("--rate", "1k"), ("--rate", "500", "--arrival", "poisson"))):
            docs.append(loadgen(server.target, "--protocol", "echo", "--connections", 5, *options).doc)
            paths.append(tmp_path / f"{number}.json")
            paths[-1].write_text(json.dumps(docs[-1]))
    status, out, _ = merge(*paths)
    merged = json.loads(out)
    check_document(merged)
    assert status == merged["exit"] and merged["failed"]
    assert merged["errors"] == {"mismatch": sum(d["errors"]["mismatch"] for d in docs)}
    assert merged["target_rps"] == 1500
    for name in merged["counts"]:
        assert merged["counts"][name] == sum(d["counts"][name] for d in docs)
    for name in ("latency_intended_ns", "latency_sent_ns", "connect_ns"):
        bins = {}
        for low, n in (pair for d in docs for pair in d[name]["bins"]):
            bins[low] = bins.get(low, 0) + n
        assert merged[name]["bins"] == [list(pair) for pair in sorted(bins.items())]
        assert merged[name]["sum"] == sum(d[name]["sum"] for d in docs)
        assert merged[name]["max"] == max(d[name]["max"] for d in docs)
    middle = sorted(low for low, n in merged["latency_sent_ns"]["bins"] for _ in range(n))
    half = middle[(len(middle) + 1) // 2 - 1]
    assert half <= merged["latency_sent_ns"]["p50"] <= half * (1 + 1 / 128)


def test_one_result_merged_is_itself(tmp_path):
    with peer(lie="silent", every=9) as server:
        run = loadgen(server.target, *"--protocol echo --connections 50 --rate 200 --timeout 10s --drain 200ms".split())
    (tmp_path / "a").write_text(json.dumps(run.doc))
    _, out, _ = merge(tmp_path / "a")
    merged = json.loads(out)
    assert merged["latency_intended_ns"]["unfinished"] > 0
    for name in ("latency_intended_ns", "latency_sent_ns", "schedule_lag_ns", "generator_lag_ns", "connect_ns", "counts", "errors"):
        assert merged[name] == run.doc[name]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"counts": {}, "errors": {}, "warmup_errors": {}, "connect_ns": {"n": 1}}'])
def test_what_is_no_result_is_refused(tmp_path, content):
    (tmp_path / "bad").write_text(content)
    status, out, err = merge(tmp_path / "bad")
    assert status == 2 and out == b"" and err.count("\n") == 1 and "bad" in err


def test_a_rate_is_found():
    """Four connections and 20 ms per reply: 200 replies per second are the most there can be, and a queue means missing p90 = 100 ms."""
    def attempt():
        with peer(delay=20_000_000) as server:
            run = loadgen(server.target, *"--protocol echo --connections 4 --duration 400ms --find-rate p90=100ms".split())
        found = run.doc["find_rate"]
        good = [step["rate"] for step in found["steps"] if step["met"]]
        assert found["ceiling_rps"] < 210 and all(rate < 210 for rate in good)
        assert all((step["missed"] is None) == step["met"] for step in found["steps"])
        if good:
            assert good[-1] == found["best_rate"] == pytest.approx(run.doc["target_rps"])
            assert run.doc["latency_intended_ns"]["p90"] <= 100e6
        return found["best_rate"] or 0

    attempts(4, attempt, lambda rate: rate > 100)  # a crowded host keeps less


def test_no_rate_is_found():
    with peer(delay=20_000_000) as server:
        run = loadgen(server.target, *"--protocol echo --connections 4 --duration 100ms --find-rate p50=10ms".split())
    assert run.doc["failed"] and run.doc["find_rate"]["best_rate"] is None
    assert any("--find-rate" in reason for reason in run.doc["reasons"])


def test_fairness():
    with peer(delay=2_000_000) as server:
        even = loadgen(server.target, *"--protocol echo --connections 5 --threads 2".split()).doc
    with peer(delay=2_000_000) as server:
        starved = loadgen(server.target, *"--protocol echo --connections 50 --rate 50 --duration 400ms".split()).doc
    assert even["fairness"]["connections"] == 5 and even["fairness"]["starved"] == 0 and even["fairness"]["jain"] > 0.8
    assert starved["fairness"]["starved"] == 30 and starved["fairness"]["max"] == 1
    assert starved["fairness"]["jain"] == pytest.approx(20 / 50)
