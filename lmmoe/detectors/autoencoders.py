"""Networks that rebuild a window: LSTM-AE, recurrent; USAD, adversarial; the two MTS-Mixers."""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.autograd import grad
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lmmoe import training
from lmmoe.detectors.base import Part, Whole
from lmmoe.detectors.neural import Neural, absolute_and_squared
from lmmoe.detectors.scaling import Floats, moving_average, unit
from lmmoe.mmoe import EPSILON, drawn, dropped


class EncoderDecoder(nn.Module):
    """Two LSTMs and a linear layer (section 2.1 of the paper). Axes: b batch, c channels, w window.

    The encoder's last state gives row w, and starts the decoder, which reads row i + 1 for row i.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(channels, hidden), nn.LSTM(channels, hidden)
        self.out = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Rebuild windows ``(b, c, w)`` as in training: the decoder reads the true rows."""
        rows = x.permute(2, 0, 1)  # (w, b, c)
        _, state = self.encoder(rows)
        earlier, _ = self.decoder(rows.flip(0)[:-1], state)
        backwards = self.out(torch.cat([state[0], earlier]))
        return backwards.flip(0).permute(1, 2, 0)

    def last(self, x: Tensor) -> Tensor:
        """Rebuild the last rows of windows ``(b, c, w)``, for which no decoder runs: ``(b, c)``."""
        _, (hidden, _) = self.encoder(x.permute(2, 0, 1))
        return self.out(hidden[0])


class LSTMAE(Neural):
    """EncDec-AD: a window is rebuilt backwards, from what an encoder remembers of it.

    Source: Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection" (2016).
    Score of a row: the mean over channels of its squared error as the last row of its window, in
    z-scores; not the paper's Mahalanobis distance (section 2.2), whose covariance has hardly an
    inverse where channels hardly vary. Batch and learning rate are LightMMoE's.
    """

    name = "LSTM-AE"
    horizon = 0
    watch = property(lambda self: "held out" if self.held_out else "training")

    window: Annotated[int, Field(ge=2)] = 16  # the decoder needs a row to give
    hidden: Whole = 64
    stride: Whole = 5

    def _build(self, channels: int) -> EncoderDecoder:
        return EncoderDecoder(channels, self.hidden)

    def _score_channels(self, rows: Floats) -> Floats:
        return self._on_windows(lambda x: (self.network.last(x) - x[:, :, -1]).square(), rows)


