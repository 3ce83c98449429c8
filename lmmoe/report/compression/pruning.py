"""Structured pruning: whole kernels, hidden units and experts leave, and the network is smaller.

Axes: w window, c channels, e experts, k kernels, a units in, b units out.

The rule is magnitude (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1):
of each layer the units go whose incoming weights have the smallest sum of absolute values, as many
in every expert, so that all experts stay one product. Experts go by their mean share in the gate on
training windows, the least used first.
"""

import numpy.typing as npt
import torch
from torch import Tensor

from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.mmoe import SoftmaxGate, WindowExperts

State = dict[str, Tensor]
NORM = ("weight", "bias", "mean", "variance")  # of batch norm, one number a kernel each


def pruned(
    made: Mixture,
    rows: npt.ArrayLike,
    *,
    kernels: float = 1.0,
    hidden: float = 1.0,
    experts: float = 1.0,
) -> tuple[dict[str, object], State]:
    """Cut a fitted network down to shares of its kernels, hidden units and experts.

    Shares are above 0 and at most 1; at least one unit of a layer stays. ``rows`` ``(t, c)`` are
    raw training rows, which tell how much each expert is used. Gives the smaller detector's
    settings, and the state of its network (for `torch.nn.Module.load_state_dict`).

    Raises `DataError` for a share out of range, and for networks of other experts or gates than
    the study's.
    """
    for name, share in (("kernels", kernels), ("hidden", hidden), ("experts", experts)):
        if not 0 < share <= 1:
            raise DataError(f"{name}={share}: a share above 0 and at most 1 is needed")
    network = made.network
    if not (isinstance(network.experts, WindowExperts) and isinstance(network.gate, SoftmaxGate)):
        raise DataError(f"{made.name} with these settings cannot be pruned: other experts or gate")
    state = {name: part.detach().clone() for name, part in network.state_dict().items()}
    settings = made.settings
    if experts < 1:
        shares = torch.from_numpy(made.gate_weights(rows)).mean(dim=(0, 1))
        state = _fewer_experts(state, _highest(shares, experts))
    if kernels < 1:
        state = _fewer_kernels(state, kernels)
    if hidden < 1:
        state = _fewer_units(state, hidden)
    return settings | _sizes(state, settings), state


def _highest(values: Tensor, share: float) -> Tensor:
    """Places of the highest share of ``values`` ``(..., n)`` along the last axis, in order."""
    count = max(1, round(share * values.shape[-1]))
    return values.topk(count, dim=-1).indices.sort(dim=-1).values


def _count(state: State, prefix: str) -> int:
    return sum(name.startswith(prefix) for name in state)


def _fewer_experts(state: State, kept: Tensor) -> State:
    """Keep the experts numbered ``kept`` ``(e',)``."""
    before = len(state["experts.layers.weights.0"])
    found = {}
    for name, part in state.items():
        if name.startswith(("experts.conv", "experts.norm.")):  # experts side by side, last axis
            part = part.unflatten(-1, (before, -1)).index_select(-2, kept).flatten(-2)
        elif name.startswith("experts."):
            part = part.index_select(0, kept)
        elif name in ("gate.weights.own", "gate.weights.common"):
            part = part.index_select(-2, kept)
        elif name == "gate.bias":
            part = part.index_select(0, kept)
        found[name] = part
    return found


def _fewer_kernels(state: State, share: float) -> State:
    """Keep a share of the kernels of every convolution, in each expert its own."""
    experts, last = len(state["experts.layers.weights.0"]), _kernels(state)[-1]
    found = dict(state)
    weights = state["experts.conv"].unflatten(1, (experts, -1))  # (w, e, k)
    kept = _highest(weights.abs().sum(dim=0), share)  # (e, k')
    for name in ("experts.conv", "experts.conv_bias", *_norms("experts.norm")):
        if name in state:
            by_expert = state[name].unflatten(-1, (experts, -1)).movedim(-2, 0)
            found[name] = _chosen(by_expert, kept, -1).movedim(0, -2).flatten(-2)
    for number in range(_count(state, "experts.deeper.")):
        weight = _chosen(state[f"experts.deeper.{number}"], kept, 1)  # (e, a', b)
        kept = _highest(weight.abs().sum(dim=1), share)
        found[f"experts.deeper.{number}"] = _chosen(weight, kept, 2)
        norms = _norms(f"experts.deeper_norms.{number}")
        for name in (f"experts.deeper_biases.{number}", *norms):
            if name in state:
                found[name] = _chosen(state[name], kept, 2)
    first = state["experts.layers.weights.0"]  # (e, c k, b): a channel's kernels side by side
    by_kernel = first.unflatten(1, (-1, last))  # (e, c, k, b)
    found["experts.layers.weights.0"] = _chosen(by_kernel, kept, 2).flatten(1, 2)
    return found


def _norms(prefix: str) -> list[str]:
    return [f"{prefix}.{part}" for part in NORM]


def _fewer_units(state: State, share: float) -> State:
    """Keep a share of the hidden units of the experts' layers; what the last gives out stays."""
    found = dict(state)
    for number in range(_count(state, "experts.layers.weights.") - 1):
        weight, bias = (f"experts.layers.{kind}.{number}" for kind in ("weights", "biases"))
        after = f"experts.layers.weights.{number + 1}"
        kept = _highest(found[weight].abs().sum(dim=1), share)  # (e, b')
        found[weight] = _chosen(found[weight], kept, 2)
        found[bias] = _chosen(found[bias], kept, 2)
        found[after] = _chosen(found[after], kept, 1)
    return found


def _chosen(part: Tensor, kept: Tensor, axis: int) -> Tensor:
    """Choose in ``part`` ``(e, ...)`` each expert's own places ``kept`` ``(e, n)`` of an axis."""
    return torch.stack(
        [
            one.index_select(axis - (axis > 0), places)
            for one, places in zip(part, kept, strict=True)
        ]
    )


def _kernels(state: State) -> list[int]:
    """Kernels of an expert, for each convolution."""
    experts = len(state["experts.layers.weights.0"])
    deeper = [
        state[f"experts.deeper.{n}"].shape[2] for n in range(_count(state, "experts.deeper."))
    ]
    return [state["experts.conv"].shape[1] // experts, *deeper]


def _sizes(state: State, settings: dict[str, object]) -> dict[str, object]:
    """Settings that the network's state now has; a list where a list was given."""
    layers = _count(state, "experts.layers.weights.") - 1
    hidden = [state[f"experts.layers.weights.{number}"].shape[2] for number in range(layers)]
    found = {"kernels": _kernels(state), "hidden": hidden}
    sizes = {
        name: value if isinstance(settings[name], list) else value[0]
        for name, value in found.items()
    }
    return sizes | {"experts": len(state["experts.layers.weights.0"])}
