"""Pruning, training on and distilling: small networks against what they are by definition."""

import numpy as np
import pandas as pd
import pytest
import torch
from made_up_costs import compressed_models
from small import series

from lmmoe.detectors import detector, saving
from lmmoe.errors import DataError
from lmmoe.report import compress
from lmmoe.report.compress import Student, continued, pruned

LIGHT = {"experts": 3, "kernels": 4, "hidden": 6, "out": 5, "tower": 3, "window": 6, "epochs": 1}
HEAVY = {"experts": 4, "kernels": [4, 6], "hidden": [8, 6], "out": 4, "tower": [4, 3]}
MADE = {"LightMMoE": LIGHT, "HMMoE": HEAVY | {"window": 5, "epochs": 1}}


def rows(count=200, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, 3))
    values[:, 1] = np.sin(np.arange(count) / 4)
    return values


@pytest.fixture(params=MADE)
def made(request):
    return detector(request.param, **MADE[request.param]).fit(rows())


def as_pruned(made, **shares):
    settings, state = pruned(made, rows(), **shares)
    return continued(made, settings, state, rows(), epochs=0)


def same_scores(one, other, **near):
    given = rows(seed=1)
    np.testing.assert_allclose(one.decision_function(given), other.decision_function(given), **near)


def test_pruning_to_all_changes_nothing(made):
    same = as_pruned(made)
    assert same.parameters == made.parameters
    same_scores(same, made, rtol=0)


def test_dead_kernels_are_those_that_go(made):
    """In each expert other kernels have no weight: without them nothing changes."""
    experts, state = made.experts, made.network.state_dict()
    for part in (state["experts.conv"], state["experts.conv_bias"]):
        by_expert = part.view(*part.shape[:-1], experts, -1)
        for expert in range(experts):
            by_expert[..., expert, [expert % 4, (expert + 1) % 4]] = 0
    for name in ("experts.norm.mean", "experts.norm.bias"):
        if name in state:
            state[name].zero_()
    if "experts.deeper.0" in state:
        dead = torch.tensor([[1, 3, 4], [0, 4, 5], [0, 1, 2], [2, 3, 4]])[:, None]
        for name in ("deeper.0", "deeper_biases.0", "deeper_norms.0.mean", "deeper_norms.0.bias"):
            part = state[f"experts.{name}"]
            part.scatter_(2, dead.expand(-1, part.shape[1], -1), 0.0)
    smaller = as_pruned(made, kernels=0.5)
    assert smaller.kernels == (2 if made.name == "LightMMoE" else [2, 3])
    assert smaller.parameters < made.parameters
    same_scores(smaller, made, rtol=1e-4, atol=1e-5)