class Autoencoders(nn.Module):
    """One encoder and two decoders over flattened windows ``(b, n)``.

    The encoder goes from n to n // 2, n // 4 and ``latent`` units, the decoders back. ReLU after
    every layer, a sigmoid after a decoder's last one.
    """

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        sizes = (inputs, max(inputs // 2, 1), max(inputs // 4, 1), latent)

        def stack(sizes: tuple[int, ...], last: nn.Module) -> nn.Module:
            layers = [[nn.Linear(*pair), nn.ReLU()] for pair in pairwise(sizes)]
            return nn.Sequential(*sum(layers, [])[:-1], last)

        self.encoder = stack(sizes, nn.ReLU())
        self.first, self.second = (stack(sizes[::-1], nn.Sigmoid()) for _ in range(2))

    def forward(self, x: Tensor, alpha: float) -> Tensor:
        """Squared errors ``(b, n)``: ``alpha`` of AE1(W)'s, the rest of AE2(AE1(W))'s."""
        rebuilt = self.first(self.encoder(x))
        again = self.second(self.encoder(rebuilt))
        return alpha * (x - rebuilt).square() + (1 - alpha) * (x - again).square()


class Adversaries:
    """How the two autoencoders learn (the paper's section 3.2 and its algorithm 1).

    In epoch n encoder and first decoder go down L1 = R1 / n + (1 - 1/n) R12, encoder and second
    decoder down L2 = R2 / n - (1 - 1/n) R12, with R1, R2 and R12 the mean squared errors of AE1(W),
    AE2(W) and AE2(AE1(W)), each by its own Adam.
    """

    def __init__(self, network: Autoencoders, learning_rate: float, alpha: float) -> None:
        self.network, self.alpha, self.epoch = network, alpha, 1
        pairs = [nn.ModuleList([network.encoder, one]) for one in (network.first, network.second)]
        self.optimisers = [training.adam(pair, learning_rate) for pair in pairs]

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Let both learn from windows ``(b, c, w)``; give what `loss` gives, before the step."""
        network, x = self.network, windows.flatten(1)
        code = network.encoder(x)
        rebuilt = network.first(code)
        outputs = rebuilt, network.second(code), network.second(network.encoder(rebuilt))
        first, second, both = (functional.mse_loss(output, x) for output in outputs)
        near, far = 1 / self.epoch, 1 - 1 / self.epoch
        losses = near * first + far * both, near * second - far * both
        parts = [optimiser.param_groups[0]["params"] for optimiser in self.optimisers]
        # Both before the first step, which changes the encoder.
        slopes = [grad(*pair, retain_graph=True) for pair in zip(losses, parts, strict=True)]
        for optimiser, part, own in zip(self.optimisers, parts, slopes, strict=True):
            for weights, slope in zip(part, own, strict=True):
                weights.grad = slope
            optimiser.step()
        return (self.alpha * first + (1 - self.alpha) * both).detach()

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        """Mean score of windows ``(b, c, w)``, which no epoch's weights change."""
        return self.network(windows.flatten(1), self.alpha).mean()

    def end_epoch(self, loss: float) -> None:
        """Count the epoch."""
        self.epoch += 1


class USAD(Neural):
    """USAD (Audibert et al., KDD 2020): adversarially trained autoencoders over whole windows.

    Score of a window, given to its last row: ``alpha`` times the squared error of AE1(W) plus
    1 - ``alpha`` times that of AE2(AE1(W)), each the mean over rows and channels (section 3.2).
    Rows are scaled to the range of the training rows (section 3.3); test rows beyond it are not
    clipped. Training (`Adversaries`) stops by the mean score of held-out rows.
    """

    name = "USAD"
    horizon = 0
    scaling = "min-max"

    latent: Whole = 40
    alpha: Part = 0.5

    def _build(self, channels: int) -> Autoencoders:
        return Autoencoders(channels * self.window, self.latent)

    def _learner(self, network: Autoencoders, inputs: Tensor, generator: Generator) -> Adversaries:
        return Adversaries(network, self.learning_rate, self.alpha)

    def _score_channels(self, rows: Floats) -> Floats:
        return self._on_windows(
            lambda x: self.network(x.flatten(1), self.alpha).view_as(x).mean(dim=2), rows
        )


class Mixer(nn.Module):
    """Rebuild windows by mixing rows and channels. Axes: b batch, c channels, w window.

    Every channel of a window is brought to mean 0 and variance 1; blocks and one linear layer over
    time follow (`MTS-Mixers`, Li et al., 2023, section 3). The ``large`` network has two blocks
    that mix the rows of 2 interleaved groups, in each one layer norm for both mixings, and another
    one before the last layer; it undoes the normalisation at the end, which has a learned scale and
    shift per channel (Kim et al., ICLR 2022). The other one has one block and dropout 0.1.

    Windows are kept as ``(w, b, c)``, the rows of a group together: nothing is transposed.
    """

    def __init__(self, channels: int, window: int, *, large: bool) -> None:
        super().__init__()
        self.groups = 2 if large else 1
        self.scale = nn.Parameter(torch.ones(channels)) if large else None
        self.shift = nn.Parameter(torch.zeros(channels)) if large else None
        self.blocks = nn.ModuleList(
            Block(channels, window // self.groups, large=large) for _ in range(self.groups)
        )
        self.norm = nn.LayerNorm(channels) if large else None
        self.out = drawn(window, window, fan_in=window)
        self.out_bias = drawn(window, 1, fan_in=window)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Rebuilt minus given windows ``(b, c, w)``: ``(w, b, c)``, group of rows by group."""
        batch, channels, window = x.shape
        grouped = x.view(batch, channels, -1, self.groups).permute(3, 2, 0, 1)
        rows = grouped.contiguous().view(window, batch, channels)
        centred = rows - rows.mean(dim=0)  # torch.var_mean takes a hundred times as long here
        spread = (centred.square().mean(dim=0) + EPSILON).sqrt()
        normal = centred / spread
        mixed = normal if self.scale is None else torch.addcmul(self.shift, normal, self.scale)
        for block in self.blocks:
            mixed = block(mixed, generator)
        if self.norm is not None:
            mixed = self.norm(mixed)
        rebuilt = torch.addmm(self.out_bias, self.out, mixed.view(window, -1)).view_as(rows)
        if self.scale is None:
            return rebuilt - rows
        return ((rebuilt - self.shift) / self.scale - normal) * spread


class Block(nn.Module):
    """Mix the rows of each group, then the channels of each row, by two layers with GELU each."""

    def __init__(self, channels: int, rows: int, *, large: bool) -> None:
        super().__init__()
        groups = 2 if large else 1
        time_hidden = channel_hidden = min(64, max(16, channels))
        if large:
            time_hidden, channel_hidden = min(128, max(32, 2 * channels)), max(1, channels // 2)
        self.dropout = 0.0 if large else 0.1
        self.time_norm = nn.LayerNorm(channels)
        self.channel_norm = self.time_norm if large else nn.LayerNorm(channels)
        self.time_in = drawn(groups, time_hidden, rows, fan_in=rows)
        self.time_in_bias = drawn(groups, time_hidden, 1, fan_in=rows)
        self.time_out = drawn(groups, rows, time_hidden, fan_in=time_hidden)
        self.time_out_bias = drawn(groups, rows, 1, fan_in=time_hidden)
        self.channel_in = drawn(channels, channel_hidden, fan_in=channels)
        self.channel_in_bias = drawn(channel_hidden, fan_in=channels)
        self.channel_out = drawn(channel_hidden, channels, fan_in=channel_hidden)
        self.channel_out_bias = drawn(channels, fan_in=channel_hidden)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Mix ``(w, b, c)``, the rows of each group together."""
        groups, _, rows = self.time_in.shape
        share = self.training * self.dropout
        flat = self.time_norm(x).view(groups, rows, -1)
        inner = functional.gelu(torch.baddbmm(self.time_in_bias, self.time_in, flat))
        inner = dropped(inner, share, generator)
        x = x + torch.baddbmm(self.time_out_bias, self.time_out, inner).view_as(x)
        flat = self.channel_norm(x).view(-1, x.shape[2])
        inner = functional.gelu(torch.addmm(self.channel_in_bias, flat, self.channel_in))
        inner = dropped(inner, share, generator)
        return x + torch.addmm(self.channel_out_bias, inner, self.channel_out).view_as(x)


class MTSMixer(Neural):
    """MTS-Mixers (Li et al., 2023) as the study ran it, to rebuild windows: 42,298 weights.

    The large `Mixer`, trained on the mean squared error; ``window`` must be even. Score: mean over
    channels of the squared error of the window's last row, in z-scores; mean of the 5 rows around a
    row; scaled to 0..1 over all rows that are scored together, hence not causal.
    """

    name = "MTSMixer"
    horizon = 0
    watch = "training"
    rescales = True
    large = True
    stride = 24
    smooth = 5  # rows in the centred moving average
    weight_decay, flat, clip = 1e-5, True, 1.0

    window: Annotated[int, Field(ge=2, multiple_of=2)] = 16

    def _build(self, channels: int) -> Mixer:
        return Mixer(channels, self.window, large=self.large)

    def _loss(self, network: Mixer, windows: Tensor, target: Tensor, dice: Generator) -> Tensor:
        return network(windows, dice).square().mean()

    def _score_rows(self, rows: Floats) -> Floats:
        errors = self._on_windows(self._row_errors, rows)
        return unit(moving_average(errors, np.full(self.smooth, 1 / self.smooth)))

    def _row_errors(self, windows: Tensor) -> Tensor:
        return self.network(windows)[-1].square().mean(dim=1)


class MTSMixerLighter(MTSMixer):
    """The study's smaller mixer, one block without groups: 9,202 weights at 38 channels.

    The normalisation is not undone, so what it cannot rebuild is how far the last row lies from the
    usual, much as in the L2 norm. Trained and scored as `MTSMixer`, but by `absolute_and_squared`,
    with a lower learning rate on a plateau; of half the squared plus half the absolute error, and a
    mean of 3 rows.
    """

    name = "MTSMixerLighter"
    large = False
    stride = 6
    smooth = 3
    weight_decay, decoupled, clip = 1e-4, True, 0.5

    window: Whole = 16

    def _loss(self, network: Mixer, windows: Tensor, target: Tensor, dice: Generator) -> Tensor:
        return absolute_and_squared(network(windows, dice))

    def _schedule(self, optimiser: Optimizer) -> Callable[[float], None]:
        return ReduceLROnPlateau(optimiser, factor=0.8, patience=5).step

    def _row_errors(self, windows: Tensor) -> Tensor:
        errors = self.network(windows)[-1]
        return ((errors.square() + errors.abs()) / 2).mean(dim=1)
