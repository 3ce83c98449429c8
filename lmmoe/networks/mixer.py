"""MLP mixers that rebuild a window: over time, then over channels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmmoe.mmoe.parts import keep_mask
from lmmoe.networks.dense import draw

EPSILON = 1e-5  # added to variances: PyTorch's and RevIN's


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
        self.out = uniform(window, window, fan_in=window, generator=generator)
        self.out_bias = uniform(window, 1, fan_in=window, generator=generator)

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
            return uniform(*shape, fan_in=fan_in, generator=generator)

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


def uniform(*shape: int, fan_in: int, generator: torch.Generator | None) -> nn.Parameter:
    """Weights as torch starts linear layers and convolutions, by `lmmoe.networks.dense.draw`."""
    weights = nn.Parameter(torch.empty(shape))
    draw(weights, fan_in, generator)
    return weights
