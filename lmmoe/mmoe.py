"""The multi-gate mixture of experts: the network of LightMMoE, CAD and HMMoE.

Read `MMoE.forward` first; its parts follow in the order in which it uses them, then the variants
that only ablations use, then what all parts share. `lmmoe.mmoe_fast` computes the same faster.

Axes: b batch, c channels, w window, e experts, k kernels, d hidden units, o expert output,
t tower units.
"""

import math
from collections.abc import Sequence
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
    The three networks differ in sizes and in what is noted at the steps of `forward`:

    ========== ======= ============ ========== === ========= ======
    network    experts kernels      hidden     out tower     shared
    ========== ======= ============ ========== === ========= ======
    LightMMoE  4       8            128        64  16        0.7
    CAD        3       8            128        64  128       0
    HMMoE      8       16, then 32  256, 128   128 32, 16    0.8
    ========== ======= ============ ========== === ========= ======
    """

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to the forecast of a row ``(b, c)``.

        In training mode, ``generator`` draws the dropout masks.
        """
        # 1. Experts see all channels. Each has k kernels as long as the window, the same for every
        #    channel, (b, c, w) -> (b, c k), ReLU; one hidden layer, (b, c k) -> (b, d), ReLU; and
        #    an output layer, (b, d) -> (b, o). Dropout 0.2 after both ReLU.
        #    CAD: no dropout. HMMoE: a second convolution k -> k' (1 x 1) and a second hidden layer,
        #    batch norm after each convolution, leaky ReLU after every second layer, dropout 0.25.
        outputs = self.experts(x, generator)  # (e, b, o)

        # 2. Each channel has a gate, linear in the channel's own window: (w) -> (e), whose weights
        #    are 0.3 times the channel's own plus 0.7 times those that all channels share; a softmax
        #    over experts makes them shares.
        #    CAD: the channel's own weights alone. HMMoE: 0.2 and 0.8, a learned bias and
        #    temperature before the softmax.
        shares = self.gate(x)  # (b, c, e)

        # 3. A channel's mixture is the mean of the experts' outputs, weighted by its shares.
        mixed = torch.bmm(shares, outputs.transpose(0, 1))  # (b, c, e) (b, e, o) -> (b, c, o)

        # 4. Each channel has a tower of its own: (o) -> (t), ReLU, dropout 0.1, (t) -> (1).
        #    CAD: no dropout. HMMoE: two layers with layer norm after the first, dropout 0.15.
        return self.towers(mixed, generator)  # (b, c)

    def __init__(
        self,
        *,
        channels: int,
        window: int,
        experts: int,
        kernels: Sequence[int],
        hidden: Sequence[int],
        out: int,
        tower: Sequence[int],
        shared: float,
        gate: Gate = "mixed",
        temperature: bool = False,
        expert: Literal["window", "series"] = "window",
        normalise: bool = False,
        expert_dropout: float = 0.0,
        tower_dropout: float = 0.0,
        init: Literal["torch", "xavier"] = "torch",
        generator: torch.Generator | None = None,
    ) -> None:
        """Make the parts; ``kernels``, ``hidden`` and ``tower`` are the widths of their layers.

        An empty ``tower`` is one linear layer for all channels. The settings from ``gate`` on are
        explained at the parts.
        """
        super().__init__()
        start = Start(init, generator)
        shape = {"experts": experts, "layers": (*hidden, out), "dropout": expert_dropout}
        if expert == "series":
            self.experts = SeriesExperts(channels, window, kernels=kernels[0], start=start, **shape)
        else:
            self.experts = WindowExperts(
                channels, window, kernels=kernels, normalise=normalise, start=start, **shape
            )
        self.gate = make_gate(
            gate, channels, window, experts, shared, temperature=temperature, start=start
        )
        if tower:
            self.towers = Towers(
                channels, (out, *tower), dropout=tower_dropout, normalise=normalise, start=start
            )
        else:
            self.towers = NoTowers(channels, out, start)


