"""Looking inside a fitted model: each number against a hand-worked or naive one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import LIGHT, series

from lmmoe.detectors import detector
from lmmoe.errors import DataError
from lmmoe.report.ablation import inside, models
from lmmoe.report.ablation.forecast import last_value_error
from lmmoe.report.params import Profile

SERIES = series(400)
SHAPES = st.tuples(st.integers(3, 12), st.integers(1, 5), st.integers(0, 10_000))


@pytest.fixture(scope="module")
def model():
    return detector("LightMMoE", **LIGHT | {"epochs": 6}).fit(SERIES.train)


@pytest.fixture(scope="module")
def start():
    return detector("untrained LightMMoE", **LIGHT | {"epochs": 0}).fit(SERIES.train)


# --- entropy ---


def test_entropy_by_hand():
    shares = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert inside.entropy(shares) == pytest.approx([0, 1, 0.5])
    assert inside.entropy(np.ones((3, 2, 1))).tolist() == [[0, 0]] * 3


# --- similarity ---


def naive_cka(x, y):
    """By the kernels themselves: HSIC of centred Gram matrices (Kornblith et al., section 3)."""
    centre = np.eye(len(x)) - np.ones((len(x), len(x))) / len(x)
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    return np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))


@given(SHAPES)
def test_cka_is_that_of_the_gram_matrices(shape):
    n, width, seed = shape
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, width)), rng.normal(size=(n, width + 1))
    assert inside.cka(x, y) == pytest.approx(naive_cka(x, y))
    assert inside.cka(x, y) == pytest.approx(inside.cka(y, x))


@given(SHAPES, st.floats(0.1, 10))
def test_cka_does_not_see_rotation_scale_and_shift(shape, scale):
    n, width, seed = shape
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n, width))
    turned = scale * x @ np.linalg.qr(rng.normal(size=(width, width)))[0] + 3
    assert inside.cka(turned, x) == pytest.approx(1)
    assert inside.cka(turned, y) == pytest.approx(inside.cka(x, y))


def test_cka_of_what_has_nothing_in_common_and_of_a_constant():
    x = np.array([[1.0], [-1], [1], [-1]])
    y = np.array([[1.0], [1], [-1], [-1]])
    assert inside.cka(x, y) == pytest.approx(0)
    assert np.isnan(inside.cka(x, np.ones((4, 2))))
    found = inside.similarities(np.stack([x, y, 2 * x]))
    assert found == pytest.approx(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]))


# --- a model and its start ---


def test_the_start_is_where_training_began(start):
    """A step of no length leaves the weights that were drawn."""
    kept = detector("LightMMoE", **LIGHT | {"epochs": 1, "learning_rate": 1e-30}).fit(SERIES.train)
    assert np.array_equal(inside.gate_weights(kept), inside.gate_weights(start))
    assert inside.likeness(kept, start) == pytest.approx(1)


def test_gate_weights_are_all_of_them_and_move_with_training(model, start):
    own, common = 4 * 2 * 8, 2 * 8  # channels x experts x window
    assert len(inside.gate_weights(model)) == own + common
    assert 0 < inside.likeness(model, start) < 1
    none = detector("LightMMoE", **LIGHT | {"gate": "mean"}).fit(SERIES.train)
    assert len(inside.gate_weights(none)) == 0 and np.isnan(inside.likeness(none, none))


def test_expert_outputs_are_a_sample_of_what_the_experts_give(model, monkeypatch):
    monkeypatch.setattr(inside, "SAMPLE", 7)
    found = inside.expert_outputs(model, SERIES.test)
    assert found.shape == (2, 7, 4)
    with torch.inference_mode():
        all_of_them = model.network.experts(model._windows(SERIES.test)).numpy()
    for n in range(7):
        assert np.isclose(all_of_them, found[:, n][:, None], atol=1e-6).all(axis=(0, 2)).any()


# --- forecasts, disturbed and not ---


def test_as_trained_is_the_held_out_error(model):
    rows = inside.held_out(SERIES, model)
    assert len(rows) == 40 + 8  # a tenth of 400, and one window
    found = inside.disturbed(model, SERIES)
    expected = model.decision_scores_[-40:].mean() / last_value_error(SERIES)
    assert found["as trained"] == pytest.approx(expected, rel=1e-5)


def test_disturbances_by_the_naive_way(model):
    """Row by row and channel by channel, from the parts of the network."""
    rows = inside.held_out(SERIES, model)
    windows, target = model._windows(rows), model._scaled(rows)[8:].numpy()
    network = model.network
    with torch.inference_mode():
        outputs, shares = network.experts(windows).numpy(), network.gate(windows).numpy()
        towers = [[w[c].numpy() for w in network.towers.weights] for c in range(4)]
        biases = [[b[c].numpy() for b in network.towers.biases] for c in range(4)]

    def error(share_of, tower_of):
        total = 0.0
        for t in range(40):
            for c in range(4):
                x = sum(share_of(t, c)[e] * outputs[e, t] for e in range(2))
                k = tower_of(c)
                hidden = np.maximum(x @ towers[k][0] + biases[k][0][0], 0)
                forecast = (hidden @ towers[k][1] + biases[k][1][0]).item()
                total += (forecast - target[t, c]) ** 2
        return total / 160 / last_value_error(SERIES)

    expected = {
        "as trained": error(lambda t, c: shares[t, c], lambda c: c),
        "gates at their mean": error(lambda t, c: shares[:, c].mean(axis=0), lambda c: c),
        "all experts alike": error(lambda t, c: [0.5, 0.5], lambda c: c),
        "gates of the next channel": error(lambda t, c: shares[t, c - 1], lambda c: c),
        "towers of the next channel": error(lambda t, c: shares[t, c], lambda c: (c + 1) % 4),
    }
    alone = [error(lambda t, c: [1, 0], lambda c: c), error(lambda t, c: [0, 1], lambda c: c)]
    expected |= {"the best expert alone": min(alone), "the worst expert alone": max(alone)}
    found = inside.disturbed(model, SERIES)
    assert found.pop("gates of another moment") != pytest.approx(found["as trained"])
    assert found == pytest.approx(expected, rel=1e-4)


def test_channel_errors_by_hand(model):
    found = inside.channel_errors(model, SERIES)
    scaled = model._scaling(SERIES.train)
    steps = (np.diff(scaled, axis=0) ** 2)[-40:].mean(axis=0)
    errors = model.channel_scores(SERIES.train)[-40:].mean(axis=0)
    assert found == pytest.approx(errors / steps, rel=1e-4)


def test_a_channel_that_does_not_move_has_no_ratio():
    still = SERIES.train.copy()
    still[:, 1] = 3
    made = series(400, train=still)
    found = inside.channel_errors(detector("LightMMoE", **LIGHT).fit(still), made)
    assert np.isnan(found[1]) and np.isfinite(found[[0, 2, 3]]).all()


# --- what forecasts listen to ---


def test_listening_by_finite_differences(model, monkeypatch):
    monkeypatch.setattr(inside, "PROBES", 3)
    rows = inside.held_out(SERIES, model)[:11]  # three windows, so that all are drawn
    found = inside.listening(model, rows)
    windows = model._windows(rows).double()
    network = model.network.double()
    moved = np.zeros((4, 4))
    with torch.inference_mode():
        for n in range(3):
            for c in range(4):
                for w in range(8):
                    more = windows[n : n + 1].clone()
                    more[0, c, w] += 1e-6
                    change = network(more) - network(windows[n : n + 1])
                    moved[:, c] += np.abs(change.numpy()[0]) / 1e-6
    model.network.float()
    sizes = moved.sum(axis=1, keepdims=True)
    # A tower of three units may be dead: a forecast that never moves listens to nothing.
    expected = np.divide(moved, sizes, out=np.zeros((4, 4)), where=sizes > 0)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert (sizes > 0).sum() >= 2


def test_without_its_gates_a_network_of_one_expert_listens_alike():
    """One expert has the whole share: holding gates still changes nothing."""
    lone = detector("LightMMoE", **LIGHT | {"experts": 1}).fit(SERIES.train)
    rows = inside.held_out(SERIES, lone)
    held = inside.listening(lone, rows, through_gates=False)
    assert inside.listening(lone, rows) == pytest.approx(held)
    assert all(total == pytest.approx(1) or total == 0 for total in held.sum(axis=1))


def test_gates_carry_a_channels_own_past(model):
    rows = inside.held_out(SERIES, model)
    heard, without = (inside.listening(model, rows, through_gates=g) for g in (True, False))
    assert np.trace(heard) > np.trace(without)


# --- at events, and over entities ---


def test_towers_are_alike_as_their_slopes_by_finite_differences(model, monkeypatch):
    monkeypatch.setattr(inside, "SAMPLE", 4)
    rows = inside.held_out(SERIES, model)
    found = inside.tower_likeness(model, rows)
    network = model.network.double()
    try:
        windows = inside._sampled(model, rows, 4, 0).double()
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
    unit = read / read.norm(dim=1, keepdim=True)
    known = read.norm(dim=1).numpy() > 0  # so small a tower may have no live unit
    assert np.array_equal(np.isnan(np.diag(found)), ~known) and known.sum() > 1
    expected = (unit @ unit.T).numpy()[np.ix_(known, known)]
    assert found[np.ix_(known, known)] == pytest.approx(expected, abs=1e-4)
    assert expected.min() < 0.9


def test_weight_that_moved_by_hand():
    start = np.array([[[1.0, 0.0], [0.5, 0.5]]])
    # Half of the first channel's weight went over, nothing of the second's.
    assert inside.moved(np.array([[[0.5, 0.5], [0.5, 0.5]]]), start) == pytest.approx(0.25)
    assert inside.moved(start, start) == 0


def test_change_at_events_by_hand():
    shares = np.array([[[0.5, 0.5]], [[0.7, 0.3]], [[1.0, 0.0]]])
    assert inside.at_events(shares, np.array([0, 0, 1])) == pytest.approx(np.array([[0.4, -0.4]]))
    for labels in (None, np.zeros(3), np.ones(3)):
        assert np.isnan(inside.at_events(shares, labels)).all()


class Fleet(Profile):
    """Two made-up entities, the first too short for any model."""

    @property
    def present(self):
        return ["short", "pump-1"]

    def load(self, entity):
        return series(8 if entity == "short" else 400, entity=entity, labels=None, causes=None)


@pytest.fixture
def light(monkeypatch):
    """The full model, made small."""
    real = models.Run
    monkeypatch.setattr(
        models, "Run", lambda made, name, seed: real(made, name, seed=seed, settings=SMALL[name])
    )


SMALL = {"LightMMoE": LIGHT, "untrained LightMMoE": LIGHT | {"epochs": 0}}


def test_facts_of_every_entity_and_gaps_where_none_can_be_fitted(light, small_runs):
    found = models.over(Fleet())
    assert list(found.index) == ["short", "pump-1"] and found.index.name == "entity"
    assert found.loc["short"].isna().all()
    line = found.loc["pump-1"]
    assert np.isnan(line["gate_entropy_events"])  # no labels
    assert line.drop("gate_entropy_events").notna().all()
    made = series(400, labels=None, causes=None)
    trained, began = models.fitted(made)
    assert line["gate_weights_like_start"] == inside.likeness(trained, began)
    shares = trained.gate_weights(made.test)
    assert line["gate_entropy"] == pytest.approx(inside.entropy(shares).mean())
    assert line["busiest_expert"] == pytest.approx(shares.mean(axis=(0, 1)).max())
    assert models.pictured(Fleet(), found).entity == "pump-1"


def test_without_any_model_there_is_nothing_to_picture(light, monkeypatch):
    monkeypatch.setattr(Fleet, "present", property(lambda self: ["short"]))
    found = models.over(Fleet())
    assert len(found) == 1 and found.dropna(how="all").empty
    with pytest.raises(DataError, match="LightMMoE fits none of these entities"):
        models.pictured(Fleet(), found)


def test_a_fit_that_fails_is_told(monkeypatch):
    with pytest.raises(DataError, match="too few"):
        models.fitted(Fleet().load("short"))


def test_facts_tell_events_from_the_rest(model, start):
    found = models.facts(model, start, SERIES)
    undecided = inside.entropy(model.gate_weights(SERIES.test)).mean(axis=1)
    labels = SERIES.labels[model.unscored :]
    assert found["gate_entropy"] == pytest.approx(undecided[labels == 0].mean())
    assert found["gate_entropy_events"] == pytest.approx(undecided[labels == 1].mean())
    outputs = inside.expert_outputs(model, inside.held_out(SERIES, model))
    assert found["expert_similarity"] == pytest.approx(inside.cka(*outputs))
    assert all(isinstance(value, float) for value in found.values())
