"""The study's printed claims, each held against results: ``published/claims.csv``, evaluated.

A line of the file says what is printed and, in its last columns (`study.printed`), how it is
tested. A query is arithmetic over printed numbers (by a claim's id) and over what stands between
backquotes:

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
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from lmmoe import paths
from lmmoe.report import store, study
from lmmoe.report.evaluation import SPENT
from lmmoe.report.names import BETTER, CONTRADICTED, REPRODUCED, UNTESTABLE, VERDICTS, WORSE
from lmmoe.report.study import Number, printed

# How a claim calls a score of ours.
SCORES = {
    "point_f1": "point_f1_pa",
    "point_precision": "point_precision_pa",
    "point_recall": "point_recall_pa",
    "event_f1_log": "event_f1_pa_log",
    "event_f1_squeeze": "event_f1_pa_squeeze",
}
# What claims are held against, and where it is published: folder and file. Runs count under the
# protocol "study" on SMD.
TABLES = {
    "rows": ("smd", "runs"),
    "ablation": ("ablation", "runs"),
    "efficiency": ("smd", "efficiency"),
    "compressed": ("smd", "compression"),
    "generalisation": ("smd", "generalisation"),
}
CLOSE = 1e-9  # numbers nearer than this are equal: sums of printed decimals are not exact

Run = tuple[str, str]  # a detector, and its settings as JSON
_QUOTED = re.compile(r"`([^`]+)`")


def calculate(query: str, values: pd.DataFrame) -> float | pd.Series:
    """Evaluate a query: arithmetic over columns of values (quoted) and printed numbers (by id)."""
    return values.eval(query, resolvers=[printed()["number"].to_dict()], engine="python")


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
    """Those of `TABLES` that are there; what is missing makes claims untestable, not wrong."""

    def __init__(self, **tables: pd.DataFrame) -> None:
        self.tables = {name: tables.get(name, pd.DataFrame()) for name in TABLES}
        self.runs = study.Runs(self.tables["rows"], self.tables["ablation"])

    def find(self, query: str, whole: frozenset[str]) -> Found:
        """Evaluate a query on those machines of ``whole`` that all its runs have in common."""
        asked = {text: defaultdict(lambda: math.nan) for text in _QUOTED.findall(query)}
        scored = [text for text in asked if self._scored(text, asked[text]) is not None]
        relatives = {one: study.relative(*one[1]) for text in scored for one in asked[text]}
        tables = [self.runs.by_seed(name, SCORES[m], how) for m, (name, how) in relatives]
        common = whole.intersection(*(table.index for table in tables))
        numbers = {
            text: self._score(text, asked[text], common) if text in scored else self._measured(text)
            for text in asked
        }

        def value(changed: dict[str, float]) -> float:
            values = {text: one.value for text, one in numbers.items()} | changed
            return float(np.ravel(calculate(query, pd.DataFrame(values, index=[0])))[0])

        def theirs(chosen: frozenset[str]) -> float:
            of = {
                (metric, run): study.averages(SCORES[metric], chosen).get(name, math.nan)
                for (metric, run), name in relatives.items()
            }
            return value({text: self._scored(text, of) for text in scored})

        # Each moved by its spread, one at a time: the effects add up as those of independent ones.
        moved = [value({text: one.value + one.spread}) for text, one in numbers.items()]
        spread = float(np.linalg.norm(np.subtract(moved, value({}))))
        machines = frozenset().union(*(one.machines for one in numbers.values()))
        ours = Number(value({}), spread, machines)
        if not relatives:
            return Found(ours)
        column = SCORES[next(iter(relatives))[0]]
        moves = study.averages(column, common) - study.averages(column, whole)
        if None in relatives.values():  # at most as far as any average of the study moves
            return Found(ours, doubt=float(moves.abs().max()))
        exact = all(how == "{}" and name not in study.RELATIVES for _, (name, how) in relatives)
        kin = moves.reindex(study.KIN)  # no gap moves by more
        doubt = 0.0 if exact else float(kin.max(skipna=False) - kin.min(skipna=False))
        own = exact and len(scored) == len(asked)
        return Found(ours, theirs(whole), theirs(common), own, doubt)

    def _scored(self, text: str, averages: Mapping[tuple[str, Run], float]) -> float | None:
        """Make what is quoted of averages by metric and run; None if it is not about scores."""
        kind, _, rest = text.partition(" ")
        if kind in SCORES:
            return averages[kind, _run(rest)]
        metrics, _, rest = rest.partition(" ")
        if kind == "rank":
            runs = [_run(name) for name in re.split(" of |, ", rest)]
            found = [np.mean([averages[m, run] for m in metrics.split("+")]) for run in runs]
            return 1 + sum(value > found[0] for value in found[1:])
        if kind not in ("best", "lead"):
            return None
        setting, _, default = rest.partition("=")
        light = self.runs.rows[self.runs.rows["detector"] == "LightMMoE"]
        values = {"{}": float(default)}
        for text in sorted(set(light["settings"])):
            if [*json.loads(text)] == [setting]:
                values[text] = json.loads(text)[setting]
        found = {text: averages[metrics, ("LightMMoE", text)] for text in values}
        best = max(found, key=found.get)
        if len(found) == 1:  # of a setting with one value none is the best
            return math.nan
        return values[best] if kind == "best" else found[best] - found["{}"]

    def _score(self, text: str, asked: Iterable[tuple[str, Run]], common: frozenset) -> Number:
        """Give our number for what is quoted, from the runs asked for; NaN where one is missing."""
        found = {(m, run): self.runs.average(run[0], SCORES[m], common, run[1]) for m, run in asked}
        values = {one: number.value for one, number in found.items()}
        value = float(self._scored(text, values)) if common else math.nan
        spreads = [number.spread for number in found.values()]
        return Number(value, float(np.nanmax([0.0, *spreads])), common)

    def _measured(self, text: str) -> Number:
        """Give our number for what is quoted and is no score."""
        kind, _, rest = text.partition(" ")
        if kind in SPENT:
            return self.runs.cost(kind, *rest.split(" / "))
        if kind == "kept":
            return self._kept(*rest.split(" "))
        if kind == "overfit":
            return self._overfit(*rest.split(" / "))
        table = self.tables["efficiency"]
        if kind not in table:
            return Number()
        return Number(float(table.loc[table["detector"] == rest, kind].astype(float).median()))

    def _kept(self, column: str, kind: str) -> Number:
        """Divide HMMoE's smallest model of a kind, trained on if it was pruned, by HMMoE."""
        table = self.tables["compressed"]
        if column not in table:
            return Number()
        table = table[(table["base"] == "HMMoE") | (table["method"] == kind)]
        made = table[(table["kind"] == kind) | (table["method"] == kind)]
        made = made[~made["method"].str.contains("not trained")]
        if made.empty:
            return Number()
        smallest = made.groupby("method", sort=False)["parameters"].mean().idxmin()
        values = table.pivot(index="entity", columns="method", values=column)
        values = values[[smallest, "HMMoE"]].dropna(subset=smallest)
        mine, whole = values.mean()
        return Number(float(mine / whole), machines=frozenset(values.index))

    def _overfit(self, name: str, smaller: str) -> Number:
        """Ratio of forecast errors: that on unseen rows, or the inverse of that on seen ones.

        The lower of the two: above 1 only for a network that overfits, which has the lower error on
        rows that it learned from and the higher one on others. Medians over machines.
        """
        table = self.tables["generalisation"]
        if not {name, smaller} <= set(table.get("detector", ())):
            return Number()
        table = table[table["settings"] == "{}"]
        errors = table.pivot(index="entity", columns="detector", values=["seen", "unseen"])
        ratios = errors.xs(name, axis=1, level=1) / errors.xs(smaller, axis=1, level=1)
        seen, unseen = ratios.dropna().median()
        return Number(min(1 / seen, unseen), machines=frozenset(ratios.dropna().index))


