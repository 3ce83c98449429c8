"""Training against the obvious implementation: as many steps on the same windows.

Ours goes through the public contract: a fit of `EPOCHS` epochs minus one of none, which scales and
scores the training rows all the same. What is left is training alone, whatever it needs to begin
with included. Of the obvious program the steps are timed, but not copying the windows out.
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks import obvious
from benchmarks.given import machine
from benchmarks.measure import Figures, Row, Spread, in_turn, ratio, seconds
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import Scaling

THREADS = ("one", "all")
STEPS = {"LightMMoE": 500, "CAD": 300, "HMMoE": 100}  # multiples of EPOCHS
LEAST = {"LightMMoE": 8.0, "CAD": 6.0, "HMMoE": 3.0}  # times as fast as the obvious program
EPOCHS = 5  # the study's for LightMMoE


def rows(*, quick: bool) -> Iterator[Row]:
    """One row for each network."""
    for name in STEPS:
        yield _row(name, EPOCHS if quick else STEPS[name], quick=quick)


def _row(name: str, steps: int, *, quick: bool) -> Row:
    given = machine()
    made = detector(name)
    train = given.train[: steps // EPOCHS * made.batch + made.unscored]
    programs = {
        "ours": lambda turn: ours(name, train, turn),
        "obvious": lambda turn: theirs(name, train, turn, steps),
    }
    found = in_turn(programs, 1 if quick else 7, warm=not quick)
    times = {program: found[program]["seconds"] for program in programs}
    losses = {program: vars(Spread.of(found[program]["loss"])) for program in programs}
    return Row(
        what=f"{name}, {steps} steps, batch {made.batch}",
        unit="s",
        ours=Spread.of(times["ours"]),
        yardstick="obvious implementation",
        theirs=Spread.of(times["obvious"]),
        compared=ratio(times["obvious"], times["ours"]),
        bound=("at least", LEAST[name]),
        remarks={"rows": given.name, "loss afterwards, over seeds": losses},
    )


def ours(name: str, train: np.ndarray, seed: int) -> Figures:
    """Seconds of training, and the mean squared error of the rows afterwards."""
    settings = {"held_out": 0.0, "seed": seed}
    untrained = detector(name, epochs=0, **settings)
    trained = detector(name, epochs=EPOCHS, **settings)
    around = seconds(lambda: untrained.fit(train))
    whole = seconds(lambda: trained.fit(train))
    loss = trained.decision_scores_[trained.unscored :].mean()
    return {"seconds": whole - around, "loss": loss}


def theirs(name: str, train: np.ndarray, seed: int, steps: int) -> Figures:
    """The same of the obvious program."""
    torch.manual_seed(seed)
    scaled = Scaling.of("z-score", train)(train)
    batches = obvious.loader(scaled, name)
    model = obvious.Obvious(name, train.shape[1])
    taken = seconds(lambda: obvious.train(model, name, batches, steps))
    model.eval()
    with torch.inference_mode():
        inputs, targets = batches.dataset.tensors
        parts = zip(inputs.split(1024), targets.split(1024), strict=True)
        errors = [(model(part) - target).square().sum() for part, target in parts]
    return {"seconds": taken, "loss": float(sum(errors)) / targets.numel()}
