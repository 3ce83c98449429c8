"""MTSMixer and MTSMixerLighter: rebuild the window with an MLP mixer."""

from abc import abstractmethod
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.neural import Neural
from lmmoe.detectors.smoothing import smoothed, unit
from lmmoe.networks.descent import FlatDescent
from lmmoe.networks.losses import absolute_and_squared
from lmmoe.networks.mixer import Mixer

BLOCK = 256  # windows scored at a time: a hidden layer over 38 channels then takes 6 MB


class _Mixing(Neural):
    """What both share: the error of a window's last row, smoothed and scaled as the study does.

    Not causal, as published: a score is the mean of the ``smooth`` rows around its own (of those
    that exist, at the ends), and is then scaled to 0..1 over all rows that are scored together. So
    it changes with rows that come later, and a threshold set on some rows says nothing on others.
    """

    horizon = 0
    watch = "training"
    rescales = True
    smooth: int  # rows in the centred moving average

    @abstractmethod
    def _errors(self, errors: Tensor) -> Tensor:
        """Score rows by their rebuilt minus their given values ``(b, c)``: ``(b,)``."""

    @torch.inference_mode()
    def _late_scores(self, rows: Floats) -> Floats:
        parts = self._windows(rows).split(BLOCK)
        errors = torch.cat([self._errors(self.network.errors(part)[-1]) for part in parts])
        plain = errors.cpu().double().numpy()
        return unit(smoothed(plain, np.full(self.smooth, 1 / self.smooth)))


@register("MTSMixer", window=96, epochs=100, batch=16, patience=10)
class MTSMixer(_Mixing):
    """MTS-Mixers (Li et al., 2023) as the study ran it, to rebuild windows: 42,298 weights.

    Two blocks of `lmmoe.networks.mixer.Mixer` with factorised (interleaved, 2 groups) mixing over
    time, min(128, max(32, 2 c)) hidden units, and c / 2 for channels; reversible instance
    normalisation with learned scale and shift. A block has one layer norm for both of its mixings:
    only so are there 42,298 weights at 38 channels. Settings under this name are the study's: a
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

        return FlatDescent(
            network,
            loss,
            torch.optim.Adam,
            learning_rate=self.learning_rate,
            weight_decay=1e-5,
            clip=1.0,
        )

    def _errors(self, errors: Tensor) -> Tensor:
        return errors.square().mean(dim=1)


@register("MTSMixerLighter", window=48, epochs=30, batch=8, patience=8)
class MTSMixerLighter(_Mixing):
    """The study's smaller mixer, one block without groups: 9,202 weights at 38 channels.

    Both mixings of `lmmoe.networks.mixer.Mixer` have min(64, max(16, c)) hidden units, dropout 0.1
    after GELU and a layer norm of their own before. Instance normalisation learns nothing and is
    not undone: a window's levels are lost to the network, so what it cannot rebuild is how far the
    last row lies from the usual, much as in the L2 norm. (Undone as in MTSMixer, the network learns
    to copy its input, and the scores lie far below those of the study's runs.) Settings under this
    name are the study's: a window of 48 rows every 6 rows, the loss
    `lmmoe.networks.losses.absolute_and_squared` over each batch, AdamW with weight decay 1e-4,
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

        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
        return FlatDescent(
            network,
            loss,
            torch.optim.AdamW,
            learning_rate=self.learning_rate,
            weight_decay=1e-4,
            clip=0.5,
            schedule=partial(plateau, factor=0.8, patience=5),
        )

    def _errors(self, errors: Tensor) -> Tensor:
        return ((errors.square() + errors.abs()) / 2).mean(dim=1)