def _run(text: str) -> Run:
    """Read "LightMMoE experts=1 tower=[]"."""
    name, *pairs = re.split(r" (?=\w+=)", text)
    given = dict(pair.split("=") for pair in pairs)
    given = {key: text if text.isalpha() else json.loads(text) for key, text in given.items()}
    return name, study.spelled(json.dumps(given))


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
        theirs = float(calculate(claim["study"], pd.DataFrame()))
    value, spread = ours.value, ours.spread
    if not math.isnan(tested.study):
        value += tested.study - tested.same
    if claim["forecast"] and tested.own and ours.machines < whole:
        value, spread = theirs, 0.0
    low, high = claim["low"] - CLOSE, claim["high"] + CLOSE
    printed_so = low <= theirs <= high
    if math.isfinite(low) and math.isfinite(high):  # a bound has no slack
        middle = (low + high) / 2 if test else claim["number"]
        middle = theirs if tested.own and printed_so else middle
        low, high = min(low, middle - 2 * spread), max(high, middle + 2 * spread)
    facts = {"same": tested.same, "study": theirs, "tested": value, "doubt": doubt}
    facts |= {"slack": 2 * spread, "machines": len(ours.machines), "fleet": len(whole)}
    if metric := next((name for name in SCORES if name in claim["query"]), None):
        facts["chance"] = evidence.runs.average("random", SCORES[metric], ours.machines).value
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
            facts[found[1]] = evidence.find(found[1], study.machines()).ours.value
        return shown_number(facts[found[1]])

    reason = re.sub(r"\{([^}]+)\}", number, claim["reason"])
    line = {"measured": measured, "verdict": verdict, "reason": reason}
    return pd.concat([claim[:"query"], pd.Series(line)])


def audit(**measured: pd.DataFrame) -> pd.DataFrame:
    """Audit what a report on SMD measured: a line per claim, always all.

    ``measured`` are tables of `TABLES`; what a notebook did not measure itself is taken from what
    is published, so that all notebooks judge a claim alike. Columns are those of ``claims.csv`` up
    to ``query``, ``measured`` (our number in the claim's unit, NaN where there is none),
    ``verdict`` (one of `VERDICTS`) and ``reason``.
    """
    for name, (folder, stem) in TABLES.items():
        if not len(measured.get(name, ())):
            measured[name] = store.read(paths.figures(folder) / f"{stem}.csv")
    evidence = Evidence(**measured)
    lines = [judgement(claim, evidence) for _, claim in printed().iterrows()]
    return pd.DataFrame(lines).reset_index(drop=True)


def summary(audit: pd.DataFrame) -> pd.DataFrame:
    """Count claims by document (rows, "all" last) and verdict (columns, always all)."""
    table = pd.crosstab(audit["document"], audit["verdict"], margins=True, margins_name="all")
    order = [*audit["document"].unique(), "all"]
    return table.reindex(order, columns=[*VERDICTS], fill_value=0)


def shown_number(value: float) -> str:
    """Write a number for people."""
    if not math.isfinite(value):
        return "unknown"
    if abs(value) >= 1000 or abs(value - round(value)) < CLOSE:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.4g}"
