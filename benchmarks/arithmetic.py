"""How much arithmetic the MMoE networks need, counted from their architecture; and its bound.

The bound is the time of the network's matrix multiplications, were they all as quick as one large
square product in single precision (sgemm): no order of the work can beat it while it multiplies
matrices. Their time one after the other in their own, small shapes is given beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.measure import seconds

if TYPE_CHECKING:
    from lmmoe.detectors.mixture import Mixture

SIDE = 1024  # of the large square product: 4 MB a matrix, above any first- and second-level cache
# A step: the forward pass, the gradient of every product's input and of its weights. The first
# products need no gradient of their input (the window); it is counted all the same, as is usual:
# 0.05 of LightMMoE's 1.57 million operations.
TRAINING = 3


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


def products(made: "Mixture", channels: int) -> list[Product]:
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


def flop(made: "Mixture", channels: int) -> int:
    """Floating-point operations of one window's forward pass: two for each multiply-add."""
    return 2 * sum(product.multiply_adds for product in products(made, channels))


def square_rate(least: float) -> float:
    """Operations a second of a large square product in single precision."""
    import torch

    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    out = torch.empty(SIDE, SIDE)
    return 2 * SIDE**3 / seconds(lambda: torch.mm(left, right, out=out), least)


def own_seconds(made: "Mixture", channels: int, batch: int, least: float, *, train: bool) -> float:
    """Seconds a window of the products in their own shapes, one after the other.

    With ``train`` the two gradients of each are multiplied too. Nothing but products is done.
    """
    import torch

    work = []
    for product in products(made, channels):
        left, right = _operands(product, batch)
        pairs = [(left, right)]
        if train:
            grad = torch.randn(*left.shape[:2], right.shape[2])
            pairs += [(grad, right.mT), (left.mT, grad)]
        work += [(a, b, torch.empty(len(a), a.shape[1], b.shape[2])) for a, b in pairs]
    return seconds(lambda: _multiply(work), least) / batch


def _operands(product: Product, batch: int) -> Iterator:
    import torch

    count, rows = (batch, product.m) if product.each else (product.count, batch * product.m)
    yield torch.randn(count, rows, product.k)
    yield torch.randn(count, product.k, product.n)


def _multiply(work: list[tuple]) -> None:
    import torch

    for left, right, out in work:
        torch.bmm(left, right, out=out)
