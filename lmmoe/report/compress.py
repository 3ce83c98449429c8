"""Smaller models of the same detector: what they keep of its quality, and what they gain.

Pruning cuts kernels, hidden units and experts out of a fitted network, distillation trains a small
network on a large one's forecasts; int8 and bfloat16 are `lmmoe.report.export`'s. `METHODS` lists
what is compared, `table` measures it on a profile's entities, `kept_shares` sets it against the
base.

Speed is a ratio: in a turn every scorer of a base scores the same rows once, in processor time on
one thread, and the median of the turns' ratios to the base is told. Other work then hits all alike.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lmmoe import progress, training
from lmmoe.data.series import Floats, Series
from lmmoe.detectors import Detector, detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.mmoe import SoftmaxGate, WindowExperts
from lmmoe.report import store
from lmmoe.report.evaluation import evaluate
from lmmoe.report.experiment import PROTOCOLS, Run, result
from lmmoe.report.export import Bfloat16, Runtime, quantise, write
from lmmoe.report.measure import cpu_name
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what this module measures changes
LARGE, SMALL = "HMMoE", "LightMMoE"
TINY = {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8}  # "extremely light"
CONTROLS = ("MTSExample", "random")
AS_IS, PRUNING, DISTILLING, DESIGN = "as it is", "pruning", "distillation", "design"
INTEGERS, HALVES = "int8", "other arithmetic"
TURNS, ROWS = 5, 1000  # of the timing
PROTOCOL = "study"  # the large detector trains for minutes, and has been run under this one
DEAR = tuple((LARGE, kind) for kind in (PRUNING, INTEGERS, HALVES))
# One machine of each group of SMD; of other data the first entity, the large detector trained
# briefly and few methods of it, so that the way is shown in seconds.
CHOSEN = {"smd": ("machine-1-1", "machine-2-1", "machine-3-2")}
BRIEF = {"epochs": 1}
BRIEFER = {"epochs": 1, "batch": 128}  # on the embedded data
QUALITY = (
    *("average_precision", "best_f1"),
    *("point_f1_pa", "event_f1_pa_log", "event_f1_pa_squeeze"),
)
COLUMNS = (
    *("dataset", "entity", "protocol", "base", "kind", "method", "parameters", "bytes"),
    *QUALITY,
    *("score_us", "speed", "device", "error"),
)
State = dict[str, Tensor]

# --- pruning ---


def pruned(
    made: Mixture,
    rows: npt.ArrayLike,
    *,
    kernels: float = 1.0,
    hidden: float = 1.0,
    experts: float = 1.0,
) -> tuple[dict[str, object], State]:
    """Cut a fitted network down to shares of its kernels, hidden units and experts.

    The rule is magnitude (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section
    3.1): of each layer the units go whose incoming weights have the smallest sum of absolute
    values, as many in every expert, so that all experts stay one product. Experts go by their mean
    share in the gate on raw training ``rows`` ``(t, c)``, the least used first. Shares are above 0
    and at most 1; at least one unit of a layer stays. Gives the smaller detector's settings, and
    the state of its network (for `torch.nn.Module.load_state_dict`).

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
    count = len(state["experts.layers.weights.0"])
    # The first convolution holds its experts side by side in the last axis; here they come first.
    side = [name for name in state if name.startswith(("experts.conv", "experts.norm."))]
    for name in side:
        state[name] = state[name].unflatten(-1, (count, -1)).movedim(-2, 0)
    if experts < 1:
        used = torch.from_numpy(made.gate_weights(rows)).mean(dim=(0, 1))
        stay = _highest(used, experts)
        for name in state:
            if name.startswith("experts.") or name == "gate.bias":
                state[name] = state[name].index_select(0, stay)
            elif name in ("gate.weights.own", "gate.weights.common"):
                state[name] = state[name].index_select(-2, stay)
    sizes = _cut_units(state, kernels, hidden)
    for name in side:
        state[name] = state[name].movedim(0, -2).flatten(-2)
    given = made.settings
    sizes = {n: size if isinstance(given[n], list) else size[0] for n, size in sizes.items()}
    return given | sizes | {"experts": len(state["experts.layers.weights.0"])}, state


def _highest(values: Tensor, share: float) -> Tensor:
    """Places of the highest share of ``values`` ``(..., n)`` along the last axis, in order."""
    count = max(1, round(share * values.shape[-1]))
    return values.topk(count, dim=-1).indices.sort(dim=-1).values


