"""The multi-gate mixture of experts: the network of LightMMoE, CAD and HMMoE.

Read `MMoE.forward` first. Its parts follow in the order in which it uses them, then what they
share, then variants that only ablations use. `lmmoe.mmoe_fast` computes the same faster.

Axes: b batch, c channels, w window, e experts, k kernels, d hidden units, o expert output,
t tower units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Gate = Literal["mixed", "learned", "mean", "attention", "hierarchical"]

LEAK = 0.1  # slope of leaky ReLU below zero
EPSILON, MOMENTUM = 1e-5, 0.1  # of batch norm: added to the variance; torch's defaults
EMBEDDING = 16  # numbers of a query and of a key in the attention gate


class MMoE(nn.Module):
    """Forecast every channel's next value from a window of all channels.

    The idea of a gate and a tower for each channel, and of personal and shared gates, is CAD's
    ("Beyond Sharing: Conflict-Aware Multivariate Time Series Anomaly Detection", ESEC/FSE 2023).
    The three networks differ in sizes (`lmmoe.detectors.PRESETS`) and in what is noted at the steps
    of `forward`.
    """

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to forecasts of a row ``(b, c)``.

        In training mode, ``generator`` draws the dropout masks. The steps are LightMMoE's.
        """
        # 1. Experts. Each of them sees all channels, and has three layers:
        #      maps   = relu(window x kernels + bias)    (b, c, w) (w, k)  -> (b, c, k)
        #      hidden = relu(maps x weights + bias)      (b, c k) (c k, d) -> (b, d)
        #      output = hidden x weights + bias          (b, d) (d, o)     -> (b, o)
        #    Kernels are as long as the window, and the same for all channels. In training, dropout
        #    of 0.2 follows both ReLU.
        #    CAD: no dropout. HMMoE: a second convolution k -> k' (1 x 1) and a second hidden layer,
        #    batch norm after each convolution, leaky ReLU after every second layer, dropout 0.25.
        outputs = self.experts(x, generator)  # (e, b, o)

        # 2. Gates. Each channel has one, which sees the channel alone:
        #      logits = window x (0.3 own weights + 0.7 shared weights)   (b, w) (w, e) -> (b, e)
        #      shares = softmax over experts of the logits
        #    CAD: own weights alone. HMMoE: 0.2 and 0.8, and logits become (logits + bias) /
        #    temperature, both learned.
        shares = self.gate(x)  # (b, c, e)

        # 3. A channel's mixture is the mean of the experts' outputs, weighted by its shares.
        mixed = torch.bmm(shares, outputs.transpose(0, 1))  # (b, c, e) (b, e, o) -> (b, c, o)

        # 4. Towers. Each channel has one, of two layers:
        #      hidden   = relu(mixed x weights + bias)   (b, o) (o, t) -> (b, t)
        #      forecast = hidden x weights + bias        (b, t) (t, 1) -> (b, 1)
        #    In training, dropout of 0.1 follows the ReLU.
        #    CAD: no dropout. HMMoE: a second hidden layer, leaky ReLU after it, layer norm before
        #    the first ReLU, dropout 0.15.
        return self.towers(mixed, generator)  # (b, c)

    def __init__(self, **settings: object) -> None:
        """Make the parts; ``settings`` are the fields of `Settings`."""
        super().__init__()
        self.settings = given = Settings(**settings)
        start = Start(given.init)
        self.experts = (SeriesExperts if given.expert == "series" else WindowExperts)(given, start)
        self.gate = GATES[given.gate](given, start)
        self.towers = (Towers if given.tower else NoTowers)(given, start)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and variants of a network."""

    channels: int
    window: int
    experts: int
    kernels: Sequence[int]  # widths of the layers, as are hidden and tower
    hidden: Sequence[int]
    out: int
    tower: Sequence[int]  # empty: one linear layer for all channels (`NoTowers`)
    shared: float  # share of the gate that all channels have in common
    gate: Gate = "mixed"
    temperature: bool = False  # a learned bias and temperature of the gate
    expert: Literal["window", "series"] = "window"
    normalise: bool = False  # batch norm in experts, layer norm in towers
    expert_dropout: float = 0.0
    tower_dropout: float = 0.0
    init: Literal["torch", "xavier"] = "torch"  # see `Start`


class WindowExperts(nn.Module):
    """Convolutions over a channel's whole window, the same for all channels; then the layers."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        batch, channels, window = x.shape
        share = self.training * self.dropout
        # One product for all experts' kernels: many narrow ones would be several times slower.
        maps = torch.addmm(self.conv_bias, x.reshape(batch * channels, window), self.conv)
        maps = maps if self.norm is None else self.norm(maps[None])[0]
        maps = maps.relu()
        if not self.deeper:
            maps = dropped(maps, share, generator)
        maps = maps.view(batch * channels, self.count, -1).transpose(0, 1)  # (e, b c, k)
        for number, (weight, bias) in enumerate(zip(self.deeper, self.deeper_biases, strict=True)):
            maps = torch.baddbmm(bias, maps, weight)  # 1 x 1: (e, b c, k) (e, k, k')
            if self.deeper_norms:
                maps = self.deeper_norms[number](maps)
            maps = activated(maps, number + 1)
        if self.deeper:
            maps = dropped(maps, share, generator)
        return self.layers(maps.reshape(self.count, batch, -1), generator)

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.count = e = given.experts
        self.dropout = given.expert_dropout
        width, deeper = e * given.kernels[0], list(pairwise(given.kernels))
        self.conv = start.convolution(given.window, width, fan_in=given.window)
        self.conv_bias = start.drawn(width, fan_in=given.window)
        self.norm = BatchNorm(1, width) if given.normalise else None
        self.deeper = nn.ParameterList(start.convolution(e, a, b, fan_in=a) for a, b in deeper)
        self.deeper_biases = nn.ParameterList(start.drawn(e, 1, b, fan_in=a) for a, b in deeper)
        self.deeper_norms = nn.ModuleList(BatchNorm(e, b) for _, b in deeper if given.normalise)
        sizes = (given.channels * given.kernels[-1], *given.hidden, given.out)
        self.layers = Layers(e, sizes, self.dropout, start)


