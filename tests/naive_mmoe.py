"""The MMoE network without dropout, written from the definition: one window, one expert."""

import torch
from torch.nn import functional as F  # noqa: N812 torch's own custom

from lmmoe.mmoe import AttentionGate, HierarchicalGate, MeanGate, MMoE, SeriesExperts

SIZES = {"channels": 4, "window": 5, "experts": 2, "kernels": [2], "hidden": [6], "out": 3}
SIZES |= {"tower": [3], "shared": 0.7}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def network(seed=1, **changes):
    """A small network in float64, in scoring mode, no weight at a special value such as 0 or 1."""
    torch.manual_seed(seed)
    made, generator = MMoE(**(SIZES | changes)).double(), seeded(seed)
    with torch.no_grad():
        for values in made.state_dict().values():
            if values.numel() == 1 or values.min() == values.max():
                noise = torch.rand(values.shape, generator=generator, dtype=torch.float64)
                values.add_(0.2 + noise)
    return made.eval()


def inputs(batch=4, channels=4, window=5, seed=2):
    shape = (batch, channels, window)
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def plainly(net, x):
    """Forecasts ``(b, c)`` of windows ``(b, c, w)``."""
    return torch.stack([_forecast(net, windows) for windows in x])


def shares(net, x):
    """The experts' shares ``(b, c, e)``."""
    return torch.stack([_all_shares(net.gate, windows) for windows in x])


def _forecast(net, windows):
    outputs = expert_outputs(net.experts, windows)
    mixtures = [(row[:, None] * outputs).sum(dim=0) for row in _all_shares(net.gate, windows)]
    if hasattr(net.towers, "weights"):
        return torch.stack([_layers(net.towers, c, x)[0] for c, x in enumerate(mixtures)])
    return F.linear(sum(mixtures) / len(mixtures), net.towers.weight.T, net.towers.bias)


def _layers(layers, group, x):
    """One expert's or channel's linear layers ``(n) -> (m)``; towers may have a layer norm."""
    last = len(layers.weights) - 1
    for number in range(last + 1):
        x = F.linear(x, layers.weights[number][group].T, layers.biases[number][group, 0])
        if number == 0 and layers.norm is not None:
            x = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt()
            x = x * layers.norm[group, 0] + layers.norm_bias[group, 0]
        x = _bent(x, number) if number < last else x
    return x


def _bent(x, layer):
    """ReLU after the first layer, leaky ReLU after the others."""
    return torch.where(x > 0, x, (0.0 if layer == 0 else 0.1) * x)


def expert_outputs(experts, windows):
    """One window ``(c, w)`` through each expert, one after the other: ``(e, o)``."""
    maps = _series_maps if isinstance(experts, SeriesExperts) else _window_maps
    found = [_layers(experts.layers, e, maps(experts, e, windows)) for e in range(experts.count)]
    return torch.stack(found)


def _window_maps(experts, e, windows):
    """All channels at once: ``(c k)``."""
    own = torch.arange(len(experts.conv_bias)).chunk(experts.count)[e]
    x = F.linear(windows, experts.conv.T[own], experts.conv_bias[own])
    if experts.norm is not None:
        x = _normalised(x, experts.norm, 0, own)
    x = _bent(x, 0)
    for layer, weight in enumerate(experts.deeper):
        x = F.linear(x, weight[e].T, experts.deeper_biases[layer][e, 0])
        if experts.norm is not None:
            x = _normalised(x, experts.deeper_norms[layer], e, slice(None))
        x = _bent(x, layer + 1)
    return x.flatten()


def _normalised(x, norm, group, own):
    """By the running figures."""
    mean, variance = norm.mean[group, 0, own], norm.variance[group, 0, own]
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return scaled * norm.weight[group, 0, own] + norm.bias[group, 0, own]


def _series_maps(experts, e, windows):
    """Three cells along each axis; beyond the edges lie zeros."""
    padded, maps = F.pad(windows, (1, 1, 1, 1)), []
    for kernel in torch.arange(len(experts.bias)).chunk(experts.count)[e]:
        time, channel = experts.along_time[kernel, 0, 0], experts.along_channels[kernel, 0, :, 0]
        sums = padded[1:-1].unfold(1, 3, 1) @ time + padded[:, 1:-1].unfold(0, 3, 1) @ channel
        maps.append((sums + experts.bias[kernel]).relu())
    return torch.stack(maps).flatten()


def _all_shares(gate, windows):
    return torch.stack([_shares(gate, line, c) for c, line in enumerate(windows)])  # (c, e)


def _shares(gate, line, channel):
    """One channel's window ``(w)``: the share of each expert ``(e)``."""
    if isinstance(gate, MeanGate):
        return torch.full((gate.experts,), 1 / gate.experts, dtype=torch.float64)
    if isinstance(gate, AttentionGate):
        query = gate.query[channel].T @ line
        return torch.stack([(query * key).sum() / 16**0.5 for key in gate.keys.T]).softmax(dim=0)
    if isinstance(gate, HierarchicalGate):
        groups = _logits(gate.groups, line, channel).softmax(dim=0)
        halves = _logits(gate.inside, line, channel).chunk(2)
        return torch.cat([g * half.softmax(dim=0) for g, half in zip(groups, halves, strict=True)])
    logits = _logits(gate.weights, line, channel)
    if gate.tau is not None:
        logits = (logits + gate.bias[:, 0]) / gate.tau
    return logits.softmax(dim=0)


def _logits(weights, line, channel):
    """``(1 - s) x W_c + s x W_shared``, expert by expert."""
    share = weights.shared if weights.logit is None else 1 / (1 + (-weights.logit).exp())
    own = 0 if weights.own is None else (line * weights.own[channel]).sum(dim=1)
    common = 0 if weights.common is None else (line * weights.common).sum(dim=1)
    return (1 - share) * own + share * common
