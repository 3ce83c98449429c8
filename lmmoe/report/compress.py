"""Smaller models of the same detector: what they keep of its quality, and what they gain.

`published/smaller.csv` lists the methods, `table` measures them on a profile's entities,
`kept_shares` divides by the base's; int8 is `lmmoe.report.export`'s.
"""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pandas as pd
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.data.series import Floats
from lmmoe.detectors import detector
from lmmoe.detectors.mixture import Mixture
from lmmoe.errors import DataError
from lmmoe.mmoe import SoftmaxGate, WindowExperts
from lmmoe.report import store
from lmmoe.report.evaluation import evaluate
from lmmoe.report.experiment import PROTOCOLS, Run, result
from lmmoe.report.export import Runtime, quantise, write
from lmmoe.report.measure import cpu_name, each, once
from lmmoe.report.profile import Profile

VERSION = 1  # raise it when what this module measures changes
LARGE, SMALL = "HMMoE", "LightMMoE"
TURNS, ROWS = 5, 1000  # of the timing
PROTOCOL = "study"  # the large detector trains for minutes, and has been run under this one
# One machine of each group of SMD. Of other data the first entity, few methods, brief training.
CHOSEN = ("machine-1-1", "machine-2-1", "machine-3-2")
QUALITY = ("average_precision", "point_f1_pa")
COLUMNS = ("key", "dataset", "entity", "protocol", "base", "kind", "method", "parameters", "bytes")
COLUMNS += (*QUALITY, "speed", "device", "error")


def pruned(made: Mixture, rows: Floats, *, epochs: int = 1, **shares: float) -> Mixture:
    """Cut a fitted network down to shares, above 0, of its ``kernels``, ``hidden`` and ``experts``.

    Of each layer the units go whose incoming weights have the smallest sum of absolute values (Li
    et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1), as many in every
    expert, and the experts that the gate uses least on raw training ``rows`` ``(t, c)``; one stays.
    Then ``epochs`` of training follow. Raises `DataError` for other experts or gates.
    """
    gate, experts = made.network.gate, made.network.experts
    if not (isinstance(experts, WindowExperts) and isinstance(gate, SoftmaxGate)):
        raise DataError(f"{made.name} with these settings cannot be pruned: other experts or gate")
    state = {name: part.clone() for name, part in made.network.state_dict().items()}
    # The first convolution holds its experts side by side in the last axis; here they come first.
    side = [name for name in state if name.startswith(("experts.conv", "experts.norm."))]
    for name in side:
        state[name] = state[name].unflatten(-1, (experts.count, -1)).movedim(-2, 0)
    used = torch.from_numpy(made.gate_weights(rows)).mean(dim=(0, 1))
    stay = _highest(used, shares.get("experts", 1))
    for name, part in state.items():
        if name.startswith(("experts.", "gate.")) and part.ndim:
            state[name] = part.index_select(0 if name.startswith("experts.") else -2, stay)
    layers = [("kernels", "experts.conv", "experts.norm.")]
    for n in range(len(experts.deeper)):
        layers.append(("kernels", *(f"experts.deeper{x}.{n}" for x in ("", "_biases", "_norms"))))
    for n in range(len(experts.layers.weights)):
        layers.append(("hidden", f"experts.layers.weights.{n}", f"experts.layers.biases.{n}"))
    sizes = {"kernels": [], "hidden": [], "experts": len(stay), "epochs": epochs}
    for (kind, *parts), (_, after, *_) in pairwise(layers):
        units = _highest(state[parts[0]].abs().sum(dim=1), shares.get(kind, 1))  # (e, units')
        # The first dense layer takes each channel's kernels side by side: (e, c, units, out).
        grouped = state[after].unflatten(1, (-1, state[parts[0]].shape[-1]))
        state[after] = grouped.take_along_dim(units[:, None, :, None], dim=2).flatten(1, 2)
        for name in [name for name in state if name.startswith(tuple(parts))]:
            places = units.view(len(units), *[1] * (state[name].ndim - 2), -1)
            state[name] = state[name].take_along_dim(places, dim=-1)
        sizes[kind].append(units.shape[-1])
    for name in side:
        state[name] = state[name].movedim(0, -2).flatten(-2)
    small = detector(made.name, **made.settings | sizes)
    network = small._drawn(made.n_features_in_)
    network.load_state_dict(state)
    small._build = lambda *_: network  # in place of one with new weights
    return small.fit(rows)


def _highest(values: Tensor, share: float) -> Tensor:
    """Places of the highest share of ``values`` ``(..., n)`` along the last axis, in order."""
    count = max(1, round(share * values.shape[-1]))
    return values.topk(count, dim=-1).indices.sort(dim=-1).values


