"""Looking inside a fitted model: each number against a hand-worked or naive one."""

import numpy as np
import pandas as pd
import pytest
import torch
from drawing import drawn
from small import LIGHT, TwoSeries, series

from lmmoe.detectors import detector
from lmmoe.report import inside
from lmmoe.report.ablation import last_value_error
from lmmoe.report.experiment import Run
from lmmoe.report.plots import inside as pictures

SERIES = series(400)


@pytest.fixture(scope="module")
def model():
    return detector("LightMMoE", **LIGHT | {"epochs": 6}).fit(SERIES.train)


def test_entropy_by_hand():
    shares = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert inside.entropy(shares) == pytest.approx([0, 1, 0.5])
    assert inside.entropy(np.ones((3, 2, 1))).tolist() == [[0, 0]] * 3


def naive_cka(x, y):
    """By the kernels themselves: HSIC of centred Gram matrices (Kornblith et al., section 3)."""
    centre = np.eye(len(x)) - np.ones((len(x), len(x))) / len(x)
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


def test_cka_is_that_of_the_gram_matrices_and_does_not_see_rotation_scale_and_shift():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, width = rng.integers(3, 12), rng.integers(1, 5)
        x, y = rng.normal(size=(n, width)), rng.normal(size=(n, width + 1))
        assert inside.cka(x, y) == pytest.approx(naive_cka(x, y)) == inside.cka(y, x)
        turned = 3 * x @ np.linalg.qr(rng.normal(size=(width, width)))[0] + 3
        assert inside.cka(turned, y) == pytest.approx(inside.cka(x, y))


def test_similarities_of_experts_and_towers(model):
    assert np.isnan(inside.cka(np.array([[1.0], [-1], [1], [-1]]), np.ones((4, 2))))
    rows = inside.held_out(SERIES, model)
    with torch.inference_mode():
        one, other = model.network.experts(model._windows(rows)).numpy()  # fewer than a sample
    expected = np.array([[1, naive_cka(one, other)], [naive_cka(one, other), 1]])
    assert inside.expert_similarity(model, rows) == pytest.approx(expected, rel=1e-4)
    # Towers by finite differences.
    found, network = inside.tower_similarity(model, rows), model.network
    network.double()
    try:
        windows = model._windows(rows).double()
        with torch.no_grad():
            mixed = torch.bmm(network.gate(windows), network.experts(windows).transpose(0, 1))
            read = torch.zeros(mixed.shape[1:], dtype=torch.float64)
            for number in range(mixed.shape[2]):
                step = torch.zeros_like(mixed)
                step[..., number] = 1e-6
                change = network.towers(mixed + step) - network.towers(mixed - step)
                read[:, number] = change.mean(dim=0) / 2e-6
    finally:
        network.float()
    known = read.norm(dim=1).numpy() > 0  # so small a tower may have no live unit
    assert np.array_equal(np.isnan(np.diag(found)), ~known) and known.sum() > 1
    unit = read[known] / read[known].norm(dim=1, keepdim=True)
    assert found[np.ix_(known, known)] == pytest.approx((unit @ unit.T).numpy(), abs=1e-4)


