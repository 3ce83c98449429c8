"""Training LightMMoE against its own matrix multiplications, by batch.

The bound is the time of the network's matrix multiplications, counted from its architecture, were
they all as quick as one large square product in single precision (sgemm), measured in the same
turn: no order of the work can beat it while it multiplies matrices. The remarks give the time of
the products in their own shapes too: what is lost to their being small is the difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.measure import Row, Spread, in_turn, machine, ratio, seconds
from benchmarks.training import EPOCHS, ours
from lmmoe.detectors import detector
from lmmoe.detectors.mixture import Mixture

THREADS = ("one", "all")
BATCHES = (64, 256, 1024)
MOST = 3.5  # times the bound
ASKED = 256  # from this batch on
MICRO = 1e6
SIDE = 1024  # of the large square product: 4 MB a matrix, above any first- and second-level cache
# A step: the forward pass, the gradient of every product's input and of its weights. The first
# products need no gradient of their input (the window); it is counted all the same, as is usual:
# 0.05 of LightMMoE's 1.57 million operations.
TRAINING = 3


def rows(*, quick: bool) -> Iterator[Row]:
    """One row for each batch; all figures are microseconds a window."""
    given, made = machine(), detector("LightMMoE")
    channels = given.train.shape[1]
    work, least = TRAINING * flop(made, channels), 0.01 if quick else 0.3
    for batch in BATCHES:
        train = given.train[: (batch if quick else 20_480) + made.unscored]
        programs = {
            "ours": lambda turn, train=train, batch=batch: ours(
                "LightMMoE", train, turn, batch=batch
            ),
            "square": lambda turn: {"rate": square_rate(least)},
            "own": lambda turn, batch=batch: {
                "seconds": own_seconds(made, channels, batch, least, train=True)
            },
        }
        found = in_turn(programs, 1 if quick else 7, warm=not quick)
        each = MICRO / EPOCHS / (len(train) - made.unscored)
        taken = [each * value for value in found["ours"]["seconds"]]
        own = [MICRO * value for value in found["own"]["seconds"]]
        rates = found["square"]["rate"]
        bound = [MICRO * work / rate for rate in rates]
        yield Row(
            what=f"LightMMoE, training a window, batch {batch}",
            unit="µs",
            ours=taken,
            yardstick=f"its {work / 1e6:.2f} MFLOP at the rate of a large product",
            theirs=bound,
            compared=ratio(taken, bound),
            bound=("at most", MOST) if batch >= ASKED else None,
            remarks={
                "rows": given.name,
                "GFLOP a second, large product": Spread.of([rate / 1e9 for rate in rates]),
                "products in their own shapes, µs": Spread.of(own),
                "ours over those": ratio(taken, own),
            },
        )


# --- the arithmetic ---


@dataclass(frozen=True)
class Product:
    """So many products of matrices at once for a batch of b windows: ``(b m, k) @ (k, n)``.

    ``each`` tells that the right-hand side is another one for every window, as in the mixture.
    """

    name: str
    count: int
    m: int
    k: int
    n: int
    each: bool = False

    @property
    def multiply_adds(self) -> int:
        """For one window."""
        return self.count * self.m * self.k * self.n


def products(made: Mixture, channels: int) -> list[Product]:
    """List the matrix products of one forward pass of a detector of the family.

    Experts over whole windows, softmax gates and towers, as in the study's presets; the own and the
    shared gate are two products, as the definition writes them. Raises `NotImplementedError` for
    other parts.
    """
    plain = made.expert == "window" and made.gate in ("mixed", "learned") and made.tower
    if not plain:
        raise NotImplementedError("counted are window experts with softmax gates and towers only")
    c, w, e = channels, made.window, made.experts
    kernels, hidden, tower = (_list(getattr(made, key)) for key in ("kernels", "hidden", "tower"))
    found = [Product("convolution", 1, c, w, e * kernels[0])]
    found += [Product("1x1 convolution", e, c, a, b) for a, b in pairwise(kernels)]
    if made.shared < 1:
        found.append(Product("own gates", c, 1, w, e))
    if made.shared > 0:
        found.append(Product("shared gate", 1, c, w, e))
    sizes = (c * kernels[-1], *hidden, made.out)
    found += [Product("experts' layer", e, 1, a, b) for a, b in pairwise(sizes)]
    found.append(Product("mixture", 1, c, e, made.out, each=True))
    found += [Product("towers' layer", c, 1, a, b) for a, b in pairwise((made.out, *tower, 1))]
    return found


def _list(value: int | list[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def flop(made: Mixture, channels: int) -> int:
    """Floating-point operations of one window's forward pass: two for each multiply-add."""
    return 2 * sum(product.multiply_adds for product in products(made, channels))


def square_rate(least: float) -> float:
    """Operations a second of a large square product in single precision."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    out = torch.empty(SIDE, SIDE)
    return 2 * SIDE**3 / seconds(lambda: torch.mm(left, right, out=out), least)


def own_seconds(made: Mixture, channels: int, batch: int, least: float, *, train: bool) -> float:
    """Seconds a window of the products in their own shapes, one after the other.

    With ``train`` the two gradients of each are multiplied too. Nothing but products is done.
    """
    work = []
    for product in products(made, channels):
        left, right = _operands(product, batch)
        pairs = [(left, right)]
        if train:
            grad = torch.randn(*left.shape[:2], right.shape[2])
            pairs += [(grad, right.mT), (left.mT, grad)]
        work += [(a, b, torch.empty(len(a), a.shape[1], b.shape[2])) for a, b in pairs]
    return seconds(lambda: _multiply(work), least) / batch


def _operands(product: Product, batch: int) -> Iterator[Tensor]:
    count, rows = (batch, product.m) if product.each else (product.count, batch * product.m)
    yield torch.randn(count, rows, product.k)
    yield torch.randn(count, product.k, product.n)


def _multiply(work: list[tuple]) -> None:
    for left, right, out in work:
        torch.bmm(left, right, out=out)
