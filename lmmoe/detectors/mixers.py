"""MTSMixer and MTSMixerLighter: rebuild the window with an MLP mixer."""

from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from lmmoe import training
from lmmoe.detectors.neural import Neural, absolute_and_squared, drawn
from lmmoe.detectors.scaling import Floats, moving_average, unit
from lmmoe.mmoe import dropped
from lmmoe.training import Learner

EPSILON = 1e-5  # added to variances: PyTorch's and RevIN's


class Mixer(nn.Module):
    """Rebuild windows by mixing rows and channels in turn. Axes: b batch, c channels, w window.

    Every channel of a window is brought to mean 0 and variance 1 (instance normalisation); blocks
    and one linear layer over time follow (`MTS-Mixers`, Li et al., 2023, section 3). The ``large``
    network has two blocks that mix the rows of 2 interleaved groups, in each one layer norm for
    both mixings, and another one before the last layer; it undoes the normalisation at the end,
    which has a learned scale and shift per channel (Kim et al., ICLR 2022). The other one has one
    block without groups and dropout 0.1.

    Windows are kept as ``(w, b, c)`` with the rows of a group together: mixing either is then one
    product of matrices, and nothing is transposed in between.
    """

    def __init__(self, channels: int, window: int, generator: Generator, *, large: bool) -> None:
        super().__init__()
        self.groups = 2 if large else 1
        if window % self.groups:
            raise ValueError(f"window={window}: it must be a multiple of the {self.groups} groups")
        self.scale = nn.Parameter(torch.ones(channels)) if large else None
        self.shift = nn.Parameter(torch.zeros(channels)) if large else None
        self.blocks = nn.ModuleList(
            Block(channels, window // self.groups, generator, large=large)
            for _ in range(2 if large else 1)
        )
        self.norm = nn.LayerNorm(channels) if large else None
        self.out = drawn(window, window, fan_in=window, generator=generator)
        self.out_bias = drawn(window, 1, fan_in=window, generator=generator)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Rebuild windows ``(b, c, w)``; in training mode, ``generator`` draws dropout's masks."""
        errors = self.errors(x, generator).unflatten(0, (self.groups, -1))
        return x + errors.permute(2, 3, 1, 0).flatten(2)

    def errors(self, x: Tensor, generator: Generator | None = None) -> Tensor:
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
    """Mix the rows inside each group, then the channels of each row; both on top of the input.

    Each is layer norm over channels, a hidden layer with GELU and dropout, an output layer.
    """

    def __init__(self, channels: int, rows: int, generator: Generator, *, large: bool) -> None:
        super().__init__()
        weight = partial(drawn, generator=generator)
        groups, time_hidden = 1, min(64, max(16, channels))
        channel_hidden = time_hidden
        if large:
            groups, time_hidden = 2, min(128, max(32, 2 * channels))
            channel_hidden = max(1, channels // 2)
        self.dropout = 0.0 if large else 0.1
        self.time_norm = nn.LayerNorm(channels)
        self.channel_norm = self.time_norm if large else nn.LayerNorm(channels)
        self.time_in = weight(groups, time_hidden, rows, fan_in=rows)
        self.time_in_bias = weight(groups, time_hidden, 1, fan_in=rows)
        self.time_out = weight(groups, rows, time_hidden, fan_in=time_hidden)
        self.time_out_bias = weight(groups, rows, 1, fan_in=time_hidden)
        self.channel_in = weight(channels, channel_hidden, fan_in=channels)
        self.channel_in_bias = weight(channel_hidden, fan_in=channels)
        self.channel_out = weight(channel_hidden, channels, fan_in=channel_hidden)
        self.channel_out_bias = weight(channels, fan_in=channel_hidden)

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

    The large `Mixer`, trained by the study's preset on the mean squared error. ``window`` must be
    even. Score: mean over channels of the squared error of the window's last row, in z-scores; mean
    of the 5 rows around a row; scaled to 0..1 over all rows that are scored together. Not causal,
    as published: a score changes with later rows.
    """

    name = "MTSMixer"
    horizon = 0
    watch = "training"
    rescales = True
    large = True
    stride = 24
    smooth = 5  # rows in the centred moving average

    def _build(self, channels: int, generator: Generator) -> Mixer:
        return Mixer(channels, self.window, generator, large=self.large)

    def _learner(self, network: Mixer, inputs: Tensor, generator: Generator) -> Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return network.errors(windows, generator).square().mean()

        optimiser = training.adam(network, self.learning_rate, 1e-5, flat=True)
        return training.Descent(network, loss, optimiser, clip=1.0)

    def _score_rows(self, rows: Floats) -> Floats:
        errors = self._on_windows(self._row_errors, rows)
        return unit(moving_average(errors, np.full(self.smooth, 1 / self.smooth)))

    def _row_errors(self, windows: Tensor) -> Tensor:
        return self.network.errors(windows)[-1].square().mean(dim=1)


class MTSMixerLighter(MTSMixer):
    """The study's smaller mixer, one block without groups: 9,202 weights at 38 channels.

    Instance normalisation is not undone: a window's levels are lost to the network, so what it
    cannot rebuild is how far the last row lies from the usual, much as in the L2 norm. (Undone, the
    scores lie far below those of the study's runs.) Trained and scored as `MTSMixer`, but by the
    loss `absolute_and_squared`, with a lower learning rate on a plateau; of half the squared plus
    half the absolute error, and a mean of 3 rows.
    """

    name = "MTSMixerLighter"
    large = False
    stride = 6
    smooth = 3

    def _learner(self, network: Mixer, inputs: Tensor, generator: Generator) -> Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return absolute_and_squared(network.errors(windows, generator))

        kind = torch.optim.AdamW
        optimiser = training.adam(network, self.learning_rate, 1e-4, kind=kind, flat=True)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.8, patience=5)
        return training.Descent(network, loss, optimiser, clip=0.5, schedule=plateau)

    def _row_errors(self, windows: Tensor) -> Tensor:
        errors = self.network.errors(windows)[-1]
        return ((errors.square() + errors.abs()) / 2).mean(dim=1)
