"""Smaller models of the same detector: what they keep of its quality, and what they gain.

Pruning cuts kernels, hidden units and experts out of a fitted network, distillation trains a small
network on a large one's forecasts; int8 is `lmmoe.report.export`'s. `METHODS` lists what is
compared, `table` measures it on a profile's entities, `kept_shares` sets it against the base.
"""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.data.series import Floats, Series
from lmmoe.detectors import Detector, detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.mmoe import SoftmaxGate, WindowExperts
from lmmoe.report import store
from lmmoe.report.evaluation import evaluate
from lmmoe.report.experiment import FAILURES, PROTOCOLS, Run, result
from lmmoe.report.export import Runtime, quantise, write
from lmmoe.report.measure import cpu_name, each, once
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what this module measures changes
LARGE, SMALL = "HMMoE", "LightMMoE"
CONTROLS = ("MTSExample", "random")
TURNS, ROWS = 5, 1000  # of the timing
PROTOCOL = "study"  # the large detector trains for minutes, and has been run under this one
# One machine of each group of SMD; of other data the first entity, the large detector trained
# briefly (on the embedded data in large batches), so that the way is shown in seconds.
CHOSEN = {"smd": ("machine-1-1", "machine-2-1", "machine-3-2")}
QUALITY = ("average_precision", "best_f1", "point_f1_pa", "event_f1_pa_log", "event_f1_pa_squeeze")
COLUMNS = ("dataset", "entity", "protocol", "base", "kind", "method", "parameters", "bytes")
COLUMNS += (*QUALITY, "score_us", "speed", "device", "error")
State = dict[str, Tensor]

# --- pruning ---


def pruned(
    made: Mixture, rows: npt.ArrayLike, *, kernels: float = 1, hidden: float = 1, experts: float = 1
) -> tuple[dict[str, object], State]:
    """Cut a fitted network down to shares, above 0, of its kernels, hidden units and experts.

    The rule is magnitude (Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section
    3.1): of each layer the units go whose incoming weights have the smallest sum of absolute
    values, as many in every expert. Experts go by their mean share in the gate on raw training
    ``rows`` ``(t, c)``, the least used first. At least one unit of a layer stays. Gives the smaller
    detector's settings, and the state of its network (for `torch.nn.Module.load_state_dict`).
    Raises `DataError` for networks of other experts or gates than the study's.
    """
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
    settings = made.settings | {"experts": len(state["experts.layers.weights.0"])}
    for name, size in sizes.items():
        settings[name] = size if isinstance(settings[name], list) else size[0]
    return settings, state


def _highest(values: Tensor, share: float) -> Tensor:
    """Places of the highest share of ``values`` ``(..., n)`` along the last axis, in order."""
    count = max(1, round(share * values.shape[-1]))
    return values.topk(count, dim=-1).indices.sort(dim=-1).values


def _cut_units(state: State, kernels: float, hidden: float) -> dict[str, list[int]]:
    """Cut convolutions and hidden layers of ``state``, experts first in each part, in place.

    Gives the sizes that are left. What the experts' last layer gives out stays.
    """
    # Each layer's weights (e, units in, units out), and what else has an entry for each unit.
    chain = {"experts.conv": [n for n in state if n.startswith(("experts.norm.", "experts.conv_"))]}
    for name in [name for name in state if name.startswith("experts.deeper.")]:
        number = name.rpartition(".")[2]
        norms = [part for part in state if part.startswith(f"experts.deeper_norms.{number}.")]
        chain[name] = [f"experts.deeper_biases.{number}", *norms]
    convolutions = len(chain)
    for name in [name for name in state if name.startswith("experts.layers.weights.")]:
        chain[name] = [name.replace("weights", "biases")]
    names = list(chain)
    for place, (name, after) in enumerate(zip(names, names[1:], strict=False)):
        units, share = state[name].shape[-1], kernels if place < convolutions else hidden
        stay = _highest(state[name].abs().sum(dim=1), share)  # (e, units')
        for part in (name, *chain[name]):
            places = stay.view(len(stay), *[1] * (state[part].ndim - 2), -1)
            state[part] = state[part].take_along_dim(places, dim=-1)
        # The first dense layer takes each channel's kernels side by side: (e, c, units, out).
        grouped = state[after].unflatten(1, (-1, units))
        state[after] = grouped.take_along_dim(stay[:, None, :, None], dim=2).flatten(1, 2)
    left = [state[name].shape[-1] for name in names]
    return {"kernels": left[:convolutions], "hidden": left[convolutions:-1]}


