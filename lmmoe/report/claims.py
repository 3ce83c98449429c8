"""The study's printed claims, each held against results: ``published/claims.csv``, evaluated.

A line of the file says what is printed and, in `Claim`'s last columns, how it is tested. A query is
arithmetic over printed numbers (by a claim's id) and over what stands between backquotes:

==================================  ============================================================
``point_f1 LightMMoE experts=1``    average of a score of ours, in percent; settings if not its own
``rank point_f1 A of B, C``         rank of A, 1 is best; by the mean of scores joined by ``+``
``best point_f1 experts=4``         the setting's value that scores best; 4 is the default
``lead point_f1 experts=4``         by how much the best value leads the default
``parameters HMMoE``                how many numbers it learned in our runs
``train_seconds A / B``             median over machines of seconds (``score_seconds``), or a ratio
``latency_p50_ms CAD``              a column of the table of costs
``kept parameters pruning``         share of HMMoE's that the smallest made by a method has
``overfit HMMoE / LightMMoE``       ratio of forecast errors (`Evidence._overfit`)
==================================  ============================================================

A claim whose query starts with ``stated:`` is judged by people: the reason says why.
"""

import json
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe import paths
from lmmoe.report import store, study
from lmmoe.report.names import VERDICTS
from lmmoe.report.study import Number, printed

REPRODUCED, BETTER, WORSE, CONTRADICTED, UNTESTABLE = VERDICTS
# How a claim calls a score: our column (point-adjusted, a share of 1), and the study's own file's.
SCORES = {
    "point_f1": ("point_f1_pa", "point_f1"),
    "point_precision": ("point_precision_pa", "point_precision"),
    "point_recall": ("point_recall_pa", "point_recall"),
    "event_f1_log": ("event_f1_pa_log", "event_log_f1"),
    "event_f1_squeeze": ("event_f1_pa_squeeze", "event_squeeze_f1"),
}
UNITLESS = ("text", "count", "ratio", "rank")  # units that are not written behind a number
CLOSE = 1e-9  # numbers nearer than this are equal: sums of printed decimals are not exact

_QUOTED = re.compile(r"`([^`]+)`")


def calculate(query: str, values: dict[str, float | np.ndarray]) -> float | np.ndarray:
    """Evaluate a query: arithmetic over ``values`` (by quoted text) and printed numbers (by id)."""
    quoted = list(dict.fromkeys(_QUOTED.findall(query)))
    names = printed()["number"].to_dict()
    names |= {f"quoted_{n}": values[text] for n, text in enumerate(quoted)}
    plain = _QUOTED.sub(lambda found: f"quoted_{quoted.index(found[1])}", query)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pd.eval(plain, local_dict=names, engine="python")


class Scored(NamedTuple):
    """What stands quoted in a query about scores: one number ``made`` of averages over machines."""

    metrics: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]  # (detector, settings); the first is the one in question
    made: Callable[[list[float]], float]

    def of(self, average: Callable[[str, tuple[str, str]], float]) -> float:
        """Make the number, in percent, where ``average`` gives that of a metric and a run."""
        found = [np.mean([average(metric, run) for metric in self.metrics]) for run in self.runs]
        return float(self.made(found))


class Found(NamedTuple):
    """What a query gives; NaN where unknown.

    ``study`` and ``same`` are what the study's own runs give for it, over all machines of the
    claim and over ours; ``own`` says whether the study ran just that, else a relative of it.
    ``doubt`` is how far ours may move with the machines that are missing.
    """

    ours: Number = Number()
    study: float = math.nan
    same: float = math.nan
    own: bool = False
    doubt: float = 0.0


