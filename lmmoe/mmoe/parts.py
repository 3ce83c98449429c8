"""What experts, gates and towers share: first weights, activations, dropout, batch norm."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

LEAK = 0.1  # slope of leaky ReLU below zero


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


EPSILON = 1e-5  # added to the variance, torch's default
MOMENTUM = 0.1  # torch's default
