"""Claims about smaller models, and the one audit that every notebook shows."""

import pandas as pd
import pytest
from made_up_claims import FAILS, HOLDS, UNTESTED, judged
from made_up_costs import compressed_models, costs

from lmmoe import paths
from lmmoe.report import claims, runs
from lmmoe.report.claims import published
from lmmoe.report.compress import kept_shares


def test_shares_of_the_base():
    shares = kept_shares(compressed_models())
    large = shares[shares["base"] == "HMMoE"]
    assert large.loc["half of the experts", "parameters"] == pytest.approx(0.4)
    assert large.loc["half of the experts", "average_precision"] == pytest.approx(0.75)
    assert large.loc["random", "point_f1_pa"] == pytest.approx(0.8)
    assert len(shares[shares.index == "random"]) == 2  # beside each base
    assert kept_shares(compressed_models().iloc[:0]).empty


@pytest.mark.parametrize(
    ("name", "measured", "verdict"),
    [
        ("B047", 60, HOLDS),  # pruning saves 50-70 %
        ("B048", 90, FAILS),  # and keeps 95-98 %
        ("B049", 70, HOLDS),  # distillation saves 60-80 %
        ("B050", 50, FAILS),  # and keeps 92-96 %
        ("B051", 0, FAILS),  # int8 leaves as many parameters: 30-50 %
        ("B052", 100, HOLDS),  # all is kept, more than 98-99 %
    ],
)
def test_the_smallest_of_each_kind_is_judged(name, measured, verdict):
    found = judged(compressed=compressed_models())[name]
    assert (found.measured, found.verdict) == (pytest.approx(measured), verdict)


def test_reasons():
    found = judged(compressed=compressed_models())
    assert found["B047"].why == (
        "half of the experts, of HMMoE, on 1 of 28 machines: 60.0 % of parameters saved, 60.0 % of "
        "bytes; accepted from 50 on, the printed share or more."
    )
    said = "90.0 % of Point F1 (PA) kept, of which random scores keep 80 %; 75.0 % of average"
    assert said in found["B048"].why
    table = compressed_models()
    alone = judged(compressed=table[table["method"] != "random"])["B048"]
    assert "random scores keep unknown %" in alone.why


def test_a_method_is_held_against_its_own_machines():
    one, two = compressed_models(), compressed_models().assign(entity="n", point_f1_pa=0.1)
    two = two[two["method"] != "half of the experts"]  # it failed there
    shares = kept_shares(pd.concat([one, two]))
    assert shares.loc["half of the experts", "point_f1_pa"] == pytest.approx(0.81 / 0.9)
    assert shares.loc["half of the experts", "entities"] == 1


def test_without_measurements_nothing_is_judged():
    whole = compressed_models()
    failed = whole.assign(error="RuntimeError: no")
    small = whole[whole["base"] != "HMMoE"]
    for table in (None, whole.iloc[:0], pd.DataFrame(columns=["key"]), failed, small):
        found = judged(compressed=table)["B047"]
        assert found.verdict == UNTESTED and found.why == "not run yet: pruning of HMMoE."


class TestAtHand:
    @pytest.fixture
    def smd(self, tmp_path, monkeypatch):
        monkeypatch.setattr(paths, "home", lambda: tmp_path)
        folder = tmp_path / "figures" / "smd"
        folder.mkdir(parents=True)
        return folder

    def test_a_report_on_smd_is_judged_by_its_own_rows(self, smd):
        rows = pd.DataFrame({"dataset": ["smd"], "entity": ["machine-1-1"], "detector": ["random"]})
        rows = runs.ordered(rows.assign(protocol="study", settings="{}", seed=0, point_f1_pa=0.5))
        found, said = claims.audit_at_hand("smd", rows=rows, compressed=compressed_models())
        assert said.startswith("Judged on what this report measured")
        assert len(found) == len(published.claims())
        found = found.set_index("id")
        assert "Random scores reach 50.00" in found.loc["C001", "why"]
        assert found.loc["B047", "verdict"] == HOLDS

    def test_what_it_did_not_measure_is_taken_from_the_published_tables(self, smd):
        first = claims.audit_at_hand("smd")[0].set_index("id")
        assert first.loc[["A031", "B047"], "verdict"].tolist() == [UNTESTED, UNTESTED]
        costs().to_csv(smd / "efficiency.csv")
        compressed_models().assign(key="k").to_csv(smd / "compression.csv", index=False)
        found = claims.audit_at_hand("smd")[0].set_index("id")
        assert found.loc["A031", "measured"] == 8
        assert found.loc["B047", "measured"] == pytest.approx(60)
        none = claims.audit_at_hand("smd", compressed=compressed_models().iloc[:0])[0]
        assert none.set_index("id").loc["B047", "measured"] == pytest.approx(60)

    def test_other_data_show_the_published_audit(self, smd):
        assert claims.audit_at_hand("asd")[1] == "Judged on what `figures` holds of SMD."
        audit = claims.audit_at_hand("smd")[0]
        audit.loc[0, "why"] = "as published"
        audit.to_csv(smd / "claims.csv", index=False)
        found, said = claims.audit_at_hand("asd", compressed=compressed_models())
        assert "not SMD" in said and found["why"][0] == "as published"
        assert found["measured"].dtype == float
        assert found.set_index("id").loc["B047", "verdict"] == UNTESTED
