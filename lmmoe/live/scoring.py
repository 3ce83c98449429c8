"""How one row is scored, given the rows before it.

A scorer says in which form rows are kept and what they are worth; it has no state, so that streams
of one model share it. It judges the last of kept rows ``(l + 1, c, n)``, oldest first: scores
``(n,)``, each channel's part in them and its forecast, ``(c, n)`` or None, the forecast in the unit
in which rows are kept. Axes: l rows that it looks back (the context), c channels, n streams.
"""

import copy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from lmmoe.detectors import Detector
from lmmoe.errors import DataError
from lmmoe.mmoe import EPSILON, LEAK, BatchNorm, MMoE, SoftmaxGate, Towers, WindowExperts

if TYPE_CHECKING:
    from lmmoe.live.model import Facts

Floats = npt.NDArray[np.floating]
Singles = npt.NDArray[np.float32]
Judged = tuple[npt.NDArray[np.float64], Floats | None, Floats | None]
NEAR = 1e-5  # how near live scores are to batch scores, above 1 as a share
FAR = 1e9  # deviations from the mean beyond which a value is cut: its square fits a float32
SLOPE = np.float32(LEAK)
NORM = np.float32(1e-5)  # added to the variance by torch's layer norm, its default


class Forecasting:
    """The MMoE family by `Forward`: one pass per row, whatever the window.

    Rows are kept as the detector scales them, in single precision. A missing cell adds nothing, and
    the score is the mean over the channels that are there.
    """

    scaled = True
    block = 64  # streams at a time: what the network makes of them then stays near the processor
    dtype, ewma, far = np.float32, 0.0, FAR

    def __init__(self, made: Detector) -> None:
        self.forward, self.window, self.context = Forward(made.network), made.window, made.unscored
        self.centre, self.spread = made._scaling.shift, made._scaling.scale

    def judge(self, rows: Floats, carry: Floats) -> Judged:
        """Score the last of kept rows; there is nothing to ``carry``."""
        forecasts = self.forward(rows[: self.window])
        errors = rows[-1] - forecasts
        errors *= errors
        scores = np.add.reduce(errors, axis=0, dtype=np.float64)
        return scores / len(errors), errors, forecasts


class Sliding:
    """Any other detector by its public functions, on the shortest piece that ends with the row.

    It costs as many rows of batch scoring as the detector looks back, and what its functions spend
    on a call; twice that with the channels' parts. That a row's score depends on no more than these
    rows is tried out when this is made. An exponentially weighted mean over the errors, which does
    look further back, is carried on here (`lmmoe.detectors.linear`).
    """

    scaled = False  # rows are kept as they come
    block, dtype = 512, np.float64

    def __init__(self, made: Detector, facts: "Facts | None") -> None:
        self.ewma, self.detector = getattr(made, "ewma", 0.0), copy.copy(made)
        if self.ewma:
            self.detector.ewma = 0.0
        self.context = self.detector.min_rows - 1
        channels = self.detector.n_features_in_
        self.centre, self.spread, self.far = np.zeros(channels), np.ones(channels), 1e150
        if facts:
            self.centre, self.spread = np.array(facts.means), np.array(facts.deviations)
            self.far = FAR
        try:
            self.detector.channel_scores(np.zeros((self.context + 1, channels)))
            self.shares = True
        except NotImplementedError:
            self.shares = False
        self._try_out()

    def judge(self, rows: Floats, carry: Floats) -> Judged:
        """Score the last of kept rows; bring ``carry`` ``(c, n)`` up to date.

        It holds the errors' weighted means so far, NaN where there are none.
        """
        # The pieces of all streams, one after another: each last row sees its own piece only.
        series = np.ascontiguousarray(rows.transpose(2, 0, 1)).reshape(-1, rows.shape[1])
        last = slice(self.context, None, self.context + 1)
        errors = self.detector.channel_scores(series)[last].T if self.shares else None
        if not self.ewma:
            return self.detector.decision_function(series)[last], errors, None
        smooth = self.ewma * errors + (1 - self.ewma) * carry
        carry[:] = errors = np.where(np.isnan(carry), errors, smooth)
        return errors.mean(axis=0), errors, None

    def _try_out(self) -> None:
        """Raise `DataError` where a row's score changes with rows that are not in its piece."""
        size = self.context + 1
        spread = np.random.default_rng(0).normal(size=(3 * size + 2, len(self.centre)))
        rows, score = self.centre + self.spread * spread, self.detector.decision_function
        whole = score(rows)[-3:]
        alone = [score(rows[end - size : end])[-1] for end in range(len(rows) - 2, len(rows) + 1)]
        if not np.allclose(whole, alone, rtol=NEAR, atol=NEAR):
            raise DataError(
                f"{self.detector.name} has no live score: what it gives a row depends on more than "
                f"the {size} rows up to it",
                hint="Watch with a detector that scores each row by the rows before it",
            )


# --- the MMoE family's forward pass in NumPy ---