class WindowExperts(nn.Module):
    """Convolutions over a channel's whole window, the same for all channels; then the layers.

    ``kernels`` are the widths of the convolution that spans the window and of 1x1 ones after it;
    with ``normalise``, batch norm follows each.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        experts: int,
        kernels: Sequence[int],
        layers: Sequence[int],
        dropout: float,
        normalise: bool,
        start: "Start",
    ) -> None:
        super().__init__()
        self.count, self.dropout = experts, dropout
        width = experts * kernels[0]
        self.conv = start.convolution(window, width, fan_in=window)
        self.conv_bias = start.bias(width, fan_in=window)
        self.norm = BatchNorm(1, width) if normalise else None
        deeper = list(pairwise(kernels))
        self.deeper = nn.ParameterList(
            start.convolution(experts, a, b, fan_in=a) for a, b in deeper
        )
        self.deeper_biases = nn.ParameterList(
            start.bias(experts, 1, b, fan_in=a) for a, b in deeper
        )
        self.deeper_norms = nn.ModuleList(BatchNorm(experts, b) for _, b in deeper if normalise)
        self.layers = Layers(experts, (channels * kernels[-1], *layers), dropout, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        batch, channels, window = x.shape
        share = self.training * self.dropout
        # One product for the kernels of all experts: many narrow ones would be several times
        # slower.
        maps = torch.addmm(self.conv_bias, x.reshape(batch * channels, window), self.conv)
        if self.norm is not None:
            maps = self.norm(maps.unsqueeze(0)).squeeze(0)
        maps = activated(maps, 0)
        if not self.deeper:
            maps = dropped(maps, share, generator)
        maps = maps.view(batch * channels, self.count, -1).transpose(0, 1)  # (e, b c, k)
        for number, (weight, bias) in enumerate(zip(self.deeper, self.deeper_biases, strict=True)):
            maps = torch.baddbmm(bias, maps, weight)
            if self.deeper_norms:
                maps = self.deeper_norms[number](maps)
            maps = activated(maps, number + 1)
        if self.deeper:
            maps = dropped(maps, share, generator)
        return self.layers(maps.reshape(self.count, batch, -1), generator)


class Layers(nn.Module):
    """Linear layers of g experts or channels, all at once; activation and dropout between them."""

    def __init__(self, groups: int, sizes: Sequence[int], dropout: float, start: "Start") -> None:
        super().__init__()
        self.dropout = dropout
        self.weights = nn.ParameterList(start.linear(groups, a, b) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(
            start.bias(groups, 1, b, fan_in=a) for a, b in pairwise(sizes)
        )

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map ``(g, b, n)`` to ``(g, b, m)``."""
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer == 0:
                x = self.normalised(x)
            if layer < last:
                x = dropped(activated(x, layer), self.training * self.dropout, generator)
        return x

    def normalised(self, x: Tensor) -> Tensor:
        """Give what follows the first layer; here it stays as it is."""
        return x


