"""Pruning, training on and distilling: small networks against what they are by definition."""

import numpy as np
import pytest
import torch

from lmmoe.detectors import detector, saving
from lmmoe.errors import DataError
from lmmoe.report.compression.continued import Student, continued
from lmmoe.report.compression.pruning import _highest, pruned

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


def test_highest_keeps_the_largest_in_their_order():
    assert _highest(torch.tensor([3.0, 1.0, 2.0, 5.0]), 0.5).tolist() == [0, 3]
    assert _highest(torch.tensor([[3.0, 1.0], [1.0, 3.0]]), 0.5).tolist() == [[0], [1]]
    assert _highest(torch.tensor([3.0, 1.0]), 0.01).tolist() == [0]  # one stays


class TestPruned:
    def test_to_all_changes_nothing(self, made):
        same = as_pruned(made)
        assert same.parameters == made.parameters
        np.testing.assert_array_equal(
            same.decision_function(rows(seed=1)), made.decision_function(rows(seed=1))
        )

    def test_dead_kernels_are_those_that_go(self, made):
        """In each expert another half has no weight: without it the scores are the same."""
        experts, state = made.experts, made.network.state_dict()
        for part in (state["experts.conv"], state["experts.conv_bias"]):
            by_expert = part.view(*part.shape[:-1], experts, -1)
            for expert in range(experts):
                by_expert[..., expert, [expert % 4, (expert + 1) % 4]] = 0
        for name in ("experts.norm.mean", "experts.norm.bias"):
            if name in state:
                state[name].zero_()
        if "experts.deeper.0" in state:
            kept = [[0, 2, 5], [1, 2, 3], [3, 4, 5], [0, 1, 5]]
            for expert, places in enumerate(kept):
                for other in set(range(6)) - set(places):
                    state["experts.deeper.0"][expert, :, other] = 0
                    state["experts.deeper_biases.0"][expert, :, other] = 0
                    state["experts.deeper_norms.0.mean"][expert, :, other] = 0
                    state["experts.deeper_norms.0.bias"][expert, :, other] = 0
        smaller = as_pruned(made, kernels=0.5)
        assert smaller.kernels == (2 if made.name == "LightMMoE" else [2, 3])
        assert smaller.parameters < made.parameters
        given = rows(seed=1)
        np.testing.assert_allclose(
            smaller.decision_function(given), made.decision_function(given), rtol=1e-4, atol=1e-5
        )

    def test_dead_units_are_those_that_go(self, made):
        state = made.network.state_dict()
        for layer, size in enumerate([6] if made.name == "LightMMoE" else [8, 6]):
            for expert in range(made.experts):
                dead = (np.arange(size // 2) + expert) % size
                state[f"experts.layers.weights.{layer}"][expert, :, dead] = 0
                state[f"experts.layers.biases.{layer}"][expert, :, dead] = 0
        smaller = as_pruned(made, hidden=0.5)
        assert smaller.hidden == (3 if made.name == "LightMMoE" else [4, 3])
        given = rows(seed=1)
        np.testing.assert_allclose(
            smaller.decision_function(given), made.decision_function(given), rtol=1e-4, atol=1e-5
        )

    def test_the_least_used_experts_go(self, made):
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

    def test_all_at_once_can_be_saved(self, made, tmp_path):
        smaller = as_pruned(made, kernels=0.5, hidden=0.5, experts=0.5)
        again = saving.load(saving.save(smaller, tmp_path / "small.safetensors"))
        assert again.name == made.name
        np.testing.assert_array_equal(
            again.decision_function(rows(seed=1)), smaller.decision_function(rows(seed=1))
        )

    def test_leaves_the_original_alone(self, made):
        before = made.decision_function(rows())
        settings, state = pruned(made, rows(), hidden=0.5)
        continued(made, settings, state, rows(), epochs=1)
        np.testing.assert_array_equal(made.decision_function(rows()), before)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(share):
    made = detector("LightMMoE", **LIGHT).fit(rows())
    with pytest.raises(DataError, match=r"hidden=.*: a share above 0 and at most 1 is needed"):
        pruned(made, rows(), hidden=share)


def test_other_gates_are_refused():
    made = detector("LightMMoE", **LIGHT, gate="mean").fit(rows())
    with pytest.raises(DataError, match="cannot be pruned: other experts or gate"):
        pruned(made, rows(), experts=0.5)


def test_training_goes_on_from_the_weights_given():
    made = detector("LightMMoE", **LIGHT).fit(rows())
    settings, state = pruned(made, rows())
    on = continued(made, settings, state, rows(), epochs=3)
    anew = detector("LightMMoE", **LIGHT | {"epochs": 3}).fit(rows())
    assert on.history.training[0] < anew.history.training[0]  # it does not begin at chance
    assert len(on.history.training) == 3


class TestStudent:
    teacher = MADE["HMMoE"]

    def taught(self, share):
        teacher = detector("HMMoE", **self.teacher).fit(rows())
        return Student(**LIGHT).taught_by(teacher, share), teacher

    def test_without_the_teacher_is_plain_training(self):
        student, _ = self.taught(0.0)
        plain = detector("LightMMoE", **LIGHT).fit(rows())
        student.fit(rows())
        np.testing.assert_array_equal(student.decision_scores_, plain.decision_scores_)
        assert student.history.held_out == plain.history.held_out

    def test_goals_are_the_mixture(self):
        student, teacher = self.taught(0.25)
        student.fit(rows())
        scaled = (rows() - rows().mean(axis=0)) / rows().std(axis=0)
        forecast = (teacher.forecasts(rows()) - rows().mean(axis=0)) / rows().std(axis=0)
        expected = scaled.copy()
        expected[teacher.unscored :] = 0.75 * scaled[teacher.unscored :] + 0.25 * forecast
        goals = student._goals(rows(), student._scaled(rows())).numpy()
        np.testing.assert_allclose(goals, expected, atol=1e-5)

    def test_a_teacher_alone_makes_an_imitator(self):
        """Trained long on forecasts only, it is nearer to the teacher than training on truth is."""
        teacher = detector("HMMoE", **self.teacher).fit(rows())
        long = LIGHT | {"epochs": 15, "held_out": 0.0, "expert_dropout": 0.0}
        imitator = Student(**long).taught_by(teacher, 1.0).fit(rows())
        plain = detector("LightMMoE", **long).fit(rows())
        goal = teacher.forecasts(rows())[10:]
        far = [
            np.square(one.forecasts(rows())[-len(goal) :] - goal).mean()
            for one in (imitator, plain)
        ]
        assert far[0] < 0.7 * far[1]

    def test_can_be_saved_as_what_it_is(self, tmp_path):
        student, _ = self.taught(0.5)
        student.fit(rows())
        again = saving.load(saving.save(student, tmp_path / "student.safetensors"))
        assert type(again).__name__ == "Mixture"
        np.testing.assert_array_equal(
            again.decision_function(rows()), student.decision_function(rows())
        )

    @pytest.mark.parametrize("share", [-0.1, 1.1])
    def test_refuses_a_share_out_of_range(self, share):
        with pytest.raises(ValueError, match="a share from 0 to 1 is needed"):
            self.taught(share)