def supported(network: nn.Module | None) -> bool:
    """Whether `Forward` knows all parts of a network: LightMMoE, CAD, CAD-FSE23, HMMoE are such."""
    return (
        isinstance(network, MMoE)
        and isinstance(network.experts, WindowExperts)
        and isinstance(network.gate, SoftmaxGate)
        and isinstance(network.towers, Towers)
    )


class Forward:
    """A `supported` network's forecast of a row, `lmmoe.mmoe.MMoE.forward` in NumPy.

    It takes a third to a fifth of PyTorch's time for one window, most of which PyTorch spends on
    the way to its kernels. Axes: w window, c channels, n windows, e experts, k kernels, o output.
    Every step is a matrix product that needs no copy; batch norm and the gate's temperature are
    multiplied into the weights beforehand.
    """

    def __init__(self, network: MMoE) -> None:
        experts, gate, towers = network.experts, network.gate, network.towers
        self.experts = experts.count
        norms = [experts.norm, *experts.deeper_norms, *[None] * len(experts.deeper)]
        weights = [experts.conv, *experts.deeper]
        biases = [experts.conv_bias[None], *experts.deeper_biases]
        parts = zip(weights, biases, norms, strict=False)
        self.convolutions = [_folded(*part) for part in parts]  # (e, k, in), the first (e k, w)
        self.layers = _arrays(experts.layers.weights, experts.layers.biases)
        self.towers = _arrays(towers.weights, towers.biases)
        # The network has a channel's kernels side by side, this one a kernel's channels.
        first, bias = self.layers[0]
        kernels = self.convolutions[-1][0].size // self.convolutions[-1][0].shape[-1]
        split = first.reshape(self.experts, -1, kernels // self.experts, first.shape[-1])
        self.layers[0] = split.swapaxes(1, 2).reshape(first.shape), bias
        tau = 1 if gate.tau is None else gate.tau
        self.gate = _array(gate.weights() / tau)  # (c, e, w)
        self.gate_bias = 0 if gate.bias is None else _array(gate.bias / tau)[:, :, None]
        self.norm = None if towers.norm is None else _arrays([towers.norm], [towers.norm_bias])[0]

    def __call__(self, x: Singles) -> Singles:
        """Map windows ``(w, c, n)``, oldest row first, to forecasts ``(c, n)``."""
        maps = x.reshape(len(x), -1)  # (w, c n)
        for number, (weight, bias) in enumerate(self.convolutions):
            maps = _activated(np.matmul(weight, maps) + bias, number)
            maps = maps.reshape(self.experts, -1, maps.shape[-1])  # (e, k, c n)
        hidden = maps.reshape(self.experts, -1, x.shape[2]).swapaxes(1, 2)  # (e, n, k c)
        hidden = _stack(self.layers, hidden)  # (e, n, o)
        shares = np.empty((self.experts, *x.shape[1:]), dtype=np.float32)  # (e, c, n)
        np.matmul(self.gate, x.swapaxes(0, 1), out=shares.swapaxes(0, 1))
        shares += self.gate_bias
        shares -= np.maximum.reduce(shares, axis=0)
        np.exp(shares, out=shares)
        shares /= np.add.reduce(shares, axis=0)
        shares = np.ascontiguousarray(shares.transpose(2, 1, 0))  # (n, c, e)
        mixed = np.matmul(shares, hidden.swapaxes(0, 1))  # (n, c, o)
        return _stack(self.towers, mixed.swapaxes(0, 1), self.norm)[:, :, 0]


def _stack(
    layers: list[tuple[Singles, Singles]], x: Singles, norm: tuple[Singles, Singles] | None = None
) -> Singles:
    """Linear layers with activations between them; layer norm follows the first."""
    for number, (weight, bias) in enumerate(layers):
        x = np.matmul(x, weight)
        x += bias
        if number == 0 and norm is not None:
            x -= x.mean(axis=-1, keepdims=True)
            x /= np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + NORM)
            x = x * norm[0] + norm[1]
        if number < len(layers) - 1:
            x = _activated(x, number)
    return x


def _activated(x: Singles, layer: int) -> Singles:
    """ReLU after the first layer of a stack, leaky ReLU after the later ones, in place."""
    return np.maximum(x, x * SLOPE if layer else 0, out=x)


def _folded(weight: Tensor, bias: Tensor, norm: BatchNorm | None) -> tuple[Singles, Singles]:
    """Turn weights ``(..., a, b)`` round, with the batch norm after them multiplied in."""
    if norm is not None:  # in use a slope and a shift (Ioffe & Szegedy, ICML 2015, algorithm 2)
        slope = norm.weight / (norm.variance + EPSILON).sqrt()
        weight, bias = weight * slope, (bias - norm.mean) * slope + norm.bias
    return _array(weight.mT), _array(bias.mT)


def _array(tensor: Tensor) -> Singles:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)


def _arrays(weights: nn.ParameterList, biases: nn.ParameterList) -> list[tuple[Singles, Singles]]:
    pairs = zip(weights, biases, strict=True)
    return [(_array(weight), _array(bias)) for weight, bias in pairs]
