"""Training steps and forecasts of the light networks, written out by hand; for speed only.

Skip this file on a first reading: `lmmoe.mmoe` says what is computed, and tests hold both equal.
In such small networks autograd, copies between layouts and fresh memory cost more than arithmetic.
Here every product writes into memory that is kept from step to step, in the layout that the next
one reads, and all weights lie in one tensor, as do their gradients.

Axes: b batch, c channels, w window, e experts, k kernels, d hidden, o expert output, t tower.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmmoe import training
from lmmoe.mmoe import MMoE

Loss = Callable[[Tensor, Tensor], Tensor]
# Through autograd's own kernels, which other functions of torch do not offer with "out".
_below_relu = torch.ops.aten.threshold_backward.grad_input
_below_softmax = torch.ops.aten._softmax_backward_data.default

BATCH = 256  # windows at a time in `forecasts`: the fastest of 96 to 512 on one core here


def suits(network: MMoE) -> bool:
    """Whether this file knows the network: one layer of each kind, a softmax gate, no norms."""
    given = network.settings
    layers = len(given.kernels), len(given.hidden), len(given.tower)
    usual = (given.expert, given.gate, given.temperature, given.normalise)
    return layers == (1, 1, 1) and usual == ("window", "mixed", False, False)


class Descent(training.Descent):
    """`lmmoe.training.Descent` for networks that `suits` accepts: the same steps, faster.

    Up to rounding, also of the dropped shares to a multiple of 1/256: a byte is drawn for each
    element. ``loss_of(forecast, target)`` maps ``(b, c)`` twice to the mean loss; ``generator``
    draws the dropout; ``rates`` are `training.adam`'s. The weights become views of one tensor.
    """

    def __init__(
        self, network: MMoE, loss_of: Loss, generator: torch.Generator, **rates: float
    ) -> None:
        self.loss_of, self.generator = loss_of, generator
        self.dropped = (network.experts.dropout, network.towers.dropout)
        self.memory: dict[int, _Memory] = {}
        optimiser = training.adam(network, **rates, flat=True)
        (flat,) = optimiser.param_groups[0]["params"]
        self.weights = _Weights(network, flat)
        super().__init__(network, lambda x, target: loss_of(network(x), target), optimiser)

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Learn from windows ``(b, c, w)`` and their target rows ``(b, c)``; give the mean loss."""
        if (memory := self.memory.get(len(windows))) is None:
            memory = _Memory(self.weights, self.dropped, *windows.shape[:2])
            self.memory[len(windows)] = memory
        memory.take(windows, self.generator)
        forecast = memory.forward(self.weights).requires_grad_()
        loss = self.loss_of(forecast.T, target)
        (slope,) = torch.autograd.grad(loss, forecast)
        memory.backward(self.weights, slope[:, :, None].contiguous())  # else products one by one
        self.optimiser.step()
        return loss.detach()


class _Weights:
    """All weights of a network, as the products want them, and the slopes of `flattened` ones."""

    def __init__(self, network: MMoE, flat: nn.Parameter | None = None) -> None:
        experts, gate, towers = network.experts, network.gate.weights, network.towers
        named = {
            "conv": experts.conv,  # it and its bias are one product with the windows
            "conv_bias": experts.conv_bias,
            "hidden": experts.layers.weights[0],
            "hidden_bias": experts.layers.biases[0],
            "out": experts.layers.weights[1],
            "out_bias": experts.layers.biases[1],
            "own": gate.own,
            "common": gate.common,
            "tower": towers.weights[0],
            "tower_bias": towers.biases[0],
            "head": towers.weights[1],
            "head_bias": towers.biases[1],
        }
        named = {name: each for name, each in named.items() if each is not None}
        self.values = {name: each.detach() for name, each in named.items()}
        self.slopes = {name: each.grad for name, each in named.items()}
        self.kernels = torch.cat([self.values["conv"], self.values["conv_bias"][None]])
        self.window, self.shared = len(experts.conv), gate.shared
        if flat is not None:  # it begins with the convolution and its bias
            shape, size = self.kernels.shape, self.kernels.numel()  # (w + 1, e k)
            self.kernels, self.kernel_slopes = (
                each[:size].view(shape) for each in (flat.detach(), flat.grad)
            )

    @property
    def gate(self) -> Tensor:
        """Each channel's gate ``(c, e, w)``."""
        own, common = self.values.get("own"), self.values.get("common")
        if own is None:
            return common.expand(self.values["tower"].shape[0], -1, -1)
        if common is None:
            return own
        return torch.add(own * (1 - self.shared), common, alpha=self.shared)