def _cut_units(state: State, kernels: float, hidden: float) -> dict[str, list[int]]:
    """Cut convolutions and hidden layers of ``state``, experts first in each part, in place.

    Gives the sizes that are left. What the experts' last layer gives out stays.
    """
    deep = sum(name.startswith("experts.deeper.") for name in state)
    layers = sum(name.startswith("experts.layers.weights.") for name in state)
    # Each layer's weights (e, units in, units out), and the vectors of its units.
    norm = ("weight", "bias", "mean", "variance")
    chain = {"experts.conv": ["experts.conv_bias", *(f"experts.norm.{n}" for n in norm)]}
    for number in range(deep):
        norms = [f"experts.deeper_norms.{number}.{n}" for n in norm]
        chain[f"experts.deeper.{number}"] = [f"experts.deeper_biases.{number}", *norms]
    for number in range(layers):
        chain[f"experts.layers.weights.{number}"] = [f"experts.layers.biases.{number}"]
    shares = [kernels] * (1 + deep) + [hidden] * (layers - 1)
    for name, after, share in zip(list(chain)[:-1], list(chain)[1:], shares, strict=True):
        units = state[name].shape[-1]
        stay = _highest(state[name].abs().sum(dim=1), share)  # (e, units')
        for part in state.keys() & {name, *chain[name]}:
            places = stay.view(len(stay), *[1] * (state[part].ndim - 2), -1)
            state[part] = state[part].take_along_dim(places, dim=-1)
        # The first dense layer takes each channel's kernels side by side: (e, c, units, out).
        grouped = state[after].unflatten(1, (-1, units))
        state[after] = grouped.take_along_dim(stay[:, None, :, None], dim=2).flatten(1, 2)
    left = [state[name].shape[-1] for name in chain]
    return {"kernels": left[: 1 + deep], "hidden": left[1 + deep : -1]}


def continued(
    like: Mixture, settings: dict[str, object], state: State, rows: npt.ArrayLike, *, epochs: int
) -> Mixture:
    """Fit a detector on raw rows ``(t, c)`` that begins with the weights ``state``.

    ``like`` names the detector, ``settings`` are the new one's, ``epochs`` how long it is trained
    (0: not at all). It can be saved like any other. Raises as `lmmoe.detectors.Detector.fit` does.
    """
    made = detector(like.name, **(settings | {"epochs": epochs}))
    network = made._build(np.shape(rows)[1], torch.Generator())
    network.load_state_dict(state)
    made._build = lambda *_: network  # in place of one with new weights
    return made.fit(rows)


# --- distillation ---