class Layers(nn.Module):
    """Linear layers of g experts or channels, all at once; activation and dropout between them."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map ``(g, b, n)`` to ``(g, b, m)``."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer == 0 and self.norm is not None:
                x = nn.functional.layer_norm(x, x.shape[-1:])
                x = torch.addcmul(self.norm_bias, x, self.norm)
            if layer < last:
                x = dropped(activated(x, layer), self.training * self.dropout, generator)
        return x

    def __init__(self, groups: int, sizes: Sequence[int], dropout: float, start: "Start") -> None:
        super().__init__()
        pairs = list(pairwise(sizes))
        self.dropout = dropout
        self.weights = nn.ParameterList(start.linear(groups, a, b) for a, b in pairs)
        self.biases = nn.ParameterList(start.drawn(groups, 1, b, fan_in=a) for a, b in pairs)
        self.norm = self.norm_bias = None


class SoftmaxGate(nn.Module):
    """Softmax over experts of a linear map of the channel's window, perhaps with a temperature."""

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares ``(b, c, e)``, as every gate does."""
        logits = torch.bmm(self.weights(), x.permute(1, 2, 0))  # (c, e, w) (c, w, b) -> (c, e, b)
        if self.bias is not None:
            logits = (logits + self.bias) / self.tau
        # Experts before batch, since a softmax over the last, short axis is slow.
        return logits.softmax(dim=1).permute(2, 0, 1).contiguous()

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.weights = Mixed(given, given.experts, start)
        self.bias = nn.Parameter(torch.zeros(given.experts, 1)) if given.temperature else None
        self.tau = nn.Parameter(torch.ones(())) if given.temperature else None


class Mixed(nn.Module):
    """Own and common weights of the gates, mixed: ``(1 - s) W_c + s W_shared``, ``(c, e, w)``.

    With gate "learned", s is the logistic function of a weight, and starts at ``shared``.
    """

    def forward(self) -> Tensor:
        """Mix."""
        share = self.shared if self.logit is None else self.logit.sigmoid()
        if self.own is None:
            return self.common.expand(self.channels, -1, -1)
        if self.common is None:
            return self.own
        return (1 - share) * self.own + share * self.common

    def __init__(self, given: Settings, experts: int, start: "Start") -> None:
        super().__init__()
        self.channels, self.shared, learned = given.channels, given.shared, given.gate == "learned"
        own, common = self.shared < 1 or learned, self.shared > 0 or learned
        self.own = start.gate(self.channels, experts, given.window) if own else None
        self.common = start.gate(experts, given.window) if common else None
        inside = min(max(self.shared, 0.01), 0.99)
        logit = torch.tensor(math.log(inside / (1 - inside)))
        self.logit = nn.Parameter(logit) if learned else None


class Towers(Layers):
    """A few linear layers for each channel; layer norm (Ba et al., 2016) may follow the first."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        return super().forward(x.transpose(0, 1), generator).squeeze(2).T

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__(given.channels, (given.out, *given.tower, 1), given.tower_dropout, start)
        if given.normalise:
            shape = (given.channels, 1, given.tower[0])
            self.norm = nn.Parameter(torch.ones(shape))
            self.norm_bias = nn.Parameter(torch.zeros(shape))