class Student(Mixture):
    """A LightMMoE that learns from the truth and from a teacher's forecasts.

    Distillation (Hinton, Vinyals & Dean, 2015): weighted squared errors to the truth and to the
    teacher's forecast have the gradient of that to their weighted mean. The truth ends training.
    Both are fitted on the same rows, so that they scale alike.
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
        goals[self.teacher.unscored :].lerp_(self.teacher._forecasts(rows), self.share)
        return torch.cat([scaled, goals], dim=1)  # (t, 2 c)

    def _learner(
        self, network: torch.nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Descent:
        """Windows ``(b, 2 c, w)`` and targets ``(b, 2 c)`` hold truth, then goals."""
        truth, goals = slice(inputs.shape[1] // 2), slice(inputs.shape[1] // 2, None)
        inner = super()._learner(network, inputs[:, truth], generator)
        return SimpleNamespace(
            network=inner.network,
            end_epoch=inner.end_epoch,
            step=lambda x, y: inner.step(x[:, truth].contiguous(), y[:, goals].contiguous()),
            loss=lambda x, y: inner.loss(x[:, truth].contiguous(), y[:, truth].contiguous()),
        )


def table(profile: Profile) -> pd.DataFrame:
    """Measure every method on the chosen entities: a row each, `COLUMNS`."""
    keep, lines = store.Table(profile.profile, "compression"), []
    methods = store.published("smaller", keep_default_na=False)
    entities = [entity for entity in CHOSEN if entity in profile.present] or profile.present[:1]
    settings = {LARGE: {}, SMALL: {}}
    if profile.dataset != "smd":
        methods = methods[methods["elsewhere"] == "yes"]
        settings[LARGE] = {"epochs": 1} | ({"batch": 128} if profile.dataset == "synthetic" else {})
    for entity in each(entities, "compression", "entity"):
        series, seed = profile.load(entity), profile.seeds[0]
        runs = {name: Run(series, name, PROTOCOL, seed, settings[name]) for name in settings}
        shown = {"dataset": series.dataset, "entity": entity, "protocol": PROTOCOL}
        hidden = {"bases": {name: run.identity for name, run in runs.items()}}
        hidden |= {"methods": methods["method"].to_list(), "measured": VERSION}
        lines += keep.lines(shown, hidden, partial(measured, runs, methods, profile.vus_window))
    return pd.DataFrame(lines).reindex(columns=[*COLUMNS])


def measured(runs: dict[str, Run], methods: pd.DataFrame, vus_window: int) -> list[store.Line]:
    """Measure methods, lines of `published/smaller.csv`, on the entity of the bases' ``runs``.

    ``speed`` is the base's processor time over the method's, the median over turns with one call
    of each scorer: other work on the machine then hits all alike.
    """
    bases = {name: result(run).detector for name, run in runs.items()}
    series, protocol, lines, scorers = runs[SMALL].series, PROTOCOLS[PROTOCOL], [], {}
    rows, labels = protocol.train(series), protocol.labels(series)
    with TemporaryDirectory(prefix="lmmoe-") as folder:
        for base, kind, name, settings, _ in methods.itertuples(index=False):
            line = {"base": base, "kind": kind, "method": name, "device": cpu_name()}
            lines.append(line)
            try:
                if kind == "control":
                    scorer = protocol.detector(name, seed=bases[SMALL].seed).fit(rows)
                    sizes = {"parameters": scorer.parameters}
                else:
                    how = json.loads(settings), bases[base], bases[SMALL], rows, Path(folder)
                    scorer, sizes = smaller(kind, *how)
                scores = scorer.decision_function(series.test)
            except store.FAILURES as error:  # one method that fails must not cost the others
                line["error"] = f"{type(error).__name__}: {error}"
                continue
            values = evaluate(labels, scores, vus_window=vus_window)
            line |= sizes | {metric: float(values[metric]) for metric in QUALITY}
            if kind != "control":
                scorers[base, name] = scorer, line
    given = series.test[:ROWS]
    turns = pd.DataFrame(
        {name: once(lambda s=s: s.decision_function(given))[0] for name, (s, _) in scorers.items()}
        for _ in range(TURNS + 1)
    )[1:]  # without the first turn, which loads what is loaded late
    for (base, name), (_, line) in scorers.items():
        line["speed"] = float((turns[base, base] / turns[base, name]).median())
    return lines


def smaller(
    kind: str, settings: dict, made: Mixture, light: Mixture, rows: Floats, folder: Path
) -> tuple:
    """Make a base smaller: what scores raw rows; its parameters, and bytes of them in a file.

    ``made`` and ``light``, a LightMMoE, are fitted on raw ``rows`` ``(t, c)``. *Design* is a
    LightMMoE in place of the base, the control of a student. In ``folder`` the base is exported
    once for all methods.
    """
    if kind in ("int8", "other arithmetic"):
        file = folder / f"{made.name}.onnx"
        if not file.exists():
            write(made, file)
        if kind == "int8":
            given = rows if "calibrated" in settings else None
            file = quantise(file, folder / "int8.onnx", rows=given)
        return Runtime(file), {"parameters": made.parameters, "bytes": file.stat().st_size}
    if kind == "pruning":
        made = pruned(made, rows, **settings)
    elif kind == "distillation":
        student = Student(**light.settings | settings)
        student.teacher = made
        made = student.fit(rows)
    elif kind == "design":
        made = Mixture(**light.settings | settings).fit(rows)
    size = sum(a.nbytes for name, a in made._state().items() if not name.startswith("history."))
    return made, {"parameters": made.parameters, "bytes": size}


def kept_shares(compressed: pd.DataFrame) -> pd.DataFrame:
    """Divide each method's numbers by its base's: by method, from `table`.

    Controls stand beside each base. Both are averaged over the method's entities first: a mean of
    ratios would be ruled by the entity on which the base finds least.
    """
    good, numbers = compressed[compressed["error"].isna()], ["bytes", QUALITY[0]]
    bases, controls = good[good["kind"] == "as it is"], good[good["kind"] == "control"]
    beside = [controls.assign(base=base) for base in bases["base"].unique()]
    good = pd.concat([good.drop(index=controls.index), *beside])
    whole = bases.set_index(["base", "entity"])[numbers].add_suffix(" of base")
    methods = good.join(whole, on=["base", "entity"]).groupby(["base", "method"], sort=False)
    means = methods.mean(numeric_only=True)
    shares = {name: means[name] / means[f"{name} of base"] for name in numbers}
    shares |= {"kind": methods["kind"].first(), "speed": methods["speed"].median()}
    return pd.DataFrame(shares).reset_index("base")
