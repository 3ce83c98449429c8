"""Multiply-adds that a detector needs for a row, counted from what it does.

A multiply-add is one product and one sum, two floating-point operations. Counted are products of
matrices (convolutions and recurrent layers are such) and sums of products; what is done once per
element (scaling, activations, dropout, the squares of a network's errors) is not: it grows slower.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lmmoe.detectors import Detector
from lmmoe.detectors.base import Floats

if TYPE_CHECKING:  # torch takes a second to import
    from torch import Tensor

PROBE = 64  # rows by which two calls differ
# Training one row: its forward pass, and twice that for the gradients of inputs and of weights
# (Kaplan et al., "Scaling Laws for Neural Language Models", 2020, section 2.1).
TRAINING = 3


def per_row(made: Detector, rows: Floats) -> float:
    """Multiply-adds to score one more row; ``rows`` ``(t, c)`` are any that it can score.

    NaN where a method has no product (comparisons, ranks, random numbers), or where its products
    are hidden in another package. Raises as `Detector.decision_function`.
    """
    counted = _by_torch(made, rows)
    if counted:
        return counted
    for cls in type(made).__mro__:
        if cls.__name__ in SIMPLE:
            return float(SIMPLE[cls.__name__](made))
    return float("nan")


def _by_torch(made: Detector, rows: Floats) -> float:
    """Count what torch executes: of two calls, so that what each does once drops out.

    Of a forecaster its network as it is written down: a faster way to the same numbers may put
    biases into its products.
    """
    from lmmoe.detectors.neural import Forecaster

    network = isinstance(made, Forecaster)
    score = partial(Forecaster._forecasts, made) if network else made.decision_function
    counts = []
    for count in (1, 1 + PROBE):
        wanted = range(made.min_rows - 1 + count)
        given = np.ascontiguousarray(rows.take(wanted, axis=0, mode="wrap"))
        counts.append(multiply_adds(partial(score, given)))
    return (counts[1] - counts[0]) / PROBE


def multiply_adds(work: Callable[[], object]) -> int:
    """Count the multiply-adds of the torch operations that ``work`` executes."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    # Not FlopCounterMode: it hooks modules, which fails where gradients are off.
    lstm = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
    total = 0

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
            nonlocal total
            kwargs = kwargs or {}
            packet = func._overloadpacket
            if packet not in flop_registry and packet is not lstm:
                with self:  # a layer is made of operations that the registry knows
                    parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
            out = func(*args, **kwargs)
            if packet is lstm:
                total += _lstm(*args[:3])
            elif packet in flop_registry:
                total += flop_registry[packet](*args, **kwargs, out_val=out) // 2
            return out

    with Counter():
        work()
    return total


def _lstm(inputs: "Tensor", of_inputs: "Tensor", of_state: "Tensor") -> int:
    """A recurrent layer on ``(w, b, n)``: a product with inputs and state in each step."""
    return inputs.shape[0] * inputs.shape[1] * (of_inputs.numel() + of_state.numel())


def _of_rows(made: Detector) -> float:
    """Projection on the directions and back; the parameters are a mean and the directions."""
    return 2 * (made.parameters - made.n_features_in_)


def _of_windows(made: Detector) -> float:
    """Projection of the window, and back for its last row alone."""
    size = made.window * made.n_features_in_
    directions = made.parameters // size - 1
    return directions * (size + made.n_features_in_)


def _of_weights(made: Detector) -> float:
    """One product with the weights; the rest of the parameters are the intercept."""
    return made.parameters - made.n_features_in_


def _of_prototypes(made: Detector) -> float:
    """One product with each learned row or centre."""
    return made.parameters


def _of_squares(made: Detector) -> float:
    """A square added for every channel."""
    return made.n_features_in_


# By class, for the methods that are not written in torch.
SIMPLE: dict[str, Callable[[Detector], float]] = {
    "PCA": _of_rows,
    "PCAWindows": _of_windows,
    "RidgeVAR": _of_weights,
    "KMeansAD": _of_prototypes,
    "NearestNeighbours": _of_prototypes,
    "MTSExample": _of_squares,
    "L2MinMax": _of_squares,
    "MovingAverage": _of_squares,
}
