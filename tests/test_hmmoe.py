"""HMMoE: its settings, and batch norm by running figures where rows are scored."""

import numpy as np
import torch
from small import make, waves

from lmmoe import detectors

W = 8
TRAIN, TEST = waves(300), waves(200, seed=1)


def test_its_learner_decays_clips_and_waits_for_plateaus():
    made = detectors.detector("HMMoE", experts=2)
    learner = made._learner(made._build(4), torch.zeros(1, 4, 20), torch.Generator())
    (group,) = learner.optimiser.param_groups
    assert (group["lr"], group["weight_decay"]) == (5e-4, 1e-4)
    assert learner.clip == 1.0
    assert (learner.schedule.factor, learner.schedule.patience) == (0.8, 3)
    assert learner.schedule.mode == "min"


def test_a_score_depends_on_its_row_and_the_window_before_it_alone():
    made = make("HMMoE").fit(TRAIN)
    errors = made.channel_scores(TEST)
    for row in (W, 60, 199):  # the batch's own mean would be another one for a single window
        alone = made.channel_scores(TEST[row - W : row + 1])
        np.testing.assert_allclose(alone[W], errors[row], rtol=1e-3, atol=1e-6)


def test_training_moves_the_running_figures_and_held_out_rows_do_not():
    made = make("HMMoE", epochs=1, scaling="none").fit(TRAIN)
    norms = [made.network.experts.norm, *made.network.experts.deeper_norms]
    assert len(norms) == 2
    assert all((norm.mean != 0).all() and (norm.variance != 1).all() for norm in norms)
    other = TRAIN.copy()
    other[270:] += 5
    again = make("HMMoE", epochs=1, scaling="none").fit(other)
    for name, values in made.network.state_dict().items():
        assert torch.equal(values, again.network.state_dict()[name]), name