def test_dead_hidden_units_are_those_that_go(made):
    state = made.network.state_dict()
    for layer, size in enumerate([6] if made.name == "LightMMoE" else [8, 6]):
        for expert in range(made.experts):
            dead = (np.arange(size // 2) + expert) % size
            state[f"experts.layers.weights.{layer}"][expert, :, dead] = 0
            state[f"experts.layers.biases.{layer}"][expert, :, dead] = 0
    smaller = as_pruned(made, hidden=0.5)
    assert smaller.hidden == (3 if made.name == "LightMMoE" else [4, 3])
    same_scores(smaller, made, rtol=1e-4, atol=1e-5)


def test_the_least_used_experts_go(made):
    """The gate's softmax is then over the others: worked out from the parts of the network."""
    used = made.gate_weights(rows()).mean(axis=(0, 1))
    count = max(1, round(0.5 * made.experts))
    kept = sorted(np.argsort(used)[-count:].tolist())
    smaller = as_pruned(made, experts=0.5)
    assert smaller.experts == count
    windows = made._windows(rows(seed=1))
    with torch.inference_mode():
        shares = made.network.gate(windows)[..., kept]
        shares /= shares.sum(dim=-1, keepdim=True)
        expert = made.network.experts(windows)[kept]
        mixed = torch.bmm(shares, expert.transpose(0, 1))
        expected = made.network.towers(mixed).numpy()
        np.testing.assert_allclose(smaller.network(windows).numpy(), expected, atol=1e-5)


def test_a_pruned_detector_can_be_saved_and_leaves_the_original_alone(made, tmp_path):
    before = made.decision_function(rows())
    smaller = as_pruned(made, kernels=0.5, hidden=0.5, experts=0.5)
    again = saving.load(saving.save(smaller, tmp_path / "small.safetensors"))
    assert again.name == made.name
    same_scores(again, smaller, rtol=0)
    np.testing.assert_array_equal(made.decision_function(rows()), before)


def test_what_cannot_be_pruned():
    made = detector("LightMMoE", **LIGHT).fit(rows())
    for share in (0, 1.5, float("nan")):
        with pytest.raises(DataError, match=r"hidden=.*: a share above 0 and at most 1 is needed"):
            pruned(made, rows(), hidden=share)
    with pytest.raises(DataError, match="cannot be pruned: other experts or gate"):
        pruned(detector("LightMMoE", **LIGHT, gate="mean").fit(rows()), rows(), experts=0.5)


def test_training_goes_on_from_the_weights_given():
    made = detector("LightMMoE", **LIGHT).fit(rows())
    settings, state = pruned(made, rows())
    on = continued(made, settings, state, rows(), epochs=3)
    anew = detector("LightMMoE", **LIGHT | {"epochs": 3}).fit(rows())
    assert on.history.training[0] < anew.history.training[0]  # it does not begin at chance
    assert len(on.history.training) == 3


def student(teacher, share, **settings):
    made = Student(**(LIGHT | settings))
    made.teacher, made.share = teacher, share
    return made.fit(rows())


def test_without_the_teacher_distillation_is_plain_training(tmp_path):
    teacher = detector("HMMoE", **MADE["HMMoE"]).fit(rows())
    taught, plain = student(teacher, 0.0), detector("LightMMoE", **LIGHT).fit(rows())
    np.testing.assert_array_equal(taught.decision_scores_, plain.decision_scores_)
    assert taught.history.held_out == plain.history.held_out
    again = saving.load(saving.save(taught, tmp_path / "student.safetensors"))
    same_scores(again, taught, rtol=0)


def test_a_teacher_alone_makes_an_imitator():
    """Trained long on forecasts only, it is nearer to the teacher than training on truth is."""
    teacher = detector("HMMoE", **MADE["HMMoE"]).fit(rows())
    long = {"epochs": 15, "held_out": 0.0, "expert_dropout": 0.0}
    imitator = student(teacher, 1.0, **long)
    plain = detector("LightMMoE", **LIGHT | long).fit(rows())
    goal = teacher.forecasts(rows())[10:]
    far = [
        np.square(one.forecasts(rows())[-len(goal) :] - goal).mean() for one in (imitator, plain)
    ]
    assert far[0] < 0.7 * far[1]


def test_every_method_is_measured_and_one_that_fails_costs_no_other(monkeypatch):
    one = series(rows=260)
    bases = {name: detector(name, **MADE[name]).fit(one.train[:208]) for name in MADE}

    def fails(*given, **settings):
        raise RuntimeError("no")

    monkeypatch.setattr(compress, "Bfloat16", fails)
    table = pd.DataFrame(compress.measured(one, bases, vus_window=5)).assign(entity="m")
    assert table["method"].tolist() == [*(m.name for m in compress.METHODS), *compress.CONTROLS]
    failed = table[table["error"].notna()]
    assert (
        failed["method"].tolist() == ["bfloat16"] and failed["error"].item() == "RuntimeError: no"
    )
    good = table[table["error"].isna() & (table["kind"] != "control")]
    assert good[["parameters", "bytes", "average_precision", "speed"]].notna().all(axis=None)
    shares = compress.kept_shares(table)
    light = shares[shares["base"] == "LightMMoE"]
    assert light.loc["LightMMoE", ["parameters", "average_precision", "speed"]].eq(1).all()
    assert light.loc["half of the experts", "parameters"] < 1


def test_shares_are_ratios_of_means_over_the_methods_own_machines():
    one, two = compressed_models(), compressed_models().assign(entity="n", point_f1_pa=0.1)
    shares = compress.kept_shares(one)
    large = shares[shares["base"] == "HMMoE"]
    assert large.loc["half of the experts", "average_precision"] == pytest.approx(0.75)
    assert len(shares[shares.index == "random"]) == 2  # beside each base
    two = two[two["method"] != "half of the experts"]  # it failed there
    shares = compress.kept_shares(pd.concat([one, two]))
    assert shares.loc["half of the experts", "point_f1_pa"] == pytest.approx(0.81 / 0.9)
    assert shares.loc["half of the experts", "entities"] == 1
    assert compress.kept_shares(one.iloc[:0]).empty