def test_disturbances_by_the_naive_way(model):
    """Row by row and channel by channel, from the parts of the network."""
    rows, base = inside.held_out(SERIES, model), last_value_error(SERIES)
    assert len(rows) == 40 + 8  # a tenth of 400, and one window
    windows, target = model._windows(rows), model._scaled(rows)[8:].numpy()
    network = model.network
    with torch.inference_mode():
        outputs, shares = network.experts(windows).numpy(), network.gate(windows).numpy()
        towers = [[w[c].numpy() for w in network.towers.weights] for c in range(4)]
        biases = [[b[c].numpy() for b in network.towers.biases] for c in range(4)]

    def error(share_of, shift=0):
        total = 0.0
        for t in range(40):
            for c in range(4):
                x = sum(share_of(t, c)[e] * outputs[e, t] for e in range(2))
                k = (c + shift) % 4
                hidden = np.maximum(x @ towers[k][0] + biases[k][0][0], 0)
                forecast = (hidden @ towers[k][1] + biases[k][1][0]).item()
                total += (forecast - target[t, c]) ** 2
        return total / 160 / base

    alone = [error(lambda t, c: [1, 0]), error(lambda t, c: [0, 1])]
    expected = {
        "as trained": model.decision_scores_[-40:].mean() / base,
        "gates at their mean": error(lambda t, c: shares[:, c].mean(axis=0)),
        "all experts alike": error(lambda t, c: [0.5, 0.5]),
        "gates of the next channel": error(lambda t, c: shares[t, c - 1]),
        "towers of the next channel": error(lambda t, c: shares[t, c], shift=1),
        "the best expert alone": min(alone),
        "the worst expert alone": max(alone),
    }
    found = inside.disturbed(model, SERIES)
    assert found.pop("gates of another moment") != pytest.approx(found["as trained"])
    assert found == pytest.approx(expected, rel=1e-4)


class Fleet(TwoSeries):
    """Two made-up entities, the first too short for any model."""

    def load(self, entity):
        return series(8 if entity == "m1" else 400, entity=entity, labels=None, causes=None)


def test_facts_of_every_entity_and_gaps_where_none_can_be_fitted(monkeypatch, small_runs):
    small = {"LightMMoE": LIGHT, "untrained LightMMoE": LIGHT | {"epochs": 0}}
    monkeypatch.setattr(
        inside, "Run", lambda made, name, seed: Run(made, name, seed=seed, settings=small[name])
    )
    found = inside.table(Fleet())
    assert list(found.index) == ["m1", "m2"] and found.index.name == "entity"
    assert found.loc["m1"].isna().all()
    assert found.loc["m2"].notna().all()  # without labels all rows are normal
    drawn(lambda: pictures.disturbances(found))
    drawn(lambda: pictures.disturbances(found[:1]))


def test_facts_tell_events_from_the_rest_and_a_model_from_its_start(model):
    start = detector("untrained LightMMoE", **LIGHT | {"epochs": 0}).fit(SERIES.train)
    found = inside.facts(model, start, SERIES)
    shares, began = model.gate_weights(SERIES.test), start.gate_weights(SERIES.test)
    undecided = inside.entropy(shares).mean(axis=1)
    labels = SERIES.labels[model.unscored :]
    assert found["gate_entropy"] == pytest.approx(undecided[labels == 0].mean())
    assert found["gate_weight_moved"] == pytest.approx(
        np.mean([np.abs(a - b).sum() / 2 for a, b in zip(shares, began, strict=True)]) / 4
    )
    # A step of no length leaves the weights that were drawn.
    kept = detector("LightMMoE", **LIGHT | {"epochs": 1, "learning_rate": 1e-30}).fit(SERIES.train)
    still = inside.facts(kept, start, SERIES)
    assert still["gate_weight_moved"] == 0
    assert still["expert_similarity"] == still["expert_similarity_start"]


def test_pictures_of_gates_and_of_disturbances():
    made, shares = series(), np.full((292, 4, 2), 0.5)
    for event in ((0, 3), (100, 120), (299, 300)):
        figure = drawn(
            lambda event=event: pictures.gates_over_time(made, shares, np.full(292, 0.7), 1, event)
        )
        assert figure.axes[0].get_ylabel() == made.channels[1]
        legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
        assert legend == ["expert 1", "expert 2"]
    facts = pd.DataFrame({name: [0.5, 2.0] for name in ("entropy", "as trained", "other")})
    [ax] = drawn(lambda: pictures.disturbances(facts)).axes
    assert [text.get_text() for text in ax.texts] == ["1.00"] * 2
    assert [label.get_text() for label in ax.get_yticklabels()] == ["other", "as trained"]
