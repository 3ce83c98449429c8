"""The forward pass of a fitted member of the MMoE family in NumPy: of a row at a time, or of many.

At one row, PyTorch spends most of its time on the way to its kernels, and NumPy's way is shorter.
At thousands of rows both are as fast as their matrix products.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from lmmoe.mmoe import EPSILON, LEAK, BatchNorm, MMoE, SoftmaxGate, Towers, WindowExperts

Singles = npt.NDArray[np.float32]
Layer = tuple[Singles, Singles]  # weights and biases
NORM = np.float32(1e-5)  # added to the variance by torch's layer norm, its default
SLOPE = np.float32(LEAK)


class Forward:
    """The network's forecast of a row, from the same weights in another order.

    Axes: w window, c channels, n windows, e experts, k kernels, d hidden, o output, t tower.

    The order is such that every step is a matrix product without a copy; batch norm, the gate's
    temperature and the mixture of its two parts are multiplied into the weights beforehand.
    """

    def __init__(self, network: MMoE) -> None:
        experts, towers = network.experts, network.towers
        self.experts = experts.count
        norms = [*experts.deeper_norms] or [None] * len(experts.deeper)
        conv, bias = _folded(experts.conv, experts.conv_bias, experts.norm)
        self.conv = _compact(conv.reshape(conv.shape[-2:]).T), _compact(bias.reshape(-1, 1))
        deeper = zip(experts.deeper, experts.deeper_biases, norms, strict=True)
        folded = (_folded(*parts) for parts in deeper)
        self.deeper = [tuple(_compact(part.swapaxes(1, 2)) for part in pair) for pair in folded]
        self.layers = _layers(experts.layers)
        # The network has a channel's kernels side by side, this one a kernel's channels.
        kernels = self.deeper[-1][0].shape[1] if self.deeper else len(self.conv[0]) // self.experts
        first, bias = self.layers[0]
        first = first.reshape(self.experts, -1, kernels, first.shape[2]).swapaxes(1, 2)
        self.layers[0] = _compact(first).reshape(self.experts, -1, first.shape[3]), bias
        self.gate, self.gate_bias = _gate(network.gate)
        self.towers = _layers(towers)
        self.norm = None
        if towers.norm is not None:
            self.norm = _numbers(towers.norm), _numbers(towers.norm_bias)

    def __call__(self, x: Singles) -> Singles:
        """Map windows ``(w, c, n)``, oldest row first, to forecasts ``(c, n)``."""
        window, _, count = x.shape
        maps = self.conv[0] @ x.reshape(window, -1)  # (e k, c n)
        maps += self.conv[1]
        maps = _activated(maps, 0).reshape(self.experts, -1, maps.shape[1])
        for number, (weight, bias) in enumerate(self.deeper, start=1):
            maps = np.matmul(weight, maps)
            maps += bias
            maps = _activated(maps, number)
        hidden = maps.reshape(self.experts, -1, count).swapaxes(1, 2)  # (e, n, k c)
        hidden = _stack(self.layers, hidden)  # (e, n, o)
        shares = np.ascontiguousarray(self._shares(x).transpose(2, 1, 0))  # (n, c, e)
        mixed = np.matmul(shares, hidden.swapaxes(0, 1))  # (n, c, o)
        return _stack(self.towers, mixed.swapaxes(0, 1), self.norm)[:, :, 0]

    def _shares(self, x: Singles) -> Singles:
        """Each expert's share in each channel: ``(e, c, n)``."""
        channels, experts = self.gate.shape[:2]
        logits = np.empty((experts, channels, x.shape[2]), dtype=np.float32)
        np.matmul(self.gate, x.swapaxes(0, 1), out=logits.swapaxes(0, 1))
        if self.gate_bias is not None:
            logits += self.gate_bias
        logits -= np.maximum.reduce(logits, axis=0)
        np.exp(logits, out=logits)
        logits /= np.add.reduce(logits, axis=0)
        return logits


def supported(network: nn.Module) -> bool:
    """Whether `Forward` knows all parts of a network: LightMMoE, CAD, CAD-FSE23, HMMoE are such."""
    if not isinstance(network, MMoE):
        return False
    parts = (
        (network.experts, WindowExperts),
        (network.gate, SoftmaxGate),
        (network.towers, Towers),
    )
    return all(isinstance(part, kind) for part, kind in parts)


def _stack(layers: list[Layer], x: Singles, norm: Layer | None = None) -> Singles:
    """Linear layers with activations between them; ``norm`` follows the first."""
    last = len(layers) - 1
    for number, (weight, bias) in enumerate(layers):
        x = np.matmul(x, weight)
        x += bias
        if number == 0 and norm is not None:
            x = _normalised(x) * norm[0] + norm[1]
        if number < last:
            x = _activated(x, number)
    return x


def _activated(x: Singles, layer: int) -> Singles:
    """ReLU after the first layer of a stack, leaky ReLU after the later ones, in place."""
    return np.maximum(x, x * SLOPE if layer else 0, out=x)


def _normalised(x: Singles) -> Singles:
    """Layer norm (Ba et al., 2016) over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + NORM)


def _numbers(tensor: Tensor) -> Singles:
    return tensor.detach().cpu().numpy()


def _compact(values: npt.NDArray[np.floating]) -> Singles:
    return np.ascontiguousarray(values, dtype=np.float32)


def _layers(module: nn.Module) -> list[Layer]:
    pairs = zip(module.weights, module.biases, strict=True)
    return [(_numbers(weight), _numbers(bias)) for weight, bias in pairs]


def _folded(weight: Tensor, bias: Tensor, norm: BatchNorm | None) -> Layer:
    """Weights ``(..., a, b)`` and biases of a convolution with the batch norm after it.

    In use this is a slope and a shift for each of the b kernels (Ioffe & Szegedy, ICML 2015,
    algorithm 2).
    """
    weight, bias = _numbers(weight), _numbers(bias)
    if norm is None:
        return weight, bias
    slope = _numbers(norm.weight) / np.sqrt(_numbers(norm.variance).astype(np.float64) + EPSILON)
    return weight * slope, (bias - _numbers(norm.mean)) * slope + _numbers(norm.bias)


def _gate(gate: SoftmaxGate) -> tuple[Singles, Singles | None]:
    """Weights ``(c, e, w)`` and, where the gate has a temperature, biases ``(e, 1, 1)``."""
    weights = _numbers(gate.weights())
    if gate.bias is None:
        return _compact(weights), None
    tau = _numbers(gate.tau)
    return _compact(weights / tau), _compact(_numbers(gate.bias)[:, :, None] / tau)
