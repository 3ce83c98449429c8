"""What USAD, LSTM-AE, CAD-as-run and linear have in common."""

import numpy as np
import pytest
import torch
from small import make, waves

from lmmoe.detectors.saving import load, save
from lmmoe.report.protocol import PROTOCOLS

TRAIN, TEST = waves(300), waves(200, seed=1)
SETTINGS = {
    "USAD": {"window": 4, "latent": 3, "epochs": 3, "batch": 64},
    "LSTM-AE": {"window": 6, "hidden": 5, "epochs": 3},
    "CAD-as-run": {"window": 4, "examples": 100, "epochs": 3},
    "linear": {"window": 4, "epochs": 3},
}
every = pytest.mark.parametrize("name", SETTINGS)


def small(name, **settings):
    return make(name, **(SETTINGS[name] | settings))


@every
def test_a_seed_fixes_every_bit_and_draws_from_its_own_stream(name):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = small(name, seed=3).fit(TRAIN)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, other = small(name, seed=3).fit(TRAIN), small(name, seed=4).fit(TRAIN)
    found, expected = second.network.state_dict(), first.network.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    scores = first.decision_function(TEST)
    assert np.array_equal(second.decision_function(TEST), scores)
    assert not np.array_equal(other.decision_function(TEST), scores)


@every
def test_a_file_brings_it_back_to_the_bit(name, tmp_path):
    made = small(name, seed=2).fit(TRAIN)
    path = save(made, tmp_path / "model.safetensors")
    before = torch.get_rng_state()
    back = load(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(back) is type(made) and back.name == name
    assert back.settings == made.settings and back.history == made.history
    assert back.threshold_ == made.threshold_ and back.parameters == made.parameters
    assert np.array_equal(back.decision_function(TEST), made.decision_function(TEST))
    assert np.array_equal(back.channel_scores(TEST), made.channel_scores(TEST))


@every
def test_the_held_out_rows_are_not_learned_from(name):
    other = TRAIN.copy()
    order = np.random.default_rng(0).permutation(30)
    other[270:] = TRAIN[270:][order]  # the same scaling, up to rounding
    first, second = (small(name, patience=9).fit(rows) for rows in (TRAIN, other))
    assert first.history.training == pytest.approx(second.history.training, rel=1e-3)
    assert first.history.held_out != pytest.approx(second.history.held_out, rel=1e-3)
    third, fourth = (small(name, held_out=0.0).fit(rows) for rows in (TRAIN, other))
    assert third.history.held_out == []
    assert third.history.training != pytest.approx(fourth.history.training, rel=1e-3)


@every
def test_the_protocols_say_what_is_held_out_and_how_the_first_rows_score(name):
    study, ours = (PROTOCOLS[key].detector(name, **SETTINGS[name]) for key in ("study", "ours"))
    assert (study.held_out, study.first_scores) == (0.0, "zero")
    assert (ours.held_out, ours.first_scores) == (0.1, "lowest")
    study.fit(TRAIN)
    assert study.history.held_out == [] and len(study.history.training) == 3
    scores = study.decision_function(TEST)
    first, later = scores[: study.unscored], scores[study.unscored :]
    assert first == pytest.approx(later.mean() if name == "CAD-as-run" else 0.0)
    assert study.unscored == study.window - (name in ("USAD", "LSTM-AE"))


@every
def test_the_best_epochs_weights_are_kept(name):
    made = small(name, epochs=30, patience=2, learning_rate=0.05).fit(TRAIN)
    history = made.history
    assert history.held_out[history.best_epoch - 1] == min(history.held_out)
    assert len(history.training) in (history.best_epoch + 2, 30)


@every
def test_constant_channels_do_no_harm(name):
    train, test = TRAIN.copy(), TEST.copy()
    train[:, 1], train[:, 3], test[:, 3] = 0.1, 5e8, 5e8
    scores = small(name).fit(train).channel_scores(test)
    assert np.isfinite(scores).all()
    assert scores[:, 3].max() < 10  # still constant: little to forecast


@every
def test_rows_are_not_changed_and_one_row_more_is_enough(name):
    made = small(name)
    rows = waves(made.min_rows)
    before = rows.copy()
    scores = made.fit(rows).decision_function(rows)
    assert np.array_equal(rows, before)
    assert scores.shape == (made.min_rows,) and np.isfinite(scores).all()
    assert scores[-1] == made.channel_scores(rows)[-1].mean()
