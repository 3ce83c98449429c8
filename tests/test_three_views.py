"""ThreeViews against the method written down row by row."""

import numpy as np
import pytest
from small import waves

from lmmoe import detector, live
from lmmoe.live.model import Model

TRAIN, TEST = waves(400), waves(120, seed=1)
TEST[60:70, 1] += 6


def smooth(values, share, start):
    made = []
    for value in values:
        start = share * value + (1 - share) * start
        made.append(start)
    return np.array(made)


def windows(above, width):
    filled = [above[0]] * (width - 1) + list(above)
    return np.array([np.ravel(filled[i : i + width]) for i in range(len(above))])


def written_down(
    train, test, *, views="ABC", half_life=1440.0, smoothing=0.5, width=8, components=30
):
    """Scores of ``test`` by loops over rows, as the method's description has it."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    beta, channels = 1 - 0.5 ** (1 / half_life), train.shape[1]

    def slow(rows, start):
        above, level = [], start
        for row in rows:
            above.append(row - level)
            level = level + beta * (np.clip(row, -3, 3) - level)
        return np.array(above), level

    def followed(rows, drift, bias, basis):
        z = (rows - mean) / spread
        above, drift = slow(z, drift)
        if basis is None:
            own = windows(above, width)[: int(0.9 * len(rows))]
            _, _, axes = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)
            basis = own.mean(axis=0), axes[: min(components, own.shape[1] - 1)]
        flat = windows(above, width) - basis[0]
        left, bias = slow((flat - flat @ basis[1].T @ basis[1])[:, -channels:], bias)
        steps = np.abs(np.diff(z, axis=0, prepend=z[:1]))
        return above, np.abs(left), steps, drift, bias, basis

    nothing = np.zeros(channels)
    above, errors, steps, drift, bias, basis = followed(train, nothing, nothing, None)
    first = min(200, len(train) // 4)
    unit = np.maximum(np.quantile(errors[first:], 0.99, axis=0), 0.1)
    speeds = {"B": (steps, 0.05, steps[0]), "D": (errors, 0.2, errors[0])}
    known = {}
    for view, (sizes, share, start) in speeds.items():
        speed = smooth(sizes, share, start)
        known[view] = speed[first:].mean(axis=0), np.maximum(speed[first:].std(axis=0), 0.1), speed
    plain = {"A": (errors / unit).mean(axis=1), "C": np.abs(above).mean(axis=1)}
    heights = {view: smooth(line, smoothing, line[0]) for view, line in plain.items()}
    for view, (middle, size, speed) in known.items():
        heights[view] = np.clip((speed - middle) / size, 0, 10).mean(axis=1)
    means = {view: line[first:].mean() for view, line in heights.items()}
    above, errors, steps, *_ = followed(test, drift, bias, basis)
    found = {
        "A": smooth((errors / unit).mean(axis=1), smoothing, means["A"]),
        "C": smooth(np.abs(above).mean(axis=1), smoothing, means["C"]),
    }
    for view, sizes, share in (("B", steps, 0.05), ("D", errors, 0.2)):
        middle, size, _ = known[view]
        speed = smooth(sizes, share, middle)
        found[view] = np.clip((speed - middle) / size, 0, 10).mean(axis=1)
    return sum(np.log(1 + found[view] / means[view]) for view in views)


CASES = ({}, {"views": "ABCD"}, {"smoothing": 1.0}, {"views": "B", "half_life": 50.0}, {"width": 3})
CASES += ({"components": 7},)


@pytest.mark.parametrize("settings", CASES)
def test_batch_and_live_scores_are_those_of_the_method_written_down(settings):
    made = detector("ThreeViews", **settings).fit(TRAIN)
    scores, parts = made.decision_function(TEST), made.channel_scores(TEST)
    assert np.allclose(scores, written_down(TRAIN, TEST, **settings), rtol=1e-9, atol=1e-9)
    assert np.allclose(parts.sum(axis=1), scores, atol=1e-12)
    assert np.array_equal(made.decision_function(TEST[:50]), scores[:50])
    stream = live.Stream(Model(made), threshold=1.0)
    for row, score, part in zip(TEST, scores, parts, strict=True):
        assert stream.step(row).score == pytest.approx(score, abs=1e-12)
        assert np.allclose(stream.errors(), part, rtol=0, atol=1e-12)