class SoftmaxGate(nn.Module):
    """Softmax over experts of a linear map of the channel's window.

    With ``temperature``, logits z become (z + bias) / tau, one bias for each expert and one tau,
    both learned.
    """

    def __init__(self, weights: "Mixed", experts: int, *, temperature: bool) -> None:
        super().__init__()
        self.weights = weights
        self.bias = nn.Parameter(torch.zeros(experts, 1)) if temperature else None
        self.tau = nn.Parameter(torch.ones(())) if temperature else None

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares."""
        logits = torch.bmm(self.weights(), x.permute(1, 2, 0))  # (c, e, b)
        if self.bias is not None:
            logits = (logits + self.bias) / self.tau
        # Experts before batch, since a softmax over the last, short axis is slow.
        return logits.softmax(dim=1).permute(2, 0, 1).contiguous()


class Mixed(nn.Module):
    """Weights of a channel's own gate and of the one that all share, mixed: ``(c, e, w)``.

    ``(1 - s) W_c + s W_shared`` (CAD, ESEC/FSE 2023, section 3.3); one that never counts is not
    there. With ``learned``, s is the logistic function of a weight, and starts at ``shared``.
    """

    def __init__(
        self,
        channels: int,
        window: int,
        experts: int,
        shared: float,
        *,
        learned: bool,
        start: "Start",
    ) -> None:
        super().__init__()
        self.channels, self.shared = channels, shared
        self.own = start.gate(channels, experts, window) if shared < 1 or learned else None
        self.common = start.gate(experts, window) if shared > 0 or learned else None
        if learned:
            inside = min(max(shared, 0.01), 0.99)
            self.logit = nn.Parameter(torch.tensor(math.log(inside / (1 - inside))))
        else:
            self.logit = None

    def forward(self) -> Tensor:
        """Mix."""
        share = self.shared if self.logit is None else self.logit.sigmoid()
        if self.own is None:
            return self.common.expand(self.channels, -1, -1)
        if self.common is None:
            return self.own
        return (1 - share) * self.own + share * self.common


class Towers(Layers):
    """A few linear layers for each channel.

    With ``normalise``, layer norm (Ba et al., 2016) follows the first of them.
    """

    def __init__(
        self,
        channels: int,
        sizes: Sequence[int],
        *,
        dropout: float,
        normalise: bool,
        start: "Start",
    ) -> None:
        super().__init__(channels, [*sizes, 1], dropout, start)
        shape = (channels, 1, sizes[1])
        self.norm = nn.Parameter(torch.ones(shape)) if normalise else None
        self.norm_bias = nn.Parameter(torch.zeros(shape)) if normalise else None

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        return super().forward(x.transpose(0, 1), generator).squeeze(2).T

    def normalised(self, x: Tensor) -> Tensor:
        """Apply the layer norm."""
        if self.norm is None:
            return x
        return torch.addcmul(self.norm_bias, nn.functional.layer_norm(x, x.shape[-1:]), self.norm)


# --- variants ---


def make_gate(
    kind: str,
    channels: int,
    window: int,
    experts: int,
    shared: float,
    *,
    temperature: bool,
    start: "Start",
) -> nn.Module:
    """Make a gate of one of the kinds "mixed", "learned", "mean", "attention", "hierarchical"."""
    if kind == "mean":
        return MeanGate(experts)
    if kind == "attention":
        return AttentionGate(channels, window, experts, start)

    def mixed(count: int) -> Mixed:
        return Mixed(channels, window, count, shared, learned=kind == "learned", start=start)

    if kind == "hierarchical":
        return HierarchicalGate(mixed(2), mixed(experts))
    return SoftmaxGate(mixed(experts), experts, temperature=temperature)


class MeanGate(nn.Module):
    """No gate: all experts count the same."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, x: Tensor) -> Tensor:
        """Give 1 / e everywhere."""
        return x.new_full((*x.shape[:2], self.experts), 1 / self.experts)


class HierarchicalGate(nn.Module):
    """Two groups of experts: a softmax over the groups times one inside each."""

    def __init__(self, groups: Mixed, inside: Mixed) -> None:
        super().__init__()
        self.groups, self.inside = groups, inside

    def forward(self, x: Tensor) -> Tensor:
        """Give the shares; the first half of the experts is the first group."""
        windows = x.permute(1, 2, 0)
        groups = torch.bmm(self.groups(), windows).softmax(dim=1).unsqueeze(2)  # (c, 2, 1, b)
        inside = torch.bmm(self.inside(), windows)
        inside = inside.unflatten(1, (2, -1)).softmax(dim=2)  # (c, 2, e / 2, b)
        return (groups * inside).flatten(1, 2).permute(2, 0, 1).contiguous()


