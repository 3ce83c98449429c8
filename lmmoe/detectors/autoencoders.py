"""Two autoencoders: LSTM-AE, recurrent, and USAD, trained adversarially."""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.autograd import grad
from torch.nn.functional import mse_loss

from lmmoe import training
from lmmoe.detectors.base import Part, Whole
from lmmoe.detectors.neural import Neural, dense, draw
from lmmoe.detectors.scaling import Floats


class EncoderDecoder(nn.Module):
    """Two LSTMs and a linear layer (section 2.1 of the paper). Axes: b batch, c channels, w window.

    The encoder reads the window, and its last state gives row w; the decoder starts from that state
    and gives row i after it has read row i + 1.
    """

    def __init__(self, channels: int, hidden: int, generator: Generator) -> None:
        super().__init__()
        # Torch's layers, drawn by their own rule; one thread runs them twice as fast as Python.
        self.encoder, self.decoder = (
            nn.LSTM(channels, hidden, device="meta").to_empty(device="cpu") for _ in range(2)
        )
        for weights in (*self.encoder.parameters(), *self.decoder.parameters()):
            draw(weights, hidden, generator)
        self.out = dense(hidden, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Rebuild windows ``(b, c, w)`` as in training: the decoder reads the true rows.

        In use it reads its own, by the paper, which is the same for the last row.
        """
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
    z-scores. The paper (section 2.2) takes the Mahalanobis distance of the absolute errors; that is
    left out, since channels that hardly vary leave the covariance nearly without an inverse. The
    study names neither batch nor learning rate: these are LightMMoE's.
    """

    name = "LSTM-AE"
    horizon = 0

    window: Annotated[int, Field(ge=2)] = 16  # the decoder needs a row to give
    hidden: Whole = 64
    stride: Whole = 5

    @property
    def watch(self) -> str:
        """Whose loss patience is about."""
        return "held out" if self.held_out else "training"

    def _build(self, channels: int, generator: Generator) -> EncoderDecoder:
        return EncoderDecoder(channels, self.hidden, generator)

    def _score_channels(self, rows: Floats) -> Floats:
        return self._on_windows(lambda x: (self.network.last(x) - x[:, :, -1]).square(), rows)


class Autoencoders(nn.Module):
    """One encoder and two decoders over flattened windows ``(b, n)``.

    The encoder goes from n to n // 2, n // 4 and ``latent`` units, the decoders back. ReLU after
    every layer, a sigmoid after a decoder's last one: the paper leaves both open.
    """

    def __init__(self, inputs: int, latent: int, generator: Generator) -> None:
        super().__init__()
        sizes = (inputs, max(inputs // 2, 1), max(inputs // 4, 1), latent)

        def stack(sizes: tuple[int, ...], last: nn.Module) -> nn.Module:
            layers = [[dense(*pair, generator), nn.ReLU()] for pair in pairwise(sizes)]
            return nn.Sequential(*sum(layers, [])[:-1], last)

        self.encoder = stack(sizes, nn.ReLU())
        self.first, self.second = (stack(sizes[::-1], nn.Sigmoid()) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rebuild ``x`` ``(b, n)``: AE1(W) and AE2(AE1(W)) in the paper's words."""
        rebuilt = self.first(self.encoder(x))
        return rebuilt, self.second(self.encoder(rebuilt))


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
        first, second, both = (mse_loss(output, x) for output in outputs)
        near, far = 1 / self.epoch, 1 - 1 / self.epoch
        losses = near * first + far * both, near * second - far * both
        parts = [optimiser.param_groups[0]["params"] for optimiser in self.optimisers]
        # Both before the first step, which changes the encoder.
        slopes = [grad(*pair, retain_graph=True) for pair in zip(losses, parts, strict=True)]
        for optimiser, part, own in zip(self.optimisers, parts, slopes, strict=True):
            for weights, slope in zip(part, own, strict=True):
                weights.grad = slope
            optimiser.step()
        return self._mixed(first, both).detach()

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        """Mean score of windows ``(b, c, w)``, which no epoch's weights change."""
        x = windows.flatten(1)
        rebuilt, again = self.network(x)
        return self._mixed(mse_loss(rebuilt, x), mse_loss(again, x))

    def end_epoch(self, loss: float) -> None:
        """Count the epoch."""
        self.epoch += 1

    def _mixed(self, rebuilt: Tensor, again: Tensor) -> Tensor:
        return self.alpha * rebuilt + (1 - self.alpha) * again


class USAD(Neural):
    """USAD (Audibert et al., KDD 2020): adversarially trained autoencoders over whole windows.

    Score of a window, given to its last row: ``alpha`` times the squared error of AE1(W) plus
    1 - ``alpha`` times that of AE2(AE1(W)), each the mean over rows and channels (section 3.2).
    Rows are scaled to the range of the training rows (section 3.3); test rows beyond it are not
    clipped. `Autoencoders` is the network, `Adversaries` its training; the preset is the study's.

    L2 falls as long as R12 rises, so after a few epochs the second decoder saturates. Early
    stopping ends before: it watches the mean score of normal rows (`Adversaries.loss`).
    """

    name = "USAD"
    horizon = 0
    scaling = "min-max"

    latent: Whole = 40
    alpha: Part = 0.5

    def _build(self, channels: int, generator: Generator) -> Autoencoders:
        return Autoencoders(channels * self.window, self.latent, generator)

    def _learner(self, network: Autoencoders, inputs: Tensor, generator: Generator) -> Adversaries:
        return Adversaries(network, self.learning_rate, self.alpha)

    def _score_channels(self, rows: Floats) -> Floats:
        def errors(windows: Tensor) -> Tensor:
            flat = windows.flatten(1)
            rebuilt, again = ((flat - out).square() for out in self.network(flat))
            mixed = self.alpha * rebuilt + (1 - self.alpha) * again
            return mixed.view(windows.shape).mean(dim=2)

        return self._on_windows(errors, rows)
