"""AMAD: a multi-scale network and an isolation forest, with the study's mistakes or without."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from lmmoe import training
from lmmoe.detectors.base import Arrays
from lmmoe.detectors.classical import IsolationForest
from lmmoe.detectors.neural import Neural, absolute_and_squared, prefixed
from lmmoe.detectors.scaling import Floats, moving_average, unit
from lmmoe.mmoe import drawn, keep_mask

SCALES = (8, 16, 24, 48)  # values that a window is averaged to, one scale each
FIRST, SECOND, OUT = 32, 16, 32  # units of a scale: of its convolutions, of its linear layer
LENGTH = 3  # rows that a convolution sees
LIGHT, STRONG = 0.1, 0.2  # shares of dropout
Mask = Tensor | float


class MultiScale(nn.Module):
    """Rebuild a window's mean from several scales of time. Axes: b batch, c channels, w window.

    A layer norm over channels comes first. Then, for each scale, two convolutions of length 3 with
    ReLU, padded with zeros; adaptive average pooling; a linear layer with ReLU and dropout. Beside
    them a softmax over rows, made of the channels' mean, and a sigmoid for each channel, made of
    the rows' mean, weigh the rows: m times the former plus 1 - m times the latter, m learned from 1
    on, averaged over rows. Both meet in 32 features, which two untrained sigmoid ``heads`` read.
    """

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        scales = len(SCALES)

        def pair(*sizes: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(*each) for each in pairwise(sizes))

        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.first = drawn(LENGTH, channels, scales * FIRST, fan_in=LENGTH * channels)
        self.first_bias = drawn(scales * FIRST, fan_in=LENGTH * channels)
        self.second = drawn(scales, LENGTH * FIRST, SECOND, fan_in=LENGTH * FIRST)
        self.second_bias = drawn(scales, 1, 1, SECOND, fan_in=LENGTH * FIRST)
        sizes = [size * SECOND for size in SCALES]
        self.pooled = nn.ParameterList(drawn(n // SECOND, SECOND * OUT, fan_in=n) for n in sizes)
        self.pooled_bias = nn.ParameterList(drawn(OUT, fan_in=n) for n in sizes)
        # Columns of a matrix that averages a window: functions of its length, not learned.
        for size in SCALES:
            averages = functional.adaptive_avg_pool1d(torch.eye(window)[None], size)[0]
            self.register_buffer(f"bins_{size}", averages.T.contiguous().T, persistent=False)
        self.fusion = pair(scales * OUT, 64, 32)
        self.time = pair(window, max(1, window // 2), window)
        self.channel = pair(channels, max(1, channels // 2), channels)
        self.mix = nn.Parameter(torch.ones(1))
        self.context = pair(channels, 64, 32)
        self.joined = pair(64, 64, 32)
        self.out = pair(32, 64, channels)
        self.heads = nn.ModuleList([pair(32, 16, 1), pair(32, 8, 1)])
        self.heads.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Rebuild each channel's mean of windows ``(b, c, w)``: ``(b, c)``; in training, drop."""
        if not self.training:
            return _two(self.out, self.features(x))
        light = keep_mask(x.new_empty(len(x), len(SCALES) * OUT + 64), LIGHT, generator)
        strong = keep_mask(x.new_empty(len(x), 64 + 64), STRONG, generator)
        scales, last = light.split([len(SCALES) * OUT, 64], dim=1)
        return _two(self.out, self.features(x, scales, *strong.split(64, dim=1)), last)

    def features(self, x: Tensor, first: Mask = 1, second: Mask = 1, third: Mask = 1) -> Tensor:
        """Give the features of windows ``(b, c, w)``: ``(b, 32)``; the rest are dropout's masks."""
        normal = functional.layer_norm(x.permute(2, 0, 1), x.shape[1:2])  # (w, b, c)
        fused = _two(self.fusion, self._scales(normal) * first, second)
        context = _two(self.context, self._attended(normal))
        return _two(self.joined, torch.cat([fused, context], dim=1), third)

    def _scales(self, normal: Tensor) -> Tensor:
        """All scales' outputs on normalised rows ``(w, b, c)``: ``(b, 4 * 32)``."""
        window, batch, _ = normal.shape
        count = len(SCALES)
        # The layer norm's s n + h times W is [n, 1] times [s W; h W]: rows need no gradient, which
        # is as costly as the convolution.
        taps = _taps(functional.pad(normal, (0, 1), value=1.0)[None])[0].flatten(0, 1)
        scaled = self.scale[:, None] * self.first
        shifted = (self.shift[:, None] * self.first).sum(dim=1, keepdim=True)
        weights = torch.cat([scaled, shifted], dim=1).flatten(0, 1)  # (3 (c + 1), 4 * 32)
        first = torch.addmm(self.first_bias, taps, weights).relu()

        apart = first.view(window, batch, count, FIRST).permute(2, 0, 1, 3)
        taps = _taps(apart).flatten(1, 2)
        second = torch.bmm(taps, self.second).view(count, window, batch, -1)
        second = (second + self.second_bias).relu()

        # Averaging the values and then weighing them is weighing them by averaged weights.
        averages = [self.get_buffer(f"bins_{size}") for size in SCALES]
        spread = torch.stack([a @ each for a, each in zip(averages, self.pooled, strict=True)])
        flat = second.transpose(1, 2).reshape(count, batch, -1)  # (4, b, w * 16)
        bias = torch.stack(list(self.pooled_bias))[:, None]
        out = torch.baddbmm(bias, flat, spread.view(count, -1, OUT)).relu()
        return out.transpose(0, 1).flatten(1)

    def _attended(self, normal: Tensor) -> Tensor:
        """Weighted mean of normalised rows ``(w, b, c)`` over time: ``(b, c)``."""
        level = ((normal @ self.scale) / len(self.scale) + self.shift.mean()).T  # (b, w)
        rows = _two(self.time, level).softmax(dim=1)  # (b, w), sums to 1
        picked = torch.einsum("bw,wbc->bc", rows, normal) * self.scale + self.shift
        mean = normal.mean(dim=0) * self.scale + self.shift
        channels = _two(self.channel, mean).sigmoid()
        return self.mix * picked / len(normal) + (1 - self.mix) * channels * mean