class Evidence:
    """What claims are held against; tables that are missing make claims untestable, not wrong.

    ``rows`` are tables of runs (`experiment.table`), of which those under the protocol ``study`` on
    SMD count. Of ``measured``, ``efficiency`` has what was measured by ``detector``, ``compressed``
    smaller models with their ``base``, ``kind`` and ``method``, ``generalisation`` forecast errors
    on rows that were ``seen`` in training and ``unseen`` ones.
    """

    def __init__(self, *rows: pd.DataFrame, **measured: pd.DataFrame) -> None:
        self.runs = study.Runs(*rows)
        self.tables = {
            name: table[table["error"].isna()] if "error" in table else table
            for name, table in measured.items()
        }

    def find(self, query: str, whole: frozenset[str]) -> Found:
        """Evaluate a query on those machines of ``whole`` that all its runs have in common."""
        terms = {text: self._scored(text) for text in _QUOTED.findall(query)}
        scored = {text: one for text, one in terms.items() if one}
        asked = [(m, run) for one in scored.values() for m in one.metrics for run in one.runs]
        tables = [self.runs.by_seed(name, SCORES[m][0], given) for m, (name, given) in asked]
        common = whole.intersection(*(table.index for table in tables))
        numbers = {
            text: self._score(one, common) if one else self._measured(text)
            for text, one in terms.items()
        }
        # Each moved by its spread, one at a time: the effects add up as those of independent ones.
        values = {text: np.full(1 + len(terms), one.value) for text, one in numbers.items()}
        for n, (text, one) in enumerate(numbers.items(), start=1):
            values[text][n] += one.spread
        made = np.atleast_1d(calculate(query, values))
        spread = float(np.sqrt(((made[1:] - made[0]) ** 2).sum()))
        machines = frozenset[str]().union(*(one.machines for one in numbers.values()))
        found = Found(Number(float(made[0]), spread, machines))
        if not asked:
            return found
        column = SCORES[asked[0][0]][1]
        moves = study.averages(column, common) - study.averages(column, whole)
        relatives = {run: study.relative(*run) for _, run in asked}
        if None in relatives.values():  # at most as far as any average of the study moves
            return found._replace(doubt=float(moves.abs().max()))

        def theirs(chosen: frozenset[str]) -> float:
            def average(metric: str, run: tuple[str, str]) -> float:
                return study.averages(SCORES[metric][1], chosen).get(relatives[run], math.nan)

            others = {text: one.value for text, one in numbers.items()}
            return float(
                calculate(query, others | {text: one.of(average) for text, one in scored.items()})
            )

        exact = all(given == "{}" and name not in study.RELATIVES for name, given in relatives)
        kin = moves.reindex(study.KIN)  # no gap moves by more
        return found._replace(
            study=theirs(whole),
            same=theirs(common),
            own=exact and len(scored) == len(terms),
            doubt=0.0 if exact else float(kin.max(skipna=False) - kin.min(skipna=False)),
        )

    def _scored(self, text: str) -> Scored | None:
        """Read what is quoted; None where it is not about scores."""
        kind, _, rest = text.partition(" ")
        if kind in SCORES:
            return Scored((kind,), (_run(rest),), lambda found: found[0])
        metrics, _, rest = rest.partition(" ")
        if kind == "rank":
            names = tuple(_run(name) for name in re.split(" of |, ", rest))
            metrics = tuple(metrics.split("+"))
            return Scored(metrics, names, lambda found: 1 + sum(v > found[0] for v in found[1:]))
        if kind not in ("best", "lead"):
            return None
        setting, _, default = rest.partition("=")
        values = {"{}": float(default)}
        light = self.runs.rows[self.runs.rows["detector"] == "LightMMoE"]
        for given in sorted(set(light["settings"])):
            one = json.loads(given)
            if set(one) == {setting} and isinstance(one[setting], int | float):
                values[given] = one[setting]

        def made(found: list[float]) -> float:
            if len(found) == 1:  # of a setting with one value none is the best
                return math.nan
            best = list(values.values())[int(np.argmax(found))]
            return best if kind == "best" else max(found) - found[0]

        return Scored((metrics,), tuple(("LightMMoE", given) for given in values), made)

    def _score(self, scored: Scored, common: frozenset[str]) -> Number:
        """Give our number for what is quoted; NaN where a run is missing."""
        if not common:
            return Number()
        spreads = [0.0]

        def average(metric: str, run: tuple[str, str]) -> float:
            found = self.runs.average(run[0], SCORES[metric][0], common, run[1])
            spreads.append(found.spread)
            return found.value

        return Number(scored.of(average), float(np.nanmax(spreads)), common)

    def _measured(self, text: str) -> Number:
        """Give our number for what is quoted and is no score."""
        kind, _, rest = text.partition(" ")
        names = rest.split(" / ")
        if kind == "parameters":
            return Number(self.runs.parameters(rest))
        if kind in ("train_seconds", "score_seconds"):
            return self.runs.seconds(kind, *names)
        if kind == "kept":
            return self._kept(*rest.split(" "))
        if kind == "overfit":
            return self._overfit(*names)
        table = self.tables.get("efficiency", pd.DataFrame())
        if kind not in table:
            return Number()
        chosen = table.loc[table["detector"] == rest, kind]
        return Number(float(pd.to_numeric(chosen).median()))

    def _kept(self, column: str, kind: str) -> Number:
        """Divide HMMoE's smallest model of a kind, trained on if it was pruned, by HMMoE."""
        table = self.tables.get("compressed", pd.DataFrame())
        if column not in table:
            return Number()
        whole = table[table["method"] == "HMMoE"].set_index("entity")[column]
        chosen = table["base"].isin(["HMMoE", ""]) | table["base"].isna()  # random has none
        chosen &= (table["kind"] == kind) | (table["method"] == kind)
        table = table[chosen & ~table["method"].str.contains("not trained")]
        if table.empty:
            return Number()
        sizes = table.groupby("method", sort=False)["parameters"].mean().fillna(0)
        mine = table[table["method"] == sizes.idxmin()].set_index("entity")[column]
        value = float(mine.mean() / whole.reindex(mine.index).mean())
        return Number(value, machines=frozenset(mine.index))

    def _overfit(self, name: str, smaller: str) -> Number:
        """Ratio of forecast errors: that on unseen rows, or the inverse of that on seen ones.

        The lower of the two: above 1 only for a network that overfits, which has the lower error on
        rows that it learned from and the higher one on others. Medians over machines.
        """
        table = self.tables.get("generalisation", pd.DataFrame())
        if not {name, smaller} <= set(table.get("detector", ())):
            return Number()
        table = table[table["settings"] == "{}"].set_index(["entity", "detector"])
        errors = table[["seen", "unseen"]].unstack("detector")
        ratios = errors.xs(name, axis=1, level=1) / errors.xs(smaller, axis=1, level=1)
        seen, unseen = ratios.dropna().median()
        return Number(min(1 / seen, unseen), machines=frozenset(ratios.dropna().index))