class _Memory:
    """What a step on ``b`` windows reads and writes; names say what a tensor holds last."""

    def __init__(self, weights: _Weights, dropped: tuple[float, float], b: int, c: int) -> None:
        value, self.batch = weights.values, b
        e, _, d = value["hidden"].shape
        k, o, t = weights.kernels.shape[1] // e, value["out"].shape[2], value["tower"].shape[2]
        empty = value["hidden"].new_empty
        self.windows = empty(weights.window + 1, c, b)
        self.windows[-1] = 1  # for the bias
        self.maps = empty(e, k, c, b)  # as the convolution makes them
        self.units = empty(e, c, k, b)  # as the hidden layer reads them
        self.hidden, self.outputs = empty(e, b, d), empty(e, b, o)
        self.shares = empty(b, c, e)
        self.mixed = empty(b, c, o)
        self.tower = empty(c, b, t)
        self.units_slope, self.hidden_slope = torch.empty_like(self.units), empty(e, b, d)
        self.outputs_slope, self.shares_slope = empty(b, e, o), empty(b, c, e)
        self.mixed_slope, self.tower_slope = self.mixed.view(c, b, o), empty(c, b, t)
        # Dropout: a byte for each element, and masks where slopes lie later.
        units, tower = (min(round(256 * share), 255) for share in dropped)
        self.drop_units, self.drop_tower = units > 0, tower > 0
        self.expert_scale, self.tower_scale = 256 / (256 - units), 256 / (256 - tower)
        masks = [(self.units_slope, units), (self.hidden_slope, units), (self.tower_slope, tower)]
        masks = [(mask, mark) for mask, mark in masks if mark]
        sizes = [mask.numel() for mask, _ in masks]
        self.draws = torch.empty((sum(sizes) + 7) // 8, dtype=torch.int64, device=self.mixed.device)
        draws = self.draws.view(torch.int8)[: sum(sizes)].split(sizes)
        self.masks = [
            (draw.view(mask.shape), mark - 128, mask)
            for draw, (mask, mark) in zip(draws, masks, strict=True)
        ]

    def take(self, windows: Tensor, generator: torch.Generator) -> None:
        """Take in windows ``(b, c, w)``, and draw which elements stay: 1 in the masks."""
        self.windows[:-1].copy_(windows.permute(2, 1, 0))
        if self.masks:
            self.draws.random_(-(2**63), None, generator=generator)
        for bits, lowest, mask in self.masks:
            torch.ge(bits, lowest, out=mask)

    def forward(self, weights: _Weights) -> Tensor:
        """Forecast ``(c, b)``."""
        value, scale = weights.values, self.expert_scale
        flat = self.windows.flatten(1)
        torch.mm(weights.kernels.T, flat, out=self.maps.view(-1, flat.shape[1]))
        maps = self.maps.transpose(1, 2)
        if self.drop_units:
            torch.mul(maps.relu_(), self.units_slope, out=self.units)
        else:
            torch.clamp_min(maps, 0, out=self.units)
        units = self.units.flatten(1, 2)
        hidden = value["hidden_bias"], units.transpose(1, 2), value["hidden"]
        torch.baddbmm(*hidden, alpha=scale, out=self.hidden).relu_()
        if self.drop_units:
            self.hidden.mul_(self.hidden_slope)
        torch.baddbmm(value["out_bias"], self.hidden, value["out"], alpha=scale, out=self.outputs)
        logits = torch.bmm(weights.gate, self.windows[:-1].transpose(0, 1))
        self.softmax = logits.softmax(1)  # (c, e, b): over a short last axis it would be slow
        self.shares.copy_(self.softmax.permute(2, 0, 1))
        torch.bmm(self.shares, self.outputs.transpose(0, 1), out=self.mixed)
        mixed = self.mixed.transpose(0, 1)
        torch.baddbmm(value["tower_bias"], mixed, value["tower"], out=self.tower).relu_()
        if self.drop_tower:
            self.tower.mul_(self.tower_slope)
        # A single row times a matrix is quick, a matrix times a single column several times slower.
        head, tower = value["head"].transpose(1, 2), self.tower.transpose(1, 2)
        return torch.baddbmm(value["head_bias"], head, tower, alpha=self.tower_scale).squeeze(1)

    def backward(self, weights: _Weights, slope: Tensor) -> None:
        """Write the gradient, given the slope ``(c, b, 1)`` of the loss by the forecast."""
        value, out, scale = weights.values, weights.slopes, self.tower_scale
        torch.sum(slope, 1, keepdim=True, out=out["head_bias"])
        row = slope.transpose(1, 2)
        out["head"].transpose(1, 2).baddbmm_(row, self.tower, beta=0, alpha=scale)
        torch.mul(slope, value["head"].transpose(1, 2) * scale, out=self.tower_slope)
        _below_relu(self.tower_slope, self.tower, 0, grad_input=self.tower_slope)
        torch.sum(self.tower_slope, 1, keepdim=True, out=out["tower_bias"])
        torch.bmm(self.mixed.permute(1, 2, 0), self.tower_slope, out=out["tower"])
        tower = value["tower"].transpose(1, 2)
        torch.bmm(self.tower_slope, tower, out=self.mixed_slope)  # over the mixtures
        mixed = self.mixed_slope.transpose(0, 1)  # (b, c, o)

        # To the experts' outputs, and to the gates' weights.
        torch.bmm(self.shares.transpose(1, 2), mixed, out=self.outputs_slope)
        torch.bmm(mixed, self.outputs.permute(1, 2, 0), out=self.shares_slope)
        shares = self.shares_slope.permute(1, 2, 0).contiguous()
        logits = _below_softmax(shares, self.softmax, 1, shares.dtype)
        gate = torch.bmm(logits, self.windows[:-1].permute(1, 2, 0))
        if "own" in out:
            torch.mul(gate, 1 - weights.shared, out=out["own"])
        if "common" in out:
            torch.sum(gate, 0, out=out["common"]).mul_(weights.shared)

        # From the experts' outputs to their weights.
        outputs, scale = self.outputs_slope.transpose(0, 1), self.expert_scale  # (e, b, o)
        torch.sum(outputs, 1, keepdim=True, out=out["out_bias"])
        out["out"].baddbmm_(self.hidden.transpose(1, 2), outputs, beta=0, alpha=scale)
        hidden, units = self.hidden_slope, self.units_slope
        hidden.baddbmm_(outputs, value["out"].transpose(1, 2), beta=0, alpha=scale)
        _below_relu(hidden, self.hidden, 0, grad_input=hidden)
        torch.sum(hidden, 1, keepdim=True, out=out["hidden_bias"])
        out["hidden"].baddbmm_(self.units.flatten(1, 2), hidden, beta=0, alpha=scale)
        units.flatten(1, 2).baddbmm_(value["hidden"], hidden.transpose(1, 2), beta=0, alpha=scale)
        _below_relu(units, self.units, 0, grad_input=self.maps.transpose(1, 2))
        windows = self.windows.flatten(1)
        torch.mm(windows, self.maps.view(-1, windows.shape[1]).T, out=weights.kernel_slopes)


@torch.inference_mode()
def forecasts(network: MMoE, rows: Tensor) -> Tensor:
    """Forecast from every window of w or more consecutive rows ``(t, c)``: ``(t - w + 1, c)``.

    Up to rounding what a network that `suits` accepts itself gives in scoring mode.
    """
    weights = _Weights(network)
    # Time as the last axis in memory makes the copies quick.
    windows = rows.T.contiguous().unfold(1, weights.window, 1).transpose(0, 1)  # (n, c, w)
    parts, memory = [], None
    for part in windows.split(BATCH):
        if memory is None or len(part) != memory.batch:
            memory = _Memory(weights, (0.0, 0.0), *part.shape[:2])
        memory.take(part, None)
        parts.append(memory.forward(weights).T)
    return torch.cat(parts)
