"""MTSMixer and MTSMixerLighter: rebuild the window with an MLP mixer."""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmmoe import training
from lmmoe.detectors.neural import Neural, absolute_and_squared, drawn
from lmmoe.detectors.scaling import Floats, moving_average, unit
from lmmoe.mmoe import keep_mask

EPSILON = 1e-5  # added to variances: PyTorch's and RevIN's
BLOCK = 256  # windows scored at a time: a hidden layer over 38 channels then takes 6 MB


class Mixer(nn.Module):
    """Rebuild windows by mixing their rows and their channels in turn.

    Axes: b batch, c channels, w window, g groups, d hidden units.

    Every channel of a window is brought to mean 0 and variance 1: instance normalisation. With
    ``reversible`` it is undone at the end, and has a learned scale and shift per channel (Kim et
    al., ICLR 2022); without, the network has to rebuild levels that it was not given. ``blocks``
    blocks follow, then a layer norm if ``last_norm``, and one linear layer over time. The networks
    are `MTS-Mixers` (Li et al., 2023, section 3) in two sizes.

    Windows are kept as ``(w, b, c)`` with the rows of a group together: mixing rows is then one
    product of matrices, and so is mixing channels, and nothing is transposed in between.
    """

    def __init__(
        self,
        *,
        channels: int,
        window: int,
        blocks: int,
        groups: int,
        time_hidden: int,
        channel_hidden: int,
        generator: torch.Generator | None,
        reversible: bool = False,
        one_norm: bool = False,
        last_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if window % groups:
            raise ValueError(f"window={window}: it must be a multiple of the {groups} groups")
        self.groups = groups
        self.scale = nn.Parameter(torch.ones(channels)) if reversible else None
        self.shift = nn.Parameter(torch.zeros(channels)) if reversible else None
        self.blocks = nn.ModuleList(
            Block(
                channels=channels,
                rows=window // groups,
                groups=groups,
                time_hidden=time_hidden,
                channel_hidden=channel_hidden,
                one_norm=one_norm,
                dropout=dropout,
                generator=generator,
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(channels) if last_norm else None
        self.out = drawn(window, window, fan_in=window, generator=generator)
        self.out_bias = drawn(window, 1, fan_in=window, generator=generator)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rebuild windows ``(b, c, w)``; in training mode, ``generator`` draws dropout's masks."""
        errors = self.errors(x, generator).unflatten(0, (self.groups, -1))
        return x + errors.permute(2, 3, 1, 0).flatten(2)

    def errors(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rebuilt minus given windows ``(b, c, w)``, as ``(w, b, c)``.

        The rows come in groups: those of every group in time order, group by group; the last row of
        all is that of the window.
        """
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

    Each is layer norm over channels, a hidden layer with GELU and dropout, an output layer. With
    ``one_norm``, both use the same layer norm. Axes: as `Mixer`.
    """

    def __init__(
        self,
        *,
        channels: int,
        rows: int,
        groups: int,
        time_hidden: int,
        channel_hidden: int,
        one_norm: bool,
        dropout: float,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            return drawn(*shape, fan_in=fan_in, generator=generator)

        self.dropout = dropout
        self.time_norm = nn.LayerNorm(channels)
        self.channel_norm = self.time_norm if one_norm else nn.LayerNorm(channels)
        self.time_in = weight(groups, time_hidden, rows, fan_in=rows)
        self.time_in_bias = weight(groups, time_hidden, 1, fan_in=rows)
        self.time_out = weight(groups, rows, time_hidden, fan_in=time_hidden)
        self.time_out_bias = weight(groups, rows, 1, fan_in=time_hidden)
        self.channel_in = weight(channels, channel_hidden, fan_in=channels)
        self.channel_in_bias = weight(channel_hidden, fan_in=channels)
        self.channel_out = weight(channel_hidden, channels, fan_in=channel_hidden)
        self.channel_out_bias = weight(channels, fan_in=channel_hidden)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Mix ``(w, b, c)``, the rows of each group together."""
        groups, _, rows = self.time_in.shape
        time_keep, channel_keep = self._keep(x, generator)
        flat = self.time_norm(x).view(groups, rows, -1)
        inner = functional.gelu(torch.baddbmm(self.time_in_bias, self.time_in, flat))
        inner = inner if time_keep is None else inner * time_keep.view_as(inner)
        x = x + torch.baddbmm(self.time_out_bias, self.time_out, inner).view_as(x)
        flat = self.channel_norm(x).view(-1, x.shape[2])
        inner = functional.gelu(torch.addmm(self.channel_in_bias, flat, self.channel_in))
        inner = inner if channel_keep is None else inner * channel_keep.view_as(inner)
        return x + torch.addmm(self.channel_out_bias, inner, self.channel_out).view_as(x)

    def _keep(
        self, x: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Dropout's masks for both hidden layers, flat and drawn together; None without dropout."""
        if not self.training or self.dropout == 0:
            return None, None
        groups, hidden, _ = self.time_in.shape
        window, batch, channels = x.shape
        sizes = (groups * hidden * batch * channels, window * batch * self.channel_in.shape[1])
        return keep_mask(x.new_empty(sum(sizes)), self.dropout, generator).split(sizes)


class _Mixing(Neural):
    """What both share: the error of a window's last row, smoothed and scaled as the study does.

    Not causal, as published: a score is the mean of the ``smooth`` rows around its own (of those
    that exist, at the ends), and is then scaled to 0..1 over all rows that are scored together. So
    it changes with rows that come later, and a threshold set on some rows says nothing on others.
    """

    horizon = 0
    watch = "training"
    rescales = True
    smooth = 1  # rows in the centred moving average

    @abstractmethod
    def _errors(self, errors: Tensor) -> Tensor:
        """Score rows by their rebuilt minus their given values ``(b, c)``: ``(b,)``."""

    @torch.inference_mode()
    def _score_rows(self, rows: Floats) -> Floats:
        parts = self._windows(rows).split(BLOCK)
        errors = torch.cat([self._errors(self.network.errors(part)[-1]) for part in parts])
        plain = errors.cpu().double().numpy()
        return unit(moving_average(plain, np.full(self.smooth, 1 / self.smooth)))


class MTSMixer(_Mixing):
    """MTS-Mixers (Li et al., 2023) as the study ran it, to rebuild windows: 42,298 weights.

    Two blocks of `Mixer` with factorised (interleaved, 2 groups) mixing over
    time, min(128, max(32, 2 c)) hidden units, and c / 2 for channels; reversible instance
    normalisation with learned scale and shift. A block has one layer norm for both of its mixings:
    only so are there 42,298 weights at 38 channels. Settings of the preset are the study's: a
    window of 96 rows every 24 rows, mean squared error, Adam with weight decay 1e-5, gradients
    clipped at norm 1, 100 epochs unless the training loss has not fallen for 10. The best epoch's
    weights are kept. Other settings: `Neural`'s; ``window`` must be even.

    Score: mean over channels of the squared error of the window's last row, in z-scores; centred
    moving average of 5 rows; scaled over the rows given, so not causal (see `_Mixing`).
    """

    name = "MTSMixer"
    stride = 24
    smooth = 5

    def _build(self, channels: int, generator: torch.Generator | None = None) -> Mixer:
        return Mixer(
            channels=channels,
            window=self.window,
            blocks=2,
            groups=2,
            time_hidden=min(128, max(32, 2 * channels)),
            channel_hidden=max(1, channels // 2),
            reversible=True,
            one_norm=True,
            last_norm=True,
            generator=generator,
        )

    def _learner(
        self, network: Mixer, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return network.errors(windows).square().mean()

        optimiser = training.adam(network, self.learning_rate, 1e-5, flat=True)
        return training.Descent(network, loss, optimiser, clip=1.0)

    def _errors(self, errors: Tensor) -> Tensor:
        return errors.square().mean(dim=1)


class MTSMixerLighter(_Mixing):
    """The study's smaller mixer, one block without groups: 9,202 weights at 38 channels.

    Both mixings of `Mixer` have min(64, max(16, c)) hidden units, dropout 0.1
    after GELU and a layer norm of their own before. Instance normalisation learns nothing and is
    not undone: a window's levels are lost to the network, so what it cannot rebuild is how far the
    last row lies from the usual, much as in the L2 norm. (Undone as in MTSMixer, the network learns
    to copy its input, and the scores lie far below those of the study's runs.) Settings of the
    preset are the study's: a window of 48 rows every 6 rows, the loss
    `absolute_and_squared` over each batch, AdamW with weight decay 1e-4,
    learning rate times 0.8 on a plateau of the training loss (patience 5), gradients clipped at
    norm 0.5, 30 epochs unless the training loss has not fallen for 8. The best epoch's weights are
    kept. Other settings: `Neural`'s.

    Score: mean over channels of half the squared plus half the absolute error of the window's last
    row, in z-scores; centred moving average of 3 rows; scaled over the rows given, so not causal
    (see `_Mixing`).
    """

    name = "MTSMixerLighter"
    stride = 6
    smooth = 3

    def _build(self, channels: int, generator: torch.Generator | None = None) -> Mixer:
        hidden = min(64, max(16, channels))
        return Mixer(
            channels=channels,
            window=self.window,
            blocks=1,
            groups=1,
            time_hidden=hidden,
            channel_hidden=hidden,
            dropout=0.1,
            generator=generator,
        )

    def _learner(
        self, network: Mixer, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return absolute_and_squared(network.errors(windows, generator))

        kind = torch.optim.AdamW
        optimiser = training.adam(network, self.learning_rate, 1e-4, kind=kind, flat=True)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.8, patience=5)
        return training.Descent(network, loss, optimiser, clip=0.5, schedule=plateau)

    def _errors(self, errors: Tensor) -> Tensor:
        return ((errors.square() + errors.abs()) / 2).mean(dim=1)
