"""USAD: two autoencoders that share an encoder and are trained against each other."""

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn.functional import mse_loss

from lmmoe import kinds, training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.neural import Neural
from lmmoe.detectors.scaling import Scaling
from lmmoe.networks.dense import stack


class Autoencoders(nn.Module):
    """One encoder and two decoders over flattened windows ``(b, n)``.

    The encoder goes from n to n // 2, n // 4 and ``latent`` units, the decoders back. ReLU after
    every layer, a sigmoid after a decoder's last one: the paper leaves both open, and rows scaled
    to their training range lie between 0 and 1.
    """

    def __init__(self, inputs: int, latent: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        sizes = (inputs, max(inputs // 2, 1), max(inputs // 4, 1), latent)
        self.encoder = stack(sizes, nn.ReLU(), generator)
        self.first = stack(sizes[::-1], nn.Sigmoid(), generator)
        self.second = stack(sizes[::-1], nn.Sigmoid(), generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rebuild ``x`` ``(b, n)`` with the first autoencoder, and what it gives with the second.

        The paper calls them AE1(W) and AE2(AE1(W)).
        """
        rebuilt = self.first(self.encoder(x))
        return rebuilt, self.second(self.encoder(rebuilt))


class Adversaries:
    """How the two autoencoders learn (the paper's section 3.2 and its algorithm 1).

    In epoch n the first one goes down L1 = R1 / n + (1 - 1/n) R12, the second one down
    L2 = R2 / n - (1 - 1/n) R12, with R1, R2 and R12 the errors of AE1(W), AE2(W) and AE2(AE1(W)):
    the first wants to deceive the second, which wants to tell what the first rebuilt from data.
    L1 trains encoder and first decoder, L2 encoder and second decoder, each with its own Adam.
    Both losses come from one forward pass, as in algorithm 1. Errors are mean squared ones.
    """

    def __init__(self, network: Autoencoders, learning_rate: float, alpha: float) -> None:
        self.network, self.alpha, self.epoch = network, alpha, 1
        self.weights = [list(part.parameters()) for part in network.children()]
        pairs = (nn.ModuleList([network.encoder, part]) for part in (network.first, network.second))
        self.optimisers = [training.adam(pair, learning_rate) for pair in pairs]

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        """Let both learn from windows ``(b, c, w)``; give what `loss` gives, before the step."""
        first, second, errors = self.slopes(windows.flatten(1))
        encoder, *decoders = self.weights
        for optimiser, decoder, slopes in zip(
            self.optimisers, decoders, (first, second), strict=True
        ):
            for weights, slope in zip([*encoder, *decoder], slopes, strict=True):
                weights.grad = slope
            optimiser.step()
        return self._mixed(errors[0], errors[2])

    def slopes(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Gradients of L1 and of L2 on ``x`` ``(b, n)``; and R1, R2, R12.

        A gradient is that of the encoder's weights, then of the loss's own decoder's. The graph is
        cut after the encoder and after the first decoder, so that the way back through R12, which
        both losses need, is gone once: 16 passes through a part, where two backward passes take 19.
        """
        network, (encoder, one, two) = self.network, self.weights
        near, far = 1 / self.epoch, 1 - 1 / self.epoch
        encoded = network.encoder(x)
        code = encoded.detach().requires_grad_()
        rebuilt, other = network.first(code), network.second(code)
        given = rebuilt.detach().requires_grad_()
        again = network.second(network.encoder(given))
        errors = [mse_loss(output, x) for output in (given, other, again)]

        down, *deceived = grad(errors[2], [given, *encoder, *two])  # of R12
        (plain,) = grad(errors[0], given)
        down_first, *first = grad(
            rebuilt, [code, *one], near * plain + far * down, retain_graph=True
        )
        (down_both,) = grad(rebuilt, code, down)
        down_second, *second = grad(near * errors[1], [code, *two])
        shared = grad(encoded, encoder, down_first, retain_graph=True)
        against = grad(encoded, encoder, down_second - far * down_both)

        count = len(encoder)
        first, second = [*shared, *first], [*against, *second]
        for slope, other in zip(first[:count], deceived, strict=False):
            slope.add_(other, alpha=far)
        for slope, other in zip(second, deceived, strict=True):
            slope.sub_(other, alpha=far)
        return first, second, [error.detach() for error in errors]

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        """Mean score of windows ``(b, c, w)``: the losses' weights change, this does not."""
        x = windows.flatten(1)
        rebuilt, again = self.network(x)
        return self._mixed(mse_loss(rebuilt, x), mse_loss(again, x))

    def end_epoch(self, loss: float) -> None:
        """Count the epoch."""
        self.epoch += 1

    def _mixed(self, rebuilt: Tensor, again: Tensor) -> Tensor:
        return self.alpha * rebuilt + (1 - self.alpha) * again


@register("USAD", epochs=30, batch=256)
class USAD(Neural):
    """USAD (Audibert et al., KDD 2020): adversarially trained autoencoders over whole windows.

    Score of a window, given to its last row: ``alpha`` times the squared error of AE1(W) plus
    1 - ``alpha`` times that of AE2(AE1(W)), each the mean over the window's rows and the channels
    (section 3.2; alpha + beta = 1). Rows are scaled to the range of the training rows (section
    3.3); test rows beyond it are not clipped, though no output can follow them. `Autoencoders` is
    the network, with ``latent`` units inside, `Adversaries` its training; other settings are
    `Neural`'s. Under this name window, layers, batch (256) and epochs (30) are the study's.

    As defined, the contest has a winner: L2 falls as long as R12 rises, so after a few epochs the
    second decoder saturates and AE2(AE1(W)) is nearly the same whatever W is. Early stopping, where
    rows are held out, ends before: it watches the mean score of normal rows (`Adversaries.loss`),
    since the losses themselves are weighed anew in every epoch.
    """

    name = "USAD"
    horizon = 0

    def __init__(self, *, latent: int = 40, alpha: float = 0.5, **others: object) -> None:
        super().__init__(**others)
        self.latent, self.alpha = latent, alpha
        kinds.whole(latent=latent)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha={alpha}: a share from 0 to 1 is needed")

    def _build(self, channels: int, generator: torch.Generator | None = None) -> Autoencoders:
        return Autoencoders(channels * self.window, self.latent, generator)

    def _learner(
        self, network: Autoencoders, inputs: Tensor, generator: torch.Generator
    ) -> Adversaries:
        return Adversaries(network, self.learning_rate, self.alpha)

    def _scaler(self, rows: Floats) -> Scaling:
        return Scaling.min_max(rows)

    def _late_channel_scores(self, rows: Floats) -> Floats:
        parts = [self._errors(part) for part in self._windows(rows).split(training.BATCH)]
        return torch.cat(parts).cpu().double().numpy()

    @torch.inference_mode()
    def _errors(self, windows: Tensor) -> Tensor:
        """Mixed squared errors of windows ``(b, c, w)``, means over a window's rows: ``(b, c)``."""
        flat = windows.flatten(1)
        rebuilt, again = ((flat - out).square() for out in self.network(flat))
        mixed = self.alpha * rebuilt + (1 - self.alpha) * again
        return mixed.view(windows.shape).mean(dim=2)