class AttentionGate(nn.Module):
    """The channel's embedding of its window asks, each expert has a learned key."""

    def __init__(self, channels: int, window: int, experts: int, start: "Start") -> None:
        super().__init__()
        self.query = start.linear(channels, window, EMBEDDING)
        self.keys = start.normal(EMBEDDING, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Softmax of the scaled products of query and keys."""
        query = torch.bmm(x.transpose(0, 1), self.query)  # (c, b, embedding)
        logits = query @ self.keys / math.sqrt(EMBEDDING)
        return logits.softmax(dim=2).transpose(0, 1).contiguous()


class SeriesExperts(nn.Module):
    """The study's time-series expert: a convolution of 3 along time plus one along channels."""

    def __init__(
        self,
        channels: int,
        window: int,
        *,
        experts: int,
        kernels: int,
        layers: Sequence[int],
        dropout: float,
        start: "Start",
    ) -> None:
        super().__init__()
        self.count, self.dropout = experts, dropout
        width = experts * kernels
        self.along_time = start.convolution(width, 1, 1, 3, fan_in=3)
        self.along_channels = start.convolution(width, 1, 3, 1, fan_in=3)
        self.bias = start.bias(width, fan_in=3)
        self.layers = Layers(experts, (kernels * channels * window, *layers), dropout, start)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map windows ``(b, c, w)`` to all experts' outputs ``(e, b, o)``."""
        plane = x.unsqueeze(1)
        maps = nn.functional.conv2d(plane, self.along_time, self.bias, padding=(0, 1))
        maps = (maps + nn.functional.conv2d(plane, self.along_channels, padding=(1, 0))).relu()
        maps = dropped(maps, self.training * self.dropout, generator)
        return self.layers(maps.view(len(x), self.count, -1).transpose(0, 1), generator)


class NoTowers(nn.Module):
    """One linear layer from the mixture that the channels' mean gate gives to all channels."""

    def __init__(self, channels: int, out: int, start: "Start") -> None:
        super().__init__()
        self.weight = start.linear(out, channels)
        self.bias = start.bias(channels, fan_in=out)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map mixtures ``(b, c, o)`` to forecasts ``(b, c)``."""
        # The mixture is linear in the shares: the mean of mixtures is the mixture of mean shares.
        return torch.addmm(self.bias, x.mean(dim=1), self.weight)


# --- what the parts share ---


class Start:
    """Draws first weights; all from one generator, so that a seed fixes them.

    ``torch``: uniform within 1/sqrt(fan in), torch's own rule for linear layers and convolutions,
    and gates from a standard normal. ``xavier``: normal, Xavier's deviation (Glorot & Bengio,
    AISTATS 2010) for linear layers and gates, Kaiming's (He et al., ICCV 2015) for convolutions,
    biases zero.
    """

    def __init__(self, rule: Literal["torch", "xavier"], generator: torch.Generator | None) -> None:
        self.rule, self.generator = rule, generator

    def linear(self, *shape: int) -> nn.Parameter:
        """Weights ``(..., fan in, fan out)`` of a linear layer."""
        if self.rule == "xavier":
            return self.normal(*shape, deviation=math.sqrt(2 / (shape[-2] + shape[-1])))
        return self._uniform(*shape, fan_in=shape[-2])

    def convolution(self, *shape: int, fan_in: int) -> nn.Parameter:
        """Weights of a convolution."""
        if self.rule == "xavier":
            return self.normal(*shape, deviation=math.sqrt(2 / fan_in))
        return self._uniform(*shape, fan_in=fan_in)

    def bias(self, *shape: int, fan_in: int) -> nn.Parameter:
        """Give a layer its bias."""
        if self.rule == "xavier":
            return nn.Parameter(torch.zeros(shape))
        return self._uniform(*shape, fan_in=fan_in)

    def gate(self, *shape: int) -> nn.Parameter:
        """Weights of gates ``(..., fan out, fan in)``."""
        if self.rule == "xavier":
            return self.normal(*shape, deviation=math.sqrt(2 / (shape[-2] + shape[-1])))
        return self.normal(*shape)

    def normal(self, *shape: int, deviation: float = 1.0) -> nn.Parameter:
        """Draw normal numbers."""
        return nn.Parameter(torch.randn(shape, generator=self.generator) * deviation)

    def _uniform(self, *shape: int, fan_in: int) -> nn.Parameter:
        bound = 1 / math.sqrt(fan_in)
        return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=self.generator))


def activated(x: Tensor, layer: int) -> Tensor:
    """ReLU after the first layer of a stack, leaky ReLU after the later ones."""
    return x.relu() if layer == 0 else nn.functional.leaky_relu(x, LEAK)


def dropped(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout of ``share`` of the elements."""
    return x * keep_mask(x, share, generator) if share else x


def keep_mask(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout's mask for ``x``: 0 for ``share`` of the elements, 1 / (1 - share) for the rest.

    Not nn.Dropout: it draws from the global stream, and a seed must be the detector's own. Each
    64-bit draw serves four elements, 16 bits each, which makes masks several times cheaper; the
    share is thereby rounded to a multiple of 2**-16.
    """
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=generator)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    dropped = min(round(share * 2**16), 2**16 - 1)
    mask = torch.ge(bits, dropped - 2**15, out=torch.empty_like(x, requires_grad=False))
    return mask.mul_(1 / (1 - share))


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy, ICML 2015) over axis 1 of ``(groups, n, k)``.

    As torch's: population variance for the batch, sample variance in the running one, momentum 0.1.
    torch's own wants the features on axis 1, which would cost a copy of the largest arrays.
    """

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
        with torch.no_grad():
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