class Start:
    """Draws first weights, from torch's global stream as its own layers do.

    ``torch``: uniform within 1/sqrt(fan in), torch's own rule; gates standard normal. ``xavier``:
    normal, of Xavier's deviation (Glorot & Bengio, AISTATS 2010) for linear layers and gates, of
    Kaiming's (He et al., ICCV 2015) for convolutions; biases 0.
    """

    def __init__(self, rule: Literal["torch", "xavier"]) -> None:
        self.rule = rule

    def linear(self, *shape: int) -> nn.Parameter:
        """Weights ``(..., fan in, fan out)`` of a linear layer."""
        return self.drawn(*shape, fan_in=shape[-2], variance=2 / (shape[-2] + shape[-1]))

    def convolution(self, *shape: int, fan_in: int) -> nn.Parameter:
        """Weights of a convolution."""
        return self.drawn(*shape, fan_in=fan_in, variance=2 / fan_in)

    def drawn(self, *shape: int, fan_in: int, variance: float = 0.0) -> nn.Parameter:
        """Weights of any shape; a bias has no ``variance``, and no number is drawn for zeros."""
        if self.rule == "torch":
            return drawn(*shape, fan_in=fan_in)
        start = torch.randn if variance else torch.zeros
        return nn.Parameter(start(shape) * math.sqrt(variance))

    def gate(self, *shape: int) -> nn.Parameter:
        """Weights of gates ``(..., fan out, fan in)``."""
        return self.linear(*shape) if self.rule == "xavier" else nn.Parameter(torch.randn(shape))


def drawn(*shape: int, fan_in: int) -> nn.Parameter:
    """Make weights of any shape as torch starts linear layers: uniform within 1/sqrt(fan in)."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def activated(x: Tensor, layer: int) -> Tensor:
    """ReLU after the first layer of a stack, leaky ReLU after the later ones."""
    return x.relu() if layer == 0 else nn.functional.leaky_relu(x, LEAK)


def dropped(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout of ``share`` of the elements."""
    return x * keep_mask(x, share, generator) if share else x