def _run(text: str) -> tuple[str, str]:
    """Read "LightMMoE experts=1 tower=[]": the detector, and its settings as JSON."""
    words = text.split(" ")
    pairs = [word.split("=") for word in words if "=" in word]
    settings = {key: value if value.isalpha() else json.loads(value) for key, value in pairs}
    return " ".join(word for word in words if "=" not in word), study.spelled(json.dumps(settings))


def judged(claim: pd.Series, evidence: Evidence) -> tuple[float, str, dict[str, float]]:
    """Give our number for a claim (`study.printed`), the verdict, and what the reason may show.

    First comes what the study's own material gives: a printed number that it excludes is
    contradicted, unless it was a forecast. Then our number, moved as the study's own moves from our
    machines to all, is held against what counts as the printed one: ``low`` to ``high``, or twice
    the seed spread around the study's unrounded number. Where a forecast's machines are not all
    there, the study's own number stands for ours. Between reproduced and not, within what the
    missing machines may change, a claim is not testable.
    """
    whole = study.machines(claim["scope"])
    found = evidence.find(claim["query"], whole) if claim["query"] else Found()
    test = claim["test"]
    tested = evidence.find(test, whole) if test not in ("", "none") else found
    ours, doubt = tested.ours, tested.doubt
    theirs = tested.study if tested.own else math.nan
    if claim["study"]:
        theirs = float(calculate(claim["study"], {}))
    value, spread = ours.value, ours.spread
    if not math.isnan(tested.study):
        value += tested.study - tested.same
    if claim["forecast"] and tested.own and ours.machines < whole:
        value, spread = theirs, 0.0
    low, high = claim["low"], claim["high"]
    printed_so = low - CLOSE <= theirs <= high + CLOSE
    if math.isfinite(low) and math.isfinite(high):  # a bound has no slack
        middle = (low + high) / 2 if test else claim["number"]
        middle = theirs if tested.own and printed_so else middle
        low, high = min(low, middle - 2 * spread), max(high, middle + 2 * spread)
    facts = {"same": tested.same, "study": theirs, "tested": value, "doubt": doubt}
    facts |= {"slack": 2 * spread, "machines": len(ours.machines), "fleet": len(whole)}
    if metric := next((name for name in SCORES if name in claim["query"]), None):
        facts["chance"] = evidence.runs.average("random", SCORES[metric][0], ours.machines).value
    low, high = low - CLOSE, high + CLOSE
    if not (math.isnan(theirs) or printed_so or claim["forecast"]):
        verdict = CONTRADICTED
    elif test == "none" or math.isnan(value):
        verdict = UNTESTABLE
    elif low + doubt <= value <= high - doubt:
        verdict = REPRODUCED
    elif low - doubt <= value <= high + doubt:
        verdict = UNTESTABLE
    else:
        verdict = BETTER if (value > high) == (claim["better"] == "higher") else WORSE
    return found.ours.value, verdict, facts