def continued(
    like: Mixture, settings: dict[str, object], state: State, rows: npt.ArrayLike, *, epochs: int
) -> Mixture:
    """Fit a detector ``like`` another on raw rows ``(t, c)``, beginning with the weights ``state``.

    It can be saved like any other. Raises as `lmmoe.detectors.Detector.fit` does.
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

    teacher = None  # a fitted `Mixture`; forgotten after training
    share = 0.5  # of the teacher in the target, from 0 to 1; our choice, not tuned

    def _fit(self, rows: Floats) -> None:
        super()._fit(rows)
        self.teacher = None

    def _scaled(self, rows: Floats) -> Tensor:
        """While there is a teacher, with what to forecast each row as in further channels."""
        scaled = super()._scaled(rows)
        if self.teacher is None:
            return scaled
        goals = scaled.clone()
        forecasts = self.teacher._forecasts(rows).to(goals.device)
        goals[self.teacher.unscored :].lerp_(forecasts, self.share)
        return torch.cat([scaled, goals], dim=1)  # (t, 2 c)

    def _learner(
        self, network: torch.nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        """Windows ``(b, 2 c, w)`` and targets ``(b, 2 c)`` hold truth, then goals."""
        half = inputs.shape[1] // 2
        inner = super()._learner(network, inputs[:, :half], generator)

        def step(windows: Tensor, target: Tensor) -> Tensor:
            return inner.step(windows[:, :half].contiguous(), target[:, half:].contiguous())

        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return inner.loss(windows[:, :half].contiguous(), target[:, :half].contiguous())

        end = inner.end_epoch
        return SimpleNamespace(network=inner.network, step=step, loss=loss, end_epoch=end)


# --- methods ---


def in_bfloat16(made: Mixture) -> Mixture:
    """Copy a fitted forecaster; the copy's network runs in bfloat16, by PyTorch."""
    made = copy.deepcopy(made)
    made.network.to(torch.bfloat16)

    def forecasts(rows: Floats) -> Tensor:
        windows = made._windows(rows).to(torch.bfloat16)
        return torch.cat(list(training.outputs(made.network, windows))).float()

    made._forecasts = forecasts
    return made


class Method(NamedTuple):
    """One line of the table: base, kind and name, and the settings of its way (`smaller`)."""

    base: str
    kind: str
    name: str
    settings: dict[str, object]


THIN = "kernels, units 0.7, experts 0.75"
THINNED = {"kernels": 0.7, "hidden": 0.7, "experts": 0.75}
TINY = {"experts": 2, "kernels": 4, "hidden": 64, "out": 32, "tower": 8}  # "extremely light"
_BOTH = (
    ("pruning", "half of the kernels", {"kernels": 0.5}),
    ("pruning", "half of the hidden units", {"hidden": 0.5}),
    ("pruning", "half of the experts", {"experts": 0.5}),
    ("pruning", f"{THIN}, not trained on", THINNED | {"epochs": 0}),
    ("pruning", THIN, THINNED),
    ("other arithmetic", "ONNX Runtime, float32", {}),
    ("int8", "int8, dynamic", {}),
    ("int8", "int8, static", {"calibrated": True}),
)
METHODS = (
    Method(LARGE, "as it is", LARGE, {}),
    *(Method(LARGE, *line) for line in _BOTH),
    Method(LARGE, "distillation", "LightMMoE, taught by HMMoE", {}),
    Method(LARGE, "distillation", "extremely light, taught by HMMoE", TINY),
    Method(LARGE, "design", "LightMMoE in its place", {}),
    Method(LARGE, "design", "extremely light in its place", TINY),
    Method(SMALL, "as it is", SMALL, {}),
    *(Method(SMALL, *line) for line in _BOTH),
    Method(SMALL, "distillation", "extremely light, taught by LightMMoE", TINY),
    Method(SMALL, "other arithmetic", "bfloat16", {}),
)
# What is shown of other data: a training of the large detector, which is brief there, is no base to
# judge many ways by.
FEW = tuple(
    method
    for method in METHODS
    if not method.name.startswith("half")
    and (method.base == SMALL or method.kind in ("as it is", "distillation", "design"))
)


def smaller(
    method: Method, bases: dict[str, Mixture], rows: Floats, folder: Path
) -> tuple[Detector | Runtime, int, int]:
    """Make a base smaller: what scores raw rows, numbers learned, bytes without training scores.

    ``bases`` are fitted on the raw ``rows`` ``(t, c)``; ONNX files are written to ``folder``. What
    is pruned is trained on for an epoch, or ``epochs``. *Design* is LightMMoE in place of the base,
    with other settings where given: the control of a student.
    """
    made, light, settings = bases[method.base], bases[SMALL], dict(method.settings)
    if method.kind == "pruning":
        epochs = settings.pop("epochs", 1)
        made = continued(made, *pruned(made, rows, **settings), rows, epochs=epochs)
    elif method.kind == "distillation":
        teacher, made = made, Student(**(light.settings | settings))
        made.teacher = teacher
        made.fit(rows)
    elif method.kind == "design":
        made = detector(SMALL, **(light.settings | settings)).fit(rows) if settings else light
    elif method.kind == "int8" or "ONNX" in method.name:
        file = folder / f"{method.base}.onnx"
        if not file.is_file():
            write(made, file)
        if method.kind == "int8":
            given = rows if "calibrated" in settings else None
            file = quantise(file, folder / f"{method.base} {method.name}.onnx", rows=given)
        return Runtime(file), made.parameters, file.stat().st_size
    arrays = made._state().items()
    size = sum(array.nbytes for name, array in arrays if not name.startswith("history."))
    if method.name == "bfloat16":
        return in_bfloat16(made), made.parameters, size // 2
    return made, made.parameters, size