def keep_mask(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout's mask for ``x``: 0 for ``share`` of the elements, 1 / (1 - share) for the rest.

    nn.Dropout draws from the global stream, and a seed must be the detector's own. Each 64-bit draw
    serves four elements, which is several times cheaper and rounds the share to 2**-16.
    """
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    lowest = min(round(share * 2**16), 2**16 - 1) - 2**15  # of those that stay
    mask = torch.ge(bits, lowest, out=torch.empty_like(x, requires_grad=False))
    return mask.mul_(1 / (1 - share))


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy, ICML 2015) over axis 1 of ``(groups, n, k)``."""

    def __init__(self, groups: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, 1, features))
        self.bias = nn.Parameter(torch.zeros(groups, 1, features))
        self.register_buffer("mean", torch.zeros(groups, 1, features))
        self.register_buffer("variance", torch.ones(groups, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training mode, else by the running figures."""
        if not self.training:
            slope = self.weight * (self.variance + EPSILON).rsqrt()
            return torch.addcmul(self.bias - self.mean * slope, x, slope)
        y, mean, variance = _Normalised.apply(x, self.weight, self.bias)
        n = x.shape[1]
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance * (n / max(n - 1, 1)), MOMENTUM)
        return y


class _Normalised(torch.autograd.Function):
    """Batch norm by the batch's own mean and variance, in few passes over the large arrays."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN001
        # Not torch.var_mean, which is 10 times slower over an axis that is not the last.
        mean = x.mean(dim=1, keepdim=True)
        centred = x - mean
        variance = centred.square().mean(dim=1, keepdim=True)
        inverse = (variance + EPSILON).rsqrt()
        slope = weight * inverse
        ctx.save_for_backward(centred, inverse, slope)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(bias, centred, slope), mean, variance

    @staticmethod
    def backward(ctx, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN001
        centred, inverse, slope = ctx.saved_tensors
        n = centred.shape[1]
        total = grad.sum(dim=1, keepdim=True)
        along = (grad * centred).sum(dim=1, keepdim=True) * inverse
        # d loss / d x = slope (grad - mean of grad - normalised x * mean of grad x normalised x)
        pulled = torch.addcmul(-slope * total / n, centred, -slope * inverse * along / n)
        return pulled.addcmul_(grad, slope), along, total


# --- variants that only ablations use ---


class MeanGate(nn.Module):
    """No gate: all experts count the same."""

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.experts = given.experts

    def forward(self, x: Tensor) -> Tensor:
        """Give 1 / e everywhere."""
        return x.new_full((*x.shape[:2], self.experts), 1 / self.experts)


class AttentionGate(nn.Module):
    """The channel's embedding of its window asks, each expert has a learned key."""

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.query = start.linear(given.channels, given.window, EMBEDDING)
        self.keys = nn.Parameter(torch.randn(EMBEDDING, given.experts))

    def forward(self, x: Tensor) -> Tensor:
        """Softmax of the scaled products of query and keys."""
        query = torch.bmm(x.transpose(0, 1), self.query)  # (c, b, embedding)
        logits = query @ self.keys / math.sqrt(EMBEDDING)
        return logits.softmax(dim=2).transpose(0, 1).contiguous()


class HierarchicalGate(nn.Module):
    """Two groups of experts: a softmax over the groups times one inside each."""

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.groups = Mixed(given, 2, start)
        self.inside = Mixed(given, given.experts, start)

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares; the first half of the experts is the first group."""
        windows = x.permute(1, 2, 0)
        groups = torch.bmm(self.groups(), windows).softmax(dim=1).unsqueeze(2)  # (c, 2, 1, b)
        inside = torch.bmm(self.inside(), windows).unflatten(1, (2, -1))  # (c, 2, e / 2, b)
        return (groups * inside.softmax(dim=2)).flatten(1, 2).permute(2, 0, 1).contiguous()


class SeriesExperts(nn.Module):
    """The study's time-series expert: a convolution of 3 along time plus one along channels."""

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.count, self.dropout = given.experts, given.expert_dropout
        width = self.count * given.kernels[0]
        self.along_time = start.convolution(width, 1, 1, 3, fan_in=3)
        self.along_channels = start.convolution(width, 1, 3, 1, fan_in=3)
        self.bias = start.drawn(width, fan_in=3)
        inputs = given.kernels[0] * given.channels * given.window
        self.layers = Layers(self.count, (inputs, *given.hidden, given.out), self.dropout, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        plane = x.unsqueeze(1)
        maps = nn.functional.conv2d(plane, self.along_time, self.bias, padding=(0, 1))
        maps = (maps + nn.functional.conv2d(plane, self.along_channels, padding=(1, 0))).relu()
        maps = dropped(maps, self.training * self.dropout, generator)
        each = maps.unflatten(1, (self.count, -1)).flatten(2).transpose(0, 1)  # (e, b, n)
        return self.layers(each, generator)


class NoTowers(nn.Module):
    """One linear layer from the mixture that the channels' mean gate gives to all channels."""

    def __init__(self, given: Settings, start: "Start") -> None:
        super().__init__()
        self.weight = start.linear(given.out, given.channels)
        self.bias = start.drawn(given.channels, fan_in=given.out)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        # The mixture is linear in the shares: the mean of mixtures is the mixture of mean shares.
        return torch.addmm(self.bias, x.mean(dim=1), self.weight)


GATES = {"mixed": SoftmaxGate, "learned": SoftmaxGate, "mean": MeanGate}
GATES |= {"attention": AttentionGate, "hierarchical": HierarchicalGate}