def judgement(claim: pd.Series, evidence: Evidence) -> pd.Series:
    """Judge one claim: a line of `audit`.

    In its reason ``{same}`` and other facts of `judged`, or ``{`query`}``, become numbers.
    """
    measured, verdict, facts = math.nan, claim["query"].removeprefix("stated: "), {}
    if verdict not in VERDICTS:
        measured, verdict, facts = judged(claim, evidence)

    def number(found: re.Match[str]) -> str:
        if "`" in found[1]:
            return shown_number(evidence.find(found[1], study.machines()).ours.value)
        return shown_number(facts[found[1]])

    reason = re.sub(r"\{([^}]+)\}", number, claim["reason"])
    line = {"measured": measured, "verdict": verdict, "reason": reason}
    return pd.concat([claim[:"query"], pd.Series(line)])


def audit(*rows: pd.DataFrame, **measured: pd.DataFrame) -> pd.DataFrame:
    """Hold every printed claim against `Evidence`: one line per claim, always all of them.

    Columns: those of ``claims.csv`` up to ``query``, ``measured`` (our number in the claim's unit,
    NaN where there is none), ``verdict`` (one of `VERDICTS`) and ``reason``.
    """
    evidence = Evidence(*rows, **measured)
    lines = [judgement(claim, evidence) for _, claim in printed().iterrows()]
    return pd.DataFrame(lines).reset_index(drop=True)


def audit_at_hand(dataset: str, **measured: pd.DataFrame) -> pd.DataFrame:
    """Audit what a report on SMD measured; for other data, read the audit published on SMD.

    ``measured`` are ``rows`` and the tables of `Evidence`; what a notebook did not measure itself
    is taken from ``figures/smd``, so that all notebooks of its report judge a claim alike.
    """
    folder = paths.figures("smd")
    if dataset != "smd" and (folder / "claims.csv").is_file():
        table = pd.read_csv(folder / "claims.csv", dtype=str, keep_default_na=False)
        return table.assign(measured=pd.to_numeric(table["measured"]))
    stems = {"rows": "runs", "compressed": "compression"}
    for name in ("rows", "efficiency", "compressed", "generalisation"):
        if not len(measured.get(name, ())):
            measured[name] = store.read(folder / f"{stems.get(name, name)}.csv")
    ablation = store.read(paths.figures("ablation") / "runs.csv")
    return audit(measured.pop("rows"), ablation, **measured)


def chance(rows: pd.DataFrame) -> dict[str, float]:
    """What random scores reach on the machines at hand, in percent, by the claims' metric.

    Without a run of them a metric is missing: no adjusted number should then be shown.
    """
    ours, whole = study.Runs(rows), study.machines()
    found = {m: ours.average("random", column, whole).value for m, (column, _) in SCORES.items()}
    return {metric: value for metric, value in found.items() if not math.isnan(value)}


def summary(audit: pd.DataFrame) -> pd.DataFrame:
    """Count claims by document (rows, "all" last) and verdict (columns, always all)."""
    table = pd.crosstab(audit["document"], audit["verdict"])
    table = table.reindex(audit["document"].unique(), columns=list(VERDICTS), fill_value=0)
    table.loc["all"] = table.sum()
    return table.rename_axis(index="document", columns=None)


def shown(audit: pd.DataFrame) -> pd.DataFrame:
    """Choose what people read of an audit: claim, printed, ours, verdict and reason, by id."""
    scope = (" (" + audit["scope"] + ")").where(audit["scope"] != "-", "")
    unit = (" " + audit["unit"]).where(~audit["unit"].isin(UNITLESS), "")
    ours = [shown_number(value) if math.isfinite(value) else "" for value in audit["measured"]]
    words = {"claim": audit["subject"] + ": " + audit["metric"] + scope}
    words |= {"printed": audit["value"] + unit, "ours": ours}
    return audit.assign(**words).set_index("id")[[*words, "verdict", "reason"]]


def shown_number(value: float) -> str:
    """Write a number for people."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) >= 1000 or abs(value - round(value)) < CLOSE:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.4g}"
