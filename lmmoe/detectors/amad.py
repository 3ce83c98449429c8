"""AMAD: a multi-scale network and an isolation forest, with the study's mistakes or without."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmmoe import training
from lmmoe.detectors.isolation import IsolationForest
from lmmoe.detectors.neural import Neural, absolute_and_squared, dense, drawn, prefixed
from lmmoe.detectors.scaling import Floats, moving_average, unit
from lmmoe.mmoe import keep_mask

ERROR, HEADS = 0.6, (0.3, 0.1)  # weights in the network's score
NETWORK, FOREST = 0.7, 0.3  # weights of the network's score and of the forest
AVERAGE = (0.25, 0.5, 0.25)
HIGH, RAISED = 0.9, 1.2  # scores above this quantile are multiplied
TINY = 1e-12  # a range of 0 is replaced by it
SWITCHES = ("heads", "wrong_sign", "centred", "test_scaled")

SCALES = (8, 16, 24, 48)  # values that a window is averaged to, one scale each
FIRST, SECOND, OUT = 32, 16, 32  # units of a scale: of its convolutions, of its linear layer
LENGTH = 3  # rows that a convolution sees
LIGHT, STRONG = 0.1, 0.2  # shares of dropout
MASKED = {LIGHT: (len(SCALES) * OUT, 64), STRONG: (64, 64)}  # units that each share is for


class MultiScale(nn.Module):
    """Rebuild a window's mean from several scales of time. Axes: b batch, c channels, w window.

    A layer norm over channels comes first (nothing else sees the rows). Then, for each scale, two
    convolutions of length 3 with ReLU, padded with zeros; adaptive average pooling; a linear layer
    with ReLU and dropout. Beside them a softmax over rows, made of the channels' mean, and a
    sigmoid for each channel, made of the rows' mean, weigh the rows: m times the former plus 1 - m
    times the latter, m learned from 1 on, averaged over rows. Both are brought together in 32
    features.

    Two sigmoid ``heads`` read the features. No loss trains them: they stay as they are drawn. The
    study's definition leaves open: ReLU between the two layers of every pair, none after a pair's
    second one, the convolutions' padding, that m and 1 - m sum to 1, that attention sees rows after
    the layer norm. The channels' mean there is 0 until scale and shift have been learned, so that
    the weights of rows start the same in every window.

    A layer norm's scale and shift are computed as a part of the weights that follow: its output
    ``s n + h`` times W is ``[n, 1]`` times ``[s W; h W]``. The rows then need no gradient, which
    would cost as much as the first convolution.
    """

    def __init__(
        self, *, channels: int, window: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        scales = len(SCALES)

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            return drawn(*shape, fan_in=fan_in, generator=generator)

        def pair(*sizes: int) -> nn.ModuleList:
            pairs = zip(sizes, sizes[1:], strict=False)
            return nn.ModuleList(dense(*each, generator) for each in pairs)

        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.first = weight(LENGTH, channels, scales * FIRST, fan_in=LENGTH * channels)
        self.first_bias = weight(scales * FIRST, fan_in=LENGTH * channels)
        self.second = weight(scales, LENGTH * FIRST, SECOND, fan_in=LENGTH * FIRST)
        self.second_bias = weight(scales, 1, 1, SECOND, fan_in=LENGTH * FIRST)
        self.pooled = nn.ParameterList(
            weight(size, SECOND * OUT, fan_in=size * SECOND) for size in SCALES
        )
        self.pooled_bias = nn.ParameterList(weight(OUT, fan_in=size * SECOND) for size in SCALES)
        # Rows of a matrix that averages a window: functions of its length, not learned.
        for size in SCALES:
            self.register_buffer(f"bins_{size}", bins(window, size), persistent=False)
        self.fusion = pair(scales * OUT, 64, 32)
        self.time = pair(window, max(1, window // 2), window)
        self.channel = pair(channels, max(1, channels // 2), channels)
        self.mix = nn.Parameter(torch.ones(1))
        self.context = pair(channels, 64, 32)
        self.joined = pair(64, 64, 32)
        self.out = pair(32, 64, channels)
        self.heads = nn.ModuleList([pair(32, 16, 1), pair(32, 8, 1)]).requires_grad_(
            requires_grad=False
        )

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rebuild each channel's mean of windows ``(b, c, w)``: ``(b, c)``.

        In training mode, ``generator`` draws dropout's masks.
        """
        keep = self._keep(x, generator)
        return self.rebuilt(self.features(x, keep), keep)

    def features(self, x: Tensor, keep: dict[float, list[Tensor]] | None = None) -> Tensor:
        """Give the features of windows ``(b, c, w)``: ``(b, 32)``; ``keep`` masks for dropout."""
        normal = functional.layer_norm(x.permute(2, 0, 1), x.shape[1:2])  # (w, b, c)
        scales = self._scales(normal, None if keep is None else keep[LIGHT][0])
        fused = _two(self.fusion, scales, None if keep is None else keep[STRONG][0])
        context = _two(self.context, self._attended(normal))
        both = torch.cat([fused, context], dim=1)
        return _two(self.joined, both, None if keep is None else keep[STRONG][1])

    def rebuilt(self, features: Tensor, keep: dict[float, list[Tensor]] | None = None) -> Tensor:
        """Give the means ``(b, c)`` that features ``(b, 32)`` stand for."""
        return _two(self.out, features, None if keep is None else keep[LIGHT][1])

    def guesses(self, features: Tensor) -> Tensor:
        """What the untrained heads make of features ``(b, 32)``: ``(b, 2)``, from 0 to 1."""
        return torch.cat([_two(head, features) for head in self.heads], dim=1).sigmoid()

    def _scales(self, normal: Tensor, keep: Tensor | None) -> Tensor:
        """All scales' outputs on normalised rows ``(w, b, c)``: ``(b, 4 * 32)``."""
        window, batch, _ = normal.shape
        count = len(SCALES)
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
        averages = [self.get_buffer(f"bins_{size}").T for size in SCALES]
        pairs = zip(averages, self.pooled, strict=True)
        spread = torch.stack([average @ each for average, each in pairs])
        flat = second.transpose(1, 2).reshape(count, batch, -1)  # (4, b, w * 16)
        bias = torch.stack(list(self.pooled_bias))[:, None]
        out = torch.baddbmm(bias, flat, spread.view(count, -1, OUT)).relu()
        out = out.transpose(0, 1).flatten(1)
        return out if keep is None else out * keep

    def _attended(self, normal: Tensor) -> Tensor:
        """Weighted mean of normalised rows ``(w, b, c)`` over time: ``(b, c)``."""
        level = (normal @ self.scale) / len(self.scale) + self.shift.mean()  # (w, b)
        rows = _two(self.time, level.T).softmax(dim=1)  # (b, w), sums to 1
        picked = torch.einsum("bw,wbc->bc", rows, normal) * self.scale + self.shift
        mean = normal.mean(dim=0) * self.scale + self.shift
        channels = _two(self.channel, mean).sigmoid()
        return self.mix * picked / len(normal) + (1 - self.mix) * channels * mean

    def _keep(
        self, x: Tensor, generator: torch.Generator | None
    ) -> dict[float, list[Tensor]] | None:
        """Dropout's masks by share, drawn together; None out of training."""
        if not self.training:
            return None
        return {
            share: list(
                keep_mask(x.new_empty(len(x), sum(units)), share, generator).split(units, dim=1)
            )
            for share, units in MASKED.items()
        }


