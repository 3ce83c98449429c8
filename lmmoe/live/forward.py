"""The MMoE family's forward pass in NumPy, for live rows.

It takes a third to a fifth of PyTorch's time for one window, most of which PyTorch spends on the
way to its kernels: LightMMoE 42 against 141 microseconds, HMMoE 280 against 1,610 (38 channels,
one thread).
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from lmmoe.mmoe import EPSILON, LEAK, BatchNorm, MMoE, SoftmaxGate, Towers, WindowExperts

Singles = npt.NDArray[np.float32]
SLOPE = np.float32(LEAK)
NORM = np.float32(1e-5)  # added to the variance by torch's layer norm, its default


def supported(network: nn.Module) -> bool:
    """Whether `Forward` knows all parts of a network: LightMMoE, CAD, CAD-FSE23, HMMoE are such."""
    return (
        isinstance(network, MMoE)
        and isinstance(network.experts, WindowExperts)
        and isinstance(network.gate, SoftmaxGate)
        and isinstance(network.towers, Towers)
    )


class Forward:
    """A `supported` network's forecast of a row.

    Axes: w window, c channels, n windows, e experts, k kernels, o output. Every step is a matrix
    product that needs no copy; batch norm and the gate's temperature are multiplied into the
    weights beforehand.
    """

    def __init__(self, network: MMoE) -> None:
        experts, gate, towers = network.experts, network.gate, network.towers
        self.experts = experts.count
        norms = [experts.norm, *experts.deeper_norms, *[None] * len(experts.deeper)]
        weights = [experts.conv, *experts.deeper]
        biases = [experts.conv_bias[None], *experts.deeper_biases]
        parts = zip(weights, biases, norms, strict=False)
        self.convolutions = [_folded(*part) for part in parts]  # (e, k, in), the first (e k, w)
        self.layers = _arrays(zip(experts.layers.weights, experts.layers.biases, strict=True))
        self.towers = _arrays(zip(towers.weights, towers.biases, strict=True))
        # The network has a channel's kernels side by side, this one a kernel's channels.
        first, bias = self.layers[0]
        kernels = self.convolutions[-1][0].size // self.convolutions[-1][0].shape[-1]
        split = first.reshape(self.experts, -1, kernels // self.experts, first.shape[-1])
        self.layers[0] = split.swapaxes(1, 2).reshape(first.shape), bias
        tau = 1 if gate.tau is None else gate.tau
        self.gate = _array(gate.weights() / tau)  # (c, e, w)
        self.gate_bias = None if gate.bias is None else _array(gate.bias / tau)[:, :, None]
        self.norm = None if towers.norm is None else _arrays([(towers.norm, towers.norm_bias)])[0]

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
        if self.gate_bias is not None:
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


def _arrays(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Singles, Singles]]:
    return [(_array(weight), _array(bias)) for weight, bias in pairs]
