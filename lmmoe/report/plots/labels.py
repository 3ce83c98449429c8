"""Names beside dots, moved apart so that all can be read."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from lmmoe.report.plots.style import colour, title

Floats = npt.NDArray[np.float64]

# Where a label may stand: directions around its dot, and how far away in points.
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
DISTANCES = (7.0, 11.0, 16.0, 23.0, 32.0, 43.0, 56.0, 72.0)
ROUNDS = 6


def label_dots(ax: Axes, dots: dict[str, tuple[float, float]], *, size: float = 7) -> None:
    """Write each detector's name near its dot (x, y), none over another or over a dot.

    Call it last: it needs the axes' final limits and the figure's layout. Every label tries
    `ANGLES` x `DISTANCES` places; it takes the one that overlaps least and lies nearest, and all
    choose again until nobody moves. A thin line leads from a label that had to go far, or that
    another dot is nearer to.
    """
    if not dots:
        return
    figure = ax.figure
    figure.draw_without_rendering()  # the layout engine sets the axes' place only now
    points = 72 / figure.dpi
    spots = ax.transData.transform(list(dots.values())) * points  # (n, 2) in points
    frame = ax.get_window_extent().extents * points
    boxes = np.array([_size(ax, title(name), size) for name in dots])  # (n, 2)
    moves = _arranged(spots, boxes, frame)
    for n, ((name, place), move) in enumerate(zip(dots.items(), moves, strict=True)):
        away = np.hypot(*(spots - (spots[n] + move)).T)  # from the label to every dot
        far = np.hypot(*move) > 26 or abs(move[1]) > 18 or away.argmin() != n
        label = ax.annotate(
            title(name),
            place,
            xytext=tuple(move),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=colour(name),
            fontweight="bold" if name == "LightMMoE" else "normal",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#999999"} if far else None,
        )
        label.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
        label.set_in_layout(False)  # else the layout would move the axes once more


def _size(ax: Axes, text: str, size: float) -> tuple[float, float]:
    """Width and height of a text in points, measured in bold, the wider face."""
    probe = ax.text(0, 0, text, fontsize=size, fontweight="bold")
    box = probe.get_window_extent()
    probe.remove()
    points = 72 / ax.figure.dpi
    return box.width * points, box.height * points


def _arranged(spots: Floats, sizes: Floats, frame: Floats) -> Floats:
    """Choose the offset of each label's middle from its dot, ``(n, 2)`` in points."""
    around = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    chosen = np.zeros_like(spots)
    placed = np.zeros(len(spots), dtype=bool)
    for _ in range(ROUNDS):
        before = chosen.copy()
        for n in range(len(spots)):
            # The box's near edge, not its middle, is to be at the distance.
            reach = np.abs(around) @ (sizes[n] / 2)
            offsets = np.concatenate([around * (d / 2 + reach)[:, None] for d in DISTANCES])
            others = placed.copy()
            others[n] = False
            cost = _cost(spots, sizes, frame, n, offsets, chosen, others)
            chosen[n] = offsets[np.argmin(cost)]
            placed[n] = True
        if (chosen == before).all():
            break
    return chosen


def _cost(
    spots: Floats,
    sizes: Floats,
    frame: Floats,
    n: int,
    offsets: Floats,
    chosen: Floats,
    others: npt.NDArray[np.bool_],
) -> Floats:
    """How bad each offset ``(m, 2)`` of label n is: what it covers, crosses, leaves, and how far.

    An overlap of a point squared weighs as much as a point of distance; the dots count as squares
    of 7 points, leaving the frame counts most.
    """
    middles = spots[n] + offsets  # (m, 2)
    half = sizes[n] / 2 + 1  # a point of air
    labels = _overlap(middles, half, (spots + chosen)[others], sizes[others] / 2)
    dots = _overlap(middles, half, spots, np.full_like(spots, 3.5))
    steps = np.linspace(0.15, 0.85, 6)[:, None, None]
    line = spots[n] + steps * offsets  # (6, m, 2), points on the leading line
    crossed = _inside(line, (spots + chosen)[others], sizes[others] / 2)
    outside = np.maximum(frame[:2] - (middles - half), 0) + np.maximum(
        middles + half - frame[2:], 0
    )
    distance = np.hypot(*offsets.T)
    return 3 * labels + 2 * dots + 8 * crossed + 200 * outside.sum(axis=1) + distance


def _overlap(middles: Floats, half: Floats, others: Floats, others_half: Floats) -> Floats:
    """Area that boxes ``(m, 2)`` share with other boxes ``(k, 2)``, summed over these, ``(m,)``."""
    apart = np.abs(middles[:, None] - others[None])  # (m, k, 2)
    shared = np.minimum(half + others_half - apart, 2 * np.minimum(half, others_half))
    return np.prod(np.maximum(shared, 0), axis=2).sum(axis=1)


def _inside(lines: Floats, middles: Floats, half: Floats) -> Floats:
    """How many of the points ``(s, m, 2)`` of each line lie in boxes ``(k, 2)``, ``(m,)``."""
    apart = np.abs(lines[:, :, None] - middles)  # (s, m, k, 2)
    return (apart < half).all(axis=3).sum(axis=(0, 2))