# --- measuring ---


def table(profile: Profile) -> pd.DataFrame:
    """Measure every method on the chosen entities: a row each, `COLUMNS`, then the controls'.

    What the published table knows is not measured again. A method that fails has ``error``.
    """
    keep, lines = store.Table(profile.profile, "compression"), []
    chosen = CHOSEN.get(profile.dataset, ())
    entities = [entity for entity in chosen if entity in profile.present] or profile.present[:1]
    methods = METHODS if chosen else FEW
    brief = {"epochs": 1} | ({"batch": 128} if profile.dataset == "synthetic" else {})
    seed = profile.seeds[0]
    for entity in each(entities, "compression", "entity"):
        series = profile.load(entity)
        runs = {LARGE: Run(series, LARGE, PROTOCOL, seed, {} if chosen else brief)}
        runs[SMALL] = Run(series, SMALL, PROTOCOL, seed)
        shown = {"dataset": series.dataset, "entity": entity, "protocol": PROTOCOL}
        hidden = {"bases": {name: run.identity for name, run in runs.items()}}
        hidden |= {"methods": [method.name for method in methods], "measured": VERSION}

        def compute(series: Series = series, runs: dict[str, Run] = runs) -> list[store.Line]:
            bases = {name: result(run).detector for name, run in runs.items()}
            return measured(series, bases, methods, profile.vus_window, seed)

        lines += keep.lines(shown, hidden, compute)
    return pd.DataFrame(lines).reindex(columns=["key", *COLUMNS])


def measured(
    series: Series, bases: dict[str, Mixture], methods: tuple[Method, ...], window: int, seed: int
) -> list[store.Line]:
    """Measure methods on one entity: a line each, then the controls', with `COLUMNS`' names.

    ``bases`` are fitted on what the protocol `PROTOCOL` trains on. ``score_us`` is the processor
    time of a row; ``speed`` the ratio of the base's to it, the median over turns in which every
    scorer scores the same rows once. Other work on the machine then hits all alike.
    """
    protocol, lines, scorers = PROTOCOLS[PROTOCOL], [], {}
    rows, labels = protocol.train(series), protocol.labels(series)

    def quality(scorer: Detector | Runtime) -> dict[str, float]:
        values = evaluate(labels, scorer.decision_function(series.test), vus_window=window)
        return {name: float(values[name]) for name in QUALITY}

    with TemporaryDirectory(prefix="lmmoe-") as folder:
        for method in methods:
            line = {"base": method.base, "kind": method.kind, "method": method.name}
            lines.append(line)
            try:
                scorer, line["parameters"], line["bytes"] = smaller(
                    method, bases, rows, Path(folder)
                )
            except FAILURES as error:  # one method that fails must not cost the others
                line["error"] = f"{type(error).__name__}: {error}"
                continue
            scorers[method.base, method.name] = scorer
            line |= quality(scorer)
        given = series.test[:ROWS]
        turns = pd.DataFrame(
            {name: once(lambda s=s: s.decision_function(given))[0] for name, s in scorers.items()}
            for _ in range(TURNS + 1)
        )[1:]  # without the first turn, which loads what is loaded late
    for line in lines:
        if (own := turns.get((line["base"], line["method"]))) is not None:
            line["score_us"] = 1e6 * float(own.median()) / len(given)
            line["speed"] = float((turns[line["base"], line["base"]] / own).median())
    for name in CONTROLS:
        made = protocol.detector(name, seed=seed).fit(rows)
        line = {"base": "", "kind": "control", "method": name, "parameters": made.parameters}
        lines.append(line | quality(made))
    return [line | {"device": cpu_name()} for line in lines]


def kept_shares(compressed: pd.DataFrame) -> pd.DataFrame:
    """Divide each method's numbers by its base's: by method, from `table`.

    ``parameters``, ``bytes`` and metrics become shares of the base's, ``speed`` a multiple. The
    controls are there once for each base. Both are averaged over the method's entities first: a
    mean of ratios would be ruled by the entity on which the base finds least.
    """
    good, parts = compressed[compressed["error"].isna()], []
    numbers = ["parameters", "bytes", *QUALITY, "speed"]
    for base in dict.fromkeys(good.loc[good["kind"] == "as it is", "base"]):
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
    return pd.concat(parts)