def _taps(x: Tensor) -> Tensor:
    """Set the rows before and after beside each row of ``(g, w, b, k)``: ``(g, w, b, 3 k)``."""
    padded = functional.pad(x, (0, 0, 0, 0, 1, 1))
    late, same, early = padded[:, 2:], padded[:, 1:-1], padded[:, :-2]  # so gradients add up
    return torch.cat([early, same, late], dim=3)


def bins(window: int, size: int) -> Tensor:
    """Give a matrix ``(size, window)`` that averages as torch's adaptive pooling does.

    Bin i goes from floor(i window / size) up to, not including, ceil((i + 1) window / size).
    """
    made = torch.zeros(size, window)
    for i in range(size):
        low, high = i * window // size, -((i + 1) * window // -size)
        made[i, low:high] = 1 / (high - low)
    return made


def _two(layers: nn.ModuleList, x: Tensor, keep: Tensor | None = None) -> Tensor:
    """Linear, ReLU, dropout with a mask ``keep``, linear: ``(b, n)`` to ``(b, m)``."""
    first, second = layers
    return _Pair.apply(x, first.weight, first.bias, second.weight, second.bias, keep)


class _Pair(torch.autograd.Function):
    """Two linear layers in one, whose gradient is rounded as in the runs that are published."""

    @staticmethod
    def forward(
        ctx,  # noqa: ANN001
        x: Tensor,
        first: Tensor,
        first_bias: Tensor,
        second: Tensor,
        second_bias: Tensor,
        keep: Tensor | None,
    ) -> Tensor:
        inner = torch.addmm(first_bias, x, first.T).relu_()
        inner = inner if keep is None else inner * keep
        ctx.save_for_backward(x, first, inner, second, keep)
        return torch.addmm(second_bias, inner, second.T)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        x, first, inner, second, keep = ctx.saved_tensors
        down = (grad @ second) * (inner > 0)  # what dropout took away is 0 in ``inner`` too
        down = down if keep is None else down * keep
        slopes = (down.T @ x, down.sum(dim=0), grad.T @ inner, grad.sum(dim=0))
        return down @ first, *slopes, None