class Student(Mixture):
    """A LightMMoE that learns from the truth and from a teacher's forecasts.

    Distillation (Hinton, Vinyals & Dean, 2015) for forecasts: the loss is (1 - s) times the squared
    error to the truth plus s times that to the teacher's forecast. Both have the gradient of the
    squared error to the target (1 - s) truth + s forecast, so that is the target. Rows before the
    teacher's first forecast have the truth alone. Training stops by the truth. Teacher and student
    must have been fitted on the same rows, so that they scale alike.
    """

    teacher = None  # a fitted `Mixture`
    share = 0.5  # of the teacher in the target, from 0 to 1; our choice, not tuned
    _taught = False  # whether rows hold, as further channels, what to forecast them as

    def _fit(self, rows: Floats) -> None:
        self._taught = True
        super()._fit(rows)
        self._taught = False

    def _scaled(self, rows: Floats) -> Tensor:
        scaled = super()._scaled(rows)
        if not self._taught:
            return scaled
        goals = scaled.clone()
        forecasts = self.teacher._forecasts(rows).to(goals.device)
        goals[self.teacher.unscored :].lerp_(forecasts, self.share)
        return torch.cat([scaled, goals], dim=1)  # (t, 2 c)

    def _learner(
        self, network: torch.nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        own = inputs[:, : inputs.shape[1] // 2]
        return _Taught(super()._learner(network, own, generator))


class _Taught:
    """A learner whose windows ``(b, 2 c, w)`` and targets ``(b, 2 c)`` hold truth, then goals."""

    def __init__(self, inner: training.Learner) -> None:
        self.inner, self.network, self.end_epoch = inner, inner.network, inner.end_epoch

    def step(self, windows: Tensor, target: Tensor) -> Tensor:
        channels = target.shape[1] // 2
        own = windows[:, :channels].contiguous()
        return self.inner.step(own, target[:, channels:].contiguous())

    def loss(self, windows: Tensor, target: Tensor) -> Tensor:
        channels = target.shape[1] // 2
        return self.inner.loss(windows[:, :channels].contiguous(), target[:, :channels])


# --- methods ---


Scorer = Detector | Runtime | Bfloat16


class Made(NamedTuple):
    """What scores raw rows, how many numbers were learned, bytes of its file."""

    scorer: Scorer
    parameters: int
    bytes: int


def made_of(made: Mixture) -> Made:
    """Give a detector with the bytes of its file, without the training rows' scores in it."""
    arrays = made._state().items()
    size = sum(array.nbytes for name, array in arrays if not name.startswith("history."))
    return Made(made, made.parameters, size)


@dataclass(frozen=True, eq=False)
class Compressor:
    """Ways to make a fitted base smaller, by the raw ``rows`` ``(t, c)`` that the bases learned."""

    bases: dict[str, Mixture]
    rows: Floats
    folder: Path

    def as_is(self, base: str) -> Made:
        """The base itself."""
        return made_of(self.bases[base])

    def cut(self, base: str, *, epochs: int = 1, **shares: float) -> Made:
        """Prune to shares, then train on for some epochs."""
        like = self.bases[base]
        settings, state = pruned(like, self.rows, **shares)
        return made_of(continued(like, settings, state, self.rows, epochs=epochs))

    def taught(self, base: str, **settings: object) -> Made:
        """Distil the base into LightMMoE, with other settings than its own where given."""
        student = Student(**(self.bases[SMALL].settings | settings))
        student.teacher = self.bases[base]
        return made_of(student.fit(self.rows))

    def light(self, base: str, **settings: object) -> Made:
        """LightMMoE in place of the base, with other settings where given: a student's control."""
        own = self.bases[SMALL]
        if settings:
            own = detector(SMALL, **(own.settings | settings)).fit(self.rows)
        return made_of(own)

    def onnx(self, base: str, *, int8: str = "") -> Made:
        """The base by ONNX Runtime: single precision, or int8 ``"dynamic"`` or ``"static"``."""
        file = self.folder / f"{base}.onnx"
        if not file.is_file():
            write(self.bases[base], file)
        if int8:
            out = self.folder / f"{base}-{int8}.onnx"
            file = quantise(file, out, rows=self.rows if int8 == "static" else None)
        return Made(Runtime(file), self.bases[base].parameters, file.stat().st_size)

    def bfloat16(self, base: str) -> Made:
        """The base in bfloat16: as many numbers, half the bytes."""
        made = self.as_is(base)
        return Made(Bfloat16(self.bases[base]), made.parameters, made.bytes // 2)


class Method(NamedTuple):
    """One line of the table: base, name and kind, and how `Compressor` makes it of the base."""

    base: str
    name: str
    kind: str
    way: str
    settings: dict[str, object]


THIN = "kernels, units 0.7, experts 0.75"
THINNED = {"kernels": 0.7, "hidden": 0.7, "experts": 0.75}
_BOTH = (
    ("half of the kernels", PRUNING, "cut", {"kernels": 0.5}),
    ("half of the hidden units", PRUNING, "cut", {"hidden": 0.5}),
    ("half of the experts", PRUNING, "cut", {"experts": 0.5}),
    (f"{THIN}, not trained on", PRUNING, "cut", THINNED | {"epochs": 0}),
    (THIN, PRUNING, "cut", THINNED),
    ("ONNX Runtime, float32", HALVES, "onnx", {}),
    ("int8, dynamic", INTEGERS, "onnx", {"int8": "dynamic"}),
    ("int8, static", INTEGERS, "onnx", {"int8": "static"}),
)
METHODS = tuple(
    Method(base, *line)
    for base, lines in {
        LARGE: (
            (LARGE, AS_IS, "as_is", {}),
            *_BOTH,
            ("LightMMoE, taught by HMMoE", DISTILLING, "taught", {}),
            ("extremely light, taught by HMMoE", DISTILLING, "taught", TINY),
            ("LightMMoE in its place", DESIGN, "light", {}),
            ("extremely light in its place", DESIGN, "light", TINY),
        ),
        SMALL: (
            (SMALL, AS_IS, "as_is", {}),
            *_BOTH,
            ("extremely light, taught by LightMMoE", DISTILLING, "taught", TINY),
            ("bfloat16", HALVES, "bfloat16", {}),
        ),
    }.items()
    for line in lines
)

# --- measuring ---


def table(profile: Profile) -> pd.DataFrame:
    """Measure every method on the chosen entities: a row each, `COLUMNS`, then the controls'.

    What the published table knows is not measured again. A method that fails has ``error``.
    """
    keep, lines = store.Table(profile.profile, "compression"), []
    wanted = CHOSEN.get(profile.dataset, ())
    entities = [entity for entity in wanted if entity in profile.present] or profile.present[:1]
    whole, seed = profile.dataset in CHOSEN, profile.seeds[0]
    few = [m for m in METHODS if not m.name.startswith("half") and (m.base, m.kind) not in DEAR]
    methods, trained = (METHODS, {}) if whole else (few, BRIEF)
    trained = BRIEFER if profile.dataset == "synthetic" else trained
    with progress.bar(len(entities), "compression", unit="entity") as bar:
        for entity in entities:
            series = profile.load(entity)
            bases = {
                LARGE: Run(series, LARGE, PROTOCOL, seed, trained),
                SMALL: Run(series, SMALL, PROTOCOL, seed),
            }
            shown = {"dataset": series.dataset, "entity": entity, "protocol": PROTOCOL}
            hidden = {
                "bases": {name: run.identity for name, run in bases.items()},
                "methods": [method.name for method in methods],
                "measured": VERSION,
            }
            lines += keep.lines(
                shown,
                hidden,
                lambda series=series, bases=bases: measured(
                    series,
                    {name: result(run).detector for name, run in bases.items()},
                    methods,
                    vus_window=profile.vus_window,
                    seed=seed,
                ),
            )
            bar.update()
    return pd.DataFrame(lines).reindex(columns=["key", *COLUMNS])


def measured(
    series: Series,
    bases: dict[str, Mixture],
    methods: Sequence[Method] = METHODS,
    *,
    vus_window: int,
    seed: int = 0,
) -> list[dict[str, object]]:
    """Measure methods on one entity: a line each, then the controls', with `COLUMNS`' names.

    ``bases`` are fitted on what the protocol `PROTOCOL` trains on.
    """
    protocol, lines, scorers = PROTOCOLS[PROTOCOL], [], {}
    rows, labels = protocol.train(series), protocol.labels(series)

    def quality(scorer: Scorer) -> dict[str, float]:
        values = evaluate(labels, scorer.decision_function(series.test), vus_window=vus_window)
        return {name: float(values[name]) for name in QUALITY}

    with TemporaryDirectory(prefix="lmmoe-") as folder:
        ways = Compressor(bases, rows, Path(folder))
        for method in methods:
            line = {"base": method.base, "kind": method.kind, "method": method.name}
            try:
                made = getattr(ways, method.way)(method.base, **method.settings)
            except (ValueError, RuntimeError, MemoryError) as error:
                # One method that fails must not cost the others.
                lines.append(line | {"error": f"{type(error).__name__}: {error}"})
                continue
            scorers[method.base, method.name] = made.scorer
            line |= {"parameters": made.parameters, "bytes": made.bytes}
            lines.append(line | quality(made.scorer))
        times = speeds(scorers, series.test[:ROWS])
    for line in lines:
        line |= times.get((line["base"], line["method"]), {})
    for name in CONTROLS:
        made = protocol.detector(name, seed=seed).fit(rows)
        line = {"base": "", "kind": "control", "method": name, "parameters": made.parameters}
        lines.append(line | quality(made))
    return [line | {"device": cpu_name()} for line in lines]


def speeds(
    scorers: dict[tuple[str, str], Scorer], rows: Floats
) -> dict[tuple[str, str], dict[str, float]]:
    """Give each scorer, by base and method, ``score_us`` a row and ``speed``, times its base's."""
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in scorers}
    for _ in range(TURNS + 1):
        for name, scorer in scorers.items():
            began = time.process_time()
            scorer.decision_function(rows)
            taken[name].append(time.process_time() - began)
    # Without the first turn, which loads what is loaded late.
    turns = {name: np.array(each[1:]) for name, each in taken.items()}
    return {
        (base, method): {
            "score_us": 1e6 * float(np.median(own)) / len(rows),
            "speed": float(np.median(turns[base, base] / own)),
        }
        for (base, method), own in turns.items()
        if (base, base) in turns
    }


def kept_shares(compressed: pd.DataFrame) -> pd.DataFrame:
    """Divide each method's numbers by its base's: by method, from `table`.

    Columns ``base``, ``kind``, ``entities``; ``parameters``, ``bytes`` and metrics as shares of
    the base's, ``speed`` as a multiple. The controls are there once for each base. Both are
    averaged over the method's entities first (a ratio of means): a mean of ratios would be ruled by
    the entity on which the base finds least.
    """
    good = compressed[compressed["error"].isna()]
    numbers = ["parameters", "bytes", *[name for name in good if name in QUALITY], "speed"]
    parts = []
    for base in dict.fromkeys(good.loc[good["kind"] == AS_IS, "base"]):
        own = good[(good["base"] == base) | (good["kind"] == "control")]
        whole = own[own["method"] == base].set_index("entity")[numbers]
        beside = whole.reindex(own["entity"]).set_axis(own.index).assign(method=own["method"])
        methods = own.groupby("method", sort=False)
        shares = methods[numbers].mean() / beside.groupby("method", sort=False)[numbers].mean()
        shares["speed"] = methods["speed"].median()
        shares.insert(0, "base", base)
        shares.insert(1, "kind", methods["kind"].first())
        shares.insert(2, "entities", methods["entity"].nunique())
        parts.append(shares)
    if not parts:
        columns = ["base", "kind", "entities", *numbers]
        return pd.DataFrame(columns=columns, index=pd.Index([], dtype=str))
    return pd.concat(parts)
