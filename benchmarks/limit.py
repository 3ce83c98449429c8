"""Training LightMMoE against its own matrix multiplications, by batch.

The yardstick is the bound of `benchmarks.arithmetic`, at the rate of a large square product that is
measured in the same turn. The remarks give the time of the products in their own shapes too: what
is lost to their being small is the difference of the two.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks import arithmetic
from benchmarks.arithmetic import TRAINING
from benchmarks.given import machine
from benchmarks.measure import Figures, Row, Spread, in_turn, ratio, seconds
from lmmoe.detectors import detector

THREADS = ("one", "all")
BATCHES = (64, 256, 1024)
MOST = 3.5  # times the bound
ASKED = 256  # from this batch on
EPOCHS = 5
MICRO = 1e6


def rows(*, quick: bool) -> Iterator[Row]:
    """One row for each batch; all figures are microseconds a window."""
    given, made = machine(), detector("LightMMoE")
    channels = given.train.shape[1]
    work, least = TRAINING * arithmetic.flop(made, channels), 0.01 if quick else 0.3
    for batch in BATCHES:
        train = given.train[: (batch if quick else 20_480) + made.unscored]
        programs = {
            "ours": lambda turn, train=train, batch=batch: ours(train, batch, turn),
            "square": lambda turn: {"rate": arithmetic.square_rate(least)},
            "own": lambda turn, batch=batch: {
                "seconds": arithmetic.own_seconds(made, channels, batch, least, train=True)
            },
        }
        found = in_turn(programs, 1 if quick else 7, warm=not quick)
        taken = [MICRO * value for value in found["ours"]["seconds"]]
        own = [MICRO * value for value in found["own"]["seconds"]]
        bound = [MICRO * work / rate for rate in found["square"]["rate"]]
        yield Row(
            what=f"LightMMoE, training a window, batch {batch}",
            unit="µs",
            ours=Spread.of(taken),
            yardstick=f"its {work / 1e6:.2f} MFLOP at the rate of a large product",
            theirs=Spread.of(bound),
            compared=ratio(taken, bound),
            bound=("at most", MOST) if batch >= ASKED else None,
            remarks={
                "rows": given.name,
                "GFLOP a second, large product": vars(_rates(found["square"]["rate"])),
                "products in their own shapes, µs": vars(Spread.of(own)),
                "ours over those": vars(ratio(taken, own)),
            },
        )


def ours(train: np.ndarray, batch: int, seed: int) -> Figures:
    """Seconds a window: a fit of some epochs minus one of none (see `benchmarks.training`)."""
    settings = {"held_out": 0.0, "seed": seed, "batch": batch}
    untrained = detector("LightMMoE", epochs=0, **settings)
    trained = detector("LightMMoE", epochs=EPOCHS, **settings)
    around = seconds(lambda: untrained.fit(train))
    whole = seconds(lambda: trained.fit(train))
    return {"seconds": (whole - around) / EPOCHS / (len(train) - trained.unscored)}


def _rates(rates: list[float]) -> Spread:
    return Spread.of([rate / 1e9 for rate in rates])