class AMAD(Neural):
    """The study's adaptive multi-scale detector; each of its mistakes is a switch.

    `MultiScale` rebuilds the mean of a window's rows, per channel and in
    z-scores. An isolation forest (scikit-learn's defaults: 100 trees, 256 samples) learns what it
    rebuilds of the training windows, standardised. Training, by the study: windows every 6 rows,
    the loss `absolute_and_squared` over each batch, AdamW with weight decay
    1e-4, a cosine from the learning rate to 1e-6 in 30 epochs (after which it rises again),
    gradients clipped at norm 1, 40 epochs unless the training loss has not fallen for 10; the best
    epoch's weights are kept. Other settings: `Neural`'s.

    Score of a row, whose window is padded on the left with zeros (the training mean): 0.6 times the
    mean over channels of its squared distance from the rebuilt mean; a moving average
    (1/4, 1/2, 1/4); 0.7 times that plus 0.3 times what the forest says. The switches, all on in
    "AMAD", all off in "AMAD-corrected"; the training is the same for both:

    - ``heads``: 0.3 and 0.1 times the two sigmoid heads are added, though no loss trains them: they
      are random functions of the features.
    - ``wrong_sign``: the forest's decision function is added as it is, though it is higher for
      normal rows; else 1 minus it.
    - ``centred``: the average is centred and sees a row ahead; else it is over the last three rows.
    - ``test_scaled``: the forest's part is scaled to 0..1 over the rows being scored, the sum too,
      and what is above its 0.9 quantile there is multiplied by 1.2, and clipped at 1. A score then
      depends on later rows, and a threshold set on some rows says nothing on others. Else the
      training rows give the forest's range, and the sum stays as it is: scaling and raising it
      would change no order, clipping only make ties.

    The forest's contamination, 0.1 in the study, shifts its decision function alone, and scaling
    takes the shift away.
    """

    name = "AMAD"
    horizon = 0
    stride = 6
    unscored = 0  # the first rows' windows are padded
    watch = "training"

    heads: bool = True
    wrong_sign: bool = True
    centred: bool = True
    test_scaled: bool = True

    @property
    def rescales(self) -> bool:
        """Whether scores are scaled over the rows given, as ``test_scaled`` does."""
        return self.test_scaled

    @property
    def min_rows(self) -> int:
        """Fewest rows that it can be fitted on, and can score: two training windows."""
        return self.window + self.stride

    def rescored(self, X: npt.ArrayLike, **switches: bool) -> Floats:
        """Score rows ``(t, c)`` with some switches changed and the training as it is: ``(t,)``.

        ``rescored(X, heads=False)`` says what the heads cost. Raises as `decision_function`, and
        `ValueError` for what is no switch.
        """
        unknown = sorted(set(switches) - set(SWITCHES))
        if unknown:
            raise ValueError(f"no switch {unknown[0]!r}: there are {', '.join(SWITCHES)}")
        chosen = {name: getattr(self, name) for name in SWITCHES} | switches
        return self._mixed(*self._parts(self._fitted_rows(X)), **chosen)

    def _build(self, channels: int, generator: torch.Generator | None = None) -> MultiScale:
        return MultiScale(channels=channels, window=self.window, generator=generator)

    def _learner(
        self, network: MultiScale, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return absolute_and_squared(network(windows, generator) - windows.mean(dim=2))

        kind = torch.optim.AdamW
        optimiser = training.adam(network, self.learning_rate, 1e-4, kind=kind, flat=True)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=30, eta_min=1e-6)
        return training.Descent(network, loss, optimiser, clip=1.0, schedule=cosine)

    def _fit(self, rows: Floats) -> None:
        super()._fit(rows)
        windows, _ = training.examples(self._scaled(rows)[: self._cut(len(rows))], self.plan)
        means = torch.cat(list(training.outputs(self.network, windows)))
        self._forest = IsolationForest(held_out=0.0, seed=self.seed)
        self._forest.fit(means.cpu().double().numpy())
        normality = -self._forest.decision_scores_
        self._range = np.array([normality.min(), normality.max()])

    def _score_rows(self, rows: Floats) -> Floats:
        switches = {name: getattr(self, name) for name in SWITCHES}
        return self._mixed(*self._parts(rows), **switches)

    @torch.inference_mode()
    def _parts(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """What a score is made of: squared error ``(t,)``, heads ``(t, 2)``, forest ``(t,)``."""
        scaled = self._scaled(rows)
        padded = torch.cat([scaled.new_zeros(self.window - 1, scaled.shape[1]), scaled])
        features = [
            self.network.features(part)
            for part in training.windows(padded, self.window).split(training.BATCH)
        ]
        features = torch.cat(features)
        rebuilt = self.network.rebuilt(features)
        errors = (scaled - rebuilt).square().mean(dim=1)
        rebuilt, errors, heads = (
            each.cpu().double().numpy()
            for each in (rebuilt, errors, self.network.guesses(features))
        )
        return errors, heads, -self._forest._score(rebuilt)

    def _mixed(
        self,
        errors: Floats,
        guesses: Floats,
        normality: Floats,
        *,
        heads: bool,
        wrong_sign: bool,
        centred: bool,
        test_scaled: bool,
    ) -> Floats:
        """Bring the parts together to scores ``(t,)``."""
        own = ERROR * errors + (guesses @ HEADS if heads else 0)
        low, high = self._range
        forest = unit(normality) if test_scaled else (normality - low) / max(high - low, TINY)
        mixed = NETWORK * moving_average(own, AVERAGE, centred=centred)
        mixed = mixed + FOREST * (forest if wrong_sign else 1 - forest)
        if not test_scaled:
            return mixed
        scaled = unit(mixed)
        raised = np.where(scaled > np.quantile(scaled, HIGH), RAISED * scaled, scaled)
        return np.minimum(raised, 1.0)

    def _state(self) -> dict[str, np.ndarray]:
        forest = {f"forest.{name}": array for name, array in self._forest._state().items()}
        return super()._state() | forest | {"range": self._range}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        super()._restore(state)
        self._range = state["range"]
        self._forest = IsolationForest(held_out=0.0, seed=self.seed)
        self._forest._restore(prefixed(state, "forest."))
