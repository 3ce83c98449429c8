"""Claims about cost, held against made-up measurements."""

import math

import pandas as pd
import pytest
from made_up_claims import CONTRADICTED, FAILS, HOLDS, UNTESTED, judged
from made_up_costs import costs

from lmmoe.report import claims, efficiency, runs
from lmmoe.report.claims import published
from lmmoe.report.tables import efficiency as tables


def milliseconds(**values):
    return pd.DataFrame({"detector": list(values), "latency_ms": list(values.values())})


class TestLatency:
    @pytest.mark.parametrize(
        ("hmmoe", "verdict"),
        # 150 over 15, each to half a digit: 145 / 15.5 = 9.35 to 155 / 14.5 = 10.69 times CAD's.
        [(18.8, HOLDS), (20, HOLDS), (21.3, HOLDS), (18.6, FAILS), (21.5, FAILS)],
    )
    def test_a_plain_number_is_a_multiple_of_cads(self, hmmoe, verdict):
        table = milliseconds(**{"CAD-as-run": 2.0, "HMMoE": hmmoe})
        found = judged(efficiency=table)["C084"]
        assert (found.measured, found.verdict) == (hmmoe, verdict)
        assert "accepted from 140.32 to 160.34" in found.why

    def test_its_own_pages_disagree_whatever_we_measure(self):
        table = milliseconds(**{"CAD-as-run": 2.0, "LightMMoE": 12.0})
        found = judged(efficiency=table)["C083"]
        assert found.verdict == CONTRADICTED and "6 times that of CAD-as-run" in found.why

    def test_without_cad_there_is_nothing_to_hold_it_against(self):
        found = judged(efficiency=milliseconds(HMMoE=12.0))["C084"]
        assert (found.measured, found.verdict) == (12, UNTESTED)
        assert "nothing to hold it against" in found.why
        assert judged(efficiency=milliseconds(CAD=1.0))["C084"].why.startswith("not run yet: ")

    def test_a_bound_is_tested_here(self):
        assert judged(efficiency=milliseconds(LightMMoE=4.9))["A029"].verdict == HOLDS
        assert judged(efficiency=milliseconds(LightMMoE=5.1))["A029"].verdict == FAILS


class TestThroughput:
    def test_the_study_s_own_inference_time(self):
        # 708,420 rows in three groups of 170 s: 1,389 rows a second; more than 1000, not 2000.
        table = pd.DataFrame({"detector": ["LightMMoE"], "samples_per_second": [50_000.0]})
        found = judged(efficiency=table)
        assert [found[name].verdict for name in ("A030", "B044")] == [HOLDS, HOLDS]
        assert "gives 1,389; printed is 2000" in found["A030"].why
        assert "170 s for a third of the 708,420 test rows (C059)" in found["B044"].why

    def test_unmeasured_the_study_s_own_number_speaks(self):
        found = judged()
        assert [found[name].verdict for name in ("A030", "B044")] == [FAILS, UNTESTED]
        assert found["A030"].why.startswith("not run yet: ")

    def test_without_that_time(self, monkeypatch):
        rest = tuple(one for one in published.claims() if one.id != "C059")
        claim = next(one for one in rest if one.id == "A030")
        monkeypatch.setattr("lmmoe.report.claims.cost.claims", lambda: rest)
        from lmmoe.report.claims.cost import throughput
        from lmmoe.report.claims.evidence import Evidence

        assert math.isnan(throughput(claim, Evidence(pd.DataFrame())).study)


class TestMemory:
    def test_beyond_the_libraries_and_with_them(self):
        table = pd.DataFrame({"detector": ["LightMMoE"], "inference_mb": [8.0]})
        plain = judged(efficiency=table)["A031"]
        assert plain.verdict == HOLDS and "the whole process" not in plain.why
        found = judged(efficiency=table.assign(process_mb=300.0))["A031"]
        assert (found.measured, found.verdict) == (8, HOLDS)
        assert "the whole process holds 300 MB" in found.why
        assert judged(efficiency=table.assign(inference_mb=31.0))["A031"].verdict == FAILS


class TestEvidence:
    def test_columns_as_the_audit_asks_for_them(self):
        table = efficiency.evidence(costs())
        names = ["detector", "latency_ms", "samples_per_second", "inference_mb", "process_mb"]
        assert list(table) == names
        light = table.set_index("detector").loc["LightMMoE"]
        assert light.tolist() == [0.5, 256_000, 8, 300]
        assert "PCA" not in set(table["detector"])  # it failed
        assert efficiency.evidence(costs().loc[["PCA"]]) is None


def test_claims_about_cost_are_chosen_and_counted():
    audit = claims.audit(runs.ordered(pd.DataFrame()), efficiency=efficiency.evidence(costs()))
    table = tables.claims_of_cost(audit)
    assert {"A029", "A030", "A031", "C063", "C086", "A004"} <= set(table["id"])
    # Those of other notebooks, and scores, are not among them.
    assert not {"B047", "C001", "A024"} & set(table["id"])
    timed = tables.claims_of_cost(audit, tables.MEASURED)
    counted = tables.claims_of_cost(audit, tables.COUNTED)
    assert sorted([*timed["id"], *counted["id"]]) == sorted(table["id"])
    said = claims.counted(table, "cost")
    assert said.startswith(f"Of {len(table)} claims about cost: ")
    count = (table["verdict"] == HOLDS).sum()
    assert f"“{HOLDS}” {count}" in said
    lines = claims.listed(timed).splitlines()
    assert len(lines) == 2 + len(timed) and {line.count(" | ") for line in lines} == {5}
    latency = next(line for line in lines if "A029" in line)
    assert latency.startswith(
        "| A029, latency | LightMMoE (one sample) | 5 ms, below | 0.50 | **holds** | LightMMoE: "
    )
    ratio = next(line for line in lines if "C086" in line)
    assert "| LightMMoE (vs CAD) | 26 |  | **" in ratio