def _taps(x: Tensor) -> Tensor:
    """Set the rows before and after beside each row of ``(g, w, b, k)``: ``(g, w, b, 3 k)``."""
    padded = functional.pad(x, (0, 0, 0, 0, 1, 1))
    late, same, early = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]  # so gradients add up
    return torch.cat([early, same, late], dim=3)


def _two(layers: nn.ModuleList, x: Tensor, mask: Mask = 1) -> Tensor:
    """Linear, ReLU, dropout with a mask, linear: ``(b, n)`` to ``(b, m)``."""
    first, second = layers
    return second(first(x).relu() * mask)


class AMAD(Neural):
    """The study's adaptive multi-scale detector; each of its mistakes is a switch.

    `MultiScale` rebuilds the mean of a window's rows, per channel and in z-scores. An isolation
    forest learns what it rebuilds of the training windows, standardised. Training, by the study:
    windows every 6 rows, `absolute_and_squared` over each batch, AdamW, a cosine of 30 epochs
    (after which the learning rate rises again). Other settings: `Neural`'s.

    Score of a row, whose window is padded on the left with zeros (the training mean): 0.6 times the
    mean over channels of its squared distance from the rebuilt mean; a moving average
    (1/4, 1/2, 1/4); 0.7 times that plus 0.3 times what the forest says. The switches, all on in
    "AMAD", all off in "AMAD-corrected"; the training is the same for both:

    - ``heads``: 0.3 and 0.1 times the two untrained sigmoid heads are added.
    - ``wrong_sign``: the forest's decision function is added as it is, though it is higher for
      normal rows; else 1 minus it.
    - ``centred``: the average is centred and sees a row ahead; else it is over the last three rows.
    - ``test_scaled``: the forest's part is scaled to 0..1 over the rows being scored, the sum too;
      what is above its 0.9 quantile is multiplied by 1.2 and clipped at 1. Else the training rows
      give the forest's range, and the sum stays as it is.
    """

    name = "AMAD"
    horizon = 0
    stride = 6
    unscored = 0  # the first rows' windows are padded
    min_rows = property(lambda self: self.window + self.stride)  # two training windows
    rescales = property(lambda self: self.test_scaled)
    watch = "training"
    weight_decay, decoupled, flat, clip = 1e-4, True, True, 1.0

    heads: bool = True
    wrong_sign: bool = True
    centred: bool = True
    test_scaled: bool = True

    def _build(self, channels: int) -> MultiScale:
        return MultiScale(channels, self.window)

    def _loss(
        self, network: MultiScale, windows: Tensor, target: Tensor, dice: Generator
    ) -> Tensor:
        return absolute_and_squared(network(windows, dice) - windows.mean(dim=2))

    def _schedule(self, optimiser: Optimizer) -> Callable[[float], None]:
        cosine = CosineAnnealingLR(optimiser, T_max=30, eta_min=1e-6)
        return lambda loss: cosine.step()

    def _fit(self, rows: Floats) -> None:
        super()._fit(rows)
        windows, _ = training.examples(self._scaled(rows)[: self._cut(len(rows))], self)
        means = training.outputs(self.network, windows).cpu().double().numpy()
        self._forest = IsolationForest(held_out=0.0, seed=self.seed).fit(means)
        normality = -self._forest.decision_scores_
        self._range = np.array([normality.min(), normality.max()])

    @torch.inference_mode()
    def _score_rows(self, rows: Floats) -> Floats:
        scaled = self._scaled(rows)
        padded = torch.cat([scaled.new_zeros(self.window - 1, scaled.shape[1]), scaled])
        windows = padded.unfold(0, self.window, 1)
        features = training.outputs(self.network.features, windows)
        rebuilt = _two(self.network.out, features)
        heads = torch.cat([_two(head, features) for head in self.network.heads], dim=1).sigmoid()
        errors = (scaled - rebuilt).square().mean(dim=1)
        rebuilt, heads, errors = (each.cpu().double().numpy() for each in (rebuilt, heads, errors))

        own = 0.6 * errors + (heads @ (0.3, 0.1) if self.heads else 0)
        mixed = 0.7 * moving_average(own, (0.25, 0.5, 0.25), centred=self.centred)
        normality = -self._forest._score(rebuilt)
        known = normality if self.test_scaled else self._range
        low, high = known.min(), known.max()
        forest = (normality - low) / max(high - low, 1e-12)
        mixed = mixed + 0.3 * (forest if self.wrong_sign else 1 - forest)
        if not self.test_scaled:
            return mixed
        scaled = unit(mixed)
        raised = np.where(scaled > np.quantile(scaled, 0.9), 1.2 * scaled, scaled)
        return np.minimum(raised, 1.0)

    def _state(self) -> Arrays:
        forest = {f"forest.{name}": array for name, array in self._forest._state().items()}
        return super()._state() | forest | {"range": self._range}

    def _restore(self, state: Arrays) -> None:
        super()._restore(state)
        self._range = state["range"]
        self._forest = IsolationForest(held_out=0.0, seed=self.seed)
        self._forest._restore(prefixed(state, "forest."))
