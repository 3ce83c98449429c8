"""Learning many entities at once: their networks stacked, one step for all, or one after the other.

Ours takes the steps of `lmmoe.mmoe_fast`, entity by entity. The yardstick stacks the weights and
takes one step of autograd for all (`torch.func`), so that a product is a batch of products. It can
win where cores or a GPU stand idle; the same steps of autograd one by one, in the remarks, tell
what stacking alone gives. No dropout: it would be drawn in different ways.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.measure import Row, Spread, in_turn, machine, ratio, seconds
from lmmoe import mmoe_fast, training
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import Scaling
from lmmoe.mmoe import MMoE

THREADS = ("one", "all")
ENTITIES = (1, 4, 16)
BATCH, STEPS = 64, 80  # the study's batch; steps of all entities together in one timing
RATE = 1e-3  # of learning: any will do
MILLI = 1e3


def rows(*, quick: bool) -> Iterator[Row]:
    """One row for each number of entities; all figures are milliseconds a step of one entity."""
    for count in ENTITIES:
        windows, targets = examples(count)
        ways = {
            "ours": one_by_one([_by_hand(network) for network in networks(count)]),
            "stacked": stacked(networks(count)),
            "autograd": one_by_one([_by_autograd(network) for network in networks(count)]),
        }
        turns = max(STEPS // count, 1) if not quick else 1
        programs = {
            name: lambda turn, step=step, windows=windows, targets=targets, turns=turns: {
                "seconds": seconds(lambda: [step(windows, targets) for _ in range(turns)])
            }
            for name, step in ways.items()
        }
        found = in_turn(programs, 1 if quick else 7, warm=not quick)
        each = MILLI / (turns * count)
        taken = {name: [each * x for x in found[name]["seconds"]] for name in ways}
        yield Row(
            what=f"LightMMoE, a step of batch {BATCH}, {count} entities",
            unit="ms",
            ours=taken["ours"],
            yardstick="all entities stacked",
            theirs=taken["stacked"],
            compared=ratio(taken["stacked"], taken["ours"]),
            remarks={"autograd one by one, ms": Spread.of(taken["autograd"])},
        )


def examples(count: int) -> tuple[Tensor, Tensor]:
    """Windows ``(n, b, c, w)`` and targets ``(n, b, c)``: for each entity other rows."""
    window, train = detector("LightMMoE").window, machine().train
    scaled = Scaling.of("z-score", train)(train)[: count * (BATCH + window)]
    own = torch.as_tensor(scaled, dtype=torch.float32).view(count, BATCH + window, -1)
    return own.unfold(1, window, 1)[:, :BATCH].contiguous(), own[:, window:].contiguous()


def networks(count: int) -> list[MMoE]:
    """Give as many networks, each with a start of its own."""
    still, channels = {"expert_dropout": 0.0, "tower_dropout": 0.0}, machine().train.shape[1]
    return [detector("LightMMoE", seed=one, **still)._drawn(channels) for one in range(count)]


def stacked(all_networks: list[MMoE]) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """A step for all networks in one; it gives the stacked weights, which are copies."""
    weights = stack_module_state(all_networks)[0]
    optimiser = torch.optim.Adam(weights.values(), lr=RATE, fused=True)

    def loss(weights: dict[str, Tensor], windows: Tensor, target: Tensor) -> Tensor:
        forecast = functional_call(all_networks[0], weights, (windows,))
        return nn.functional.mse_loss(forecast, target)

    slopes_of = vmap(grad(loss))

    def step(windows: Tensor, targets: Tensor) -> dict[str, Tensor]:
        slopes = slopes_of({name: one.detach() for name, one in weights.items()}, windows, targets)
        for name, weight in weights.items():
            weight.grad = slopes[name]
        optimiser.step()
        return weights

    return step


def one_by_one(learners: list[training.Descent]) -> Callable[[Tensor, Tensor], object]:
    """A step of each learner in turn."""
    return lambda windows, targets: [
        learner.step(*given) for learner, *given in zip(learners, windows, targets, strict=True)
    ]


def _by_hand(network: MMoE) -> training.Descent:
    mse, dice = nn.functional.mse_loss, torch.Generator()
    return mmoe_fast.Descent(network, mse, learning_rate=RATE, weight_decay=0.0, generator=dice)


def _by_autograd(network: MMoE) -> training.Descent:
    def loss_of(windows: Tensor, target: Tensor) -> Tensor:
        return nn.functional.mse_loss(network(windows), target)

    return training.Descent(network, loss_of, training.adam(network, RATE, 0.0))
