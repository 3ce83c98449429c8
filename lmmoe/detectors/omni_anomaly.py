"""OmniAnomaly: a recurrent variational autoencoder whose latent variables follow each other.

Axes: b windows, c channels, w rows of a window, z latent variables.
"""

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import softplus

from lmmoe.detectors.base import NotNegative, Positive, Whole
from lmmoe.detectors.neural import Neural
from lmmoe.detectors.scaling import Floats
from lmmoe.mmoe import drawn

LEAST = 1e-4  # standard deviation, added to each
LOG_2PI = math.log(2 * math.pi)


class Planar(nn.Module):
    """Planar flows one after another (Rezende and Mohamed, ICML 2015, equations 10 to 12)."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.u, self.w = (drawn(count, size, fan_in=size) for _ in range(2))
        self.b = nn.Parameter(torch.zeros(count))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``(..., z)``; also give the logarithm of the Jacobian's determinant, ``(...)``."""
        total = torch.zeros_like(z[..., 0])
        for u, w, b in zip(self.u, self.w, self.b, strict=True):
            inner = w @ u
            # So that w u >= -1 and the map can be inverted (appendix A.1).
            u = u + (softplus(inner) - 1 - inner) * w / (w @ w)
            bent = torch.tanh(z @ w + b)
            total = total + torch.log1p((1 - bent**2) * (w @ u))
            z = z + bent[..., None] * u
        return z, total


class OmniNetwork(nn.Module):
    """Inference and generative network (section 4.1 of the paper)."""

    def __init__(self, channels: int, window: int, latent: int, hidden: int, flows: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(channels, hidden), nn.GRU(latent, hidden)
        # Of the state and the latent variables before: one layer in two parts.
        self.inner = nn.Linear(hidden, hidden)
        self.before = drawn(latent, hidden, fan_in=hidden)
        self.latent = nn.Linear(hidden, 2 * latent)  # means, then deviations
        self.flows = Planar(latent, flows)
        self.outer = nn.Linear(hidden, hidden)
        self.rows = nn.Linear(hidden, 2 * channels)
        means, deviations = following(window)
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("deviations", deviations, persistent=False)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Give the log density of rows ``(w, b, c)``, and the bound's part about z ``(w, b)``.

        ``x`` is ``(b, c, w)``; without ``noise`` ``(w, b, z)`` each z is its posterior's mean.
        """
        rows = x.permute(2, 0, 1)
        inner = self.inner(self.encoder(rows)[0])
        z = torch.zeros(len(x), len(self.before), device=x.device)
        drawn_z, densities = [], []
        for t, state in enumerate(inner):
            hidden = torch.addmm(state, z, self.before).relu()
            mean, raw = self.latent(hidden).chunk(2, dim=1)
            deviation = softplus(raw) + LEAST
            z = mean if noise is None else mean + deviation * noise[t]
            drawn_z.append(z)
            densities.append(log_normal(z, mean, deviation).sum(dim=1))
        z, bent = self.flows(torch.stack(drawn_z))
        prior = log_normal(z, torch.tensordot(self.means, z, 1), self.deviations).sum(dim=2)
        mean, raw = self.rows(self.outer(self.decoder(z)[0]).relu()).chunk(2, dim=2)
        return log_normal(rows, mean, softplus(raw) + LEAST), prior - torch.stack(densities) + bent


def log_normal(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Logarithm of the normal density, element by element."""
    return -0.5 * (((x - mean) / deviation) ** 2 + LOG_2PI) - deviation.log()


def following(window: int) -> tuple[Tensor, Tensor]:
    """Say how z follows those before it: as observations, with noise, of a random walk.

    All noises and the walk's start have variance 1, in each latent variable alone, so that the
    Kalman filter (1960) is linear in z: means ``(w, w)`` @ z ``(w, ...)``, and deviations
    ``(w, 1, 1)``.
    """
    means, deviations = torch.zeros(window, window), torch.zeros(window, 1, 1)
    mean, variance = torch.zeros(window), 1.0
    for t in range(window):
        means[t], deviations[t] = mean, math.sqrt(variance + 1)
        gain = variance / (variance + 1)
        mean = (1 - gain) * mean
        mean[t] = gain
        variance = (1 - gain) * variance + 1
    return means, deviations


class OmniAnomaly(Neural):
    """Score a row by the density that a recurrent variational autoencoder gives it.

    Source: Su et al., "Robust Anomaly Detection for Multivariate Time Series through Stochastic
    Recurrent Neural Network" (KDD 2019), sections 4 and 5.1.3, whose settings these are: GRUs,
    dense layers of 500 units, 3 latent variables, 20 planar flows, 10 epochs, an L2 term of 1e-4.
    A score is the mean over channels of -log p(row | z), where z is the posterior's mean, not a
    draw, so that a row always scores alike. Latent variables are connected before the flows.

    Thinned, to train in minutes: windows are ``stride`` rows apart, not 1, and a window scores its
    last ``scored`` rows, not 1: each has at least ``window - scored`` rows before it. Training ends
    early as that of all networks here; the paper's has 30 % of the rows for that.
    """

    name = "OmniAnomaly"
    horizon = 0

    scaling: Literal["min-max", "z-score"] = "min-max"
    window: Whole = 100
    latent: Whole = 3
    hidden: Whole = 500
    flows: Whole = 20
    epochs: Whole = 10
    batch: Whole = 50
    weight_decay: NotNegative = 1e-4
    clip: Positive = 10.0
    stride: Whole = 25
    scored: Whole = 10

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        if self.scored > self.window:
            raise ValueError(f"scored={self.scored}: a window has {self.window} rows")

    def _build(self, channels: int) -> OmniNetwork:
        return OmniNetwork(channels, self.window, self.latent, self.hidden, self.flows)

    def _loss(
        self, network: OmniNetwork, windows: Tensor, target: Tensor, dice: Generator
    ) -> Tensor:
        shape = (self.window, len(windows), self.latent)
        rows, rest = network(windows, torch.randn(shape, generator=dice, device=windows.device))
        return -(rows.sum(dim=2) + rest).mean()

    def _score_channels(self, rows: Floats) -> Floats:
        # Windows begin ``scored`` rows apart; the last one is filled up with rows that no score of
        # those before them looks at.
        count = -(-(len(rows) - self.window + self.scored) // self.scored)
        missing = (count - 1) * self.scored + self.window - len(rows)
        scaled = nn.functional.pad(self._scaled(rows), (0, 0, 0, missing))
        pieces = scaled.unfold(0, self.window, self.scored).split(100)
        with torch.inference_mode():
            found = [self.network(part)[0][-self.scored :] for part in pieces]
        late = torch.cat([part.transpose(0, 1).flatten(0, 1) for part in found])
        late = late[self.scored - 1 : self.scored - 1 + len(rows) - self.unscored]
        return -late.cpu().double().numpy()
