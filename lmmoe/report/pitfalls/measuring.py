"""All mistakes, all detectors, all entities."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmmoe import progress
from lmmoe.data import Series
from lmmoe.data.series import Bits
from lmmoe.detectors import entry
from lmmoe.report.params import Profile
from lmmoe.report.pitfalls import averages, facts, floors, labels, leaks, thresholds, together
from lmmoe.report.pitfalls.fleet import Panel, group_of
from lmmoe.report.pitfalls.mistake import Mistake
from lmmoe.report.pitfalls.scored import Scored, judgeable
from lmmoe.report.runs import Run

DETECTORS = ("LightMMoE", "MTSExample", "PCA", "random")
SEEDS = 5  # at least, of whatever is random (Garg et al., TNNLS 2021): one of the mistakes is one
MISTAKES: tuple[Mistake, ...] = tuple(
    sorted(
        (
            *labels.MISTAKES,
            *thresholds.MISTAKES,
            *leaks.MISTAKES,
            *averages.MISTAKES,
            *floors.MISTAKES,
        ),
        key=lambda mistake: mistake.number,
    )
)
EXPERIMENTS = (*MISTAKES, together.TOGETHER)


@dataclass(frozen=True, eq=False)
class Measured:
    """What the experiments gave.

    ``panels`` hold the numbers of each of `EXPERIMENTS`, the mistakes and three of them together,
    by title, a panel per detector; ``floors`` what each metric gives to whom
    (`report.pitfalls.floors`); ``facts`` a line per entity (`report.pitfalls.facts`); ``failures``
    what went wrong, in words. Without labelled events all are empty.
    """

    panels: dict[str, list[Panel]] = field(default_factory=dict)
    floors: pd.DataFrame = field(default_factory=pd.DataFrame)
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    failures: list[str] = field(default_factory=list)


def measure(profile: Profile, entities: list[str] | None = None) -> Measured:
    """Make every mistake with every detector of `DETECTORS` on the entities that have both labels.

    Scores come from the cache, or are computed (`report.runs.result`). A run that fails costs the
    others nothing and is told under ``failures``.
    """
    return _Work(profile, entities or profile.present).done()


class _Work:
    """One pass over the entities; what it found so far."""

    def __init__(self, profile: Profile, entities: list[str]) -> None:
        self.profile, self.entities = profile, entities
        self.labels: dict[str, Bits] = {}
        self.values: dict[tuple[str, str, str, int], dict[str, float]] = {}
        self.scores: dict[tuple[str, str, int], np.ndarray] = {}
        self.floors: list[tuple[str, dict[str, float]]] = []
        self.facts: list[dict[str, object]] = []
        self.failures: dict[str, None] = {}  # in order, nothing twice

    def done(self) -> Measured:
        """Look at every entity, then bring their numbers together."""
        plan = [(name, seed) for name in DETECTORS for seed in seeds(self.profile, name)]
        total = len(self.entities) * len(plan)
        with progress.bar(total, "mistakes", unit="run") as bar:
            for entity in self.entities:
                series = self.profile.load(entity)
                if judgeable(series):
                    self._begin(series)
                for name, seed in plan:
                    bar.set_postfix_str(f"{entity} {name} seed {seed}", refresh=False)
                    if judgeable(series):
                        self._look(series, name, seed)
                    bar.update()
        if not self.labels:
            return Measured(failures=list(self.failures))
        panels = {one.title: self._panels(one) for one in EXPERIMENTS}
        found = floors.floors(self.floors)
        found = found[[name for name in (*floors.TRIVIAL, *DETECTORS) if name in found]]
        table = pd.DataFrame(self.facts).set_index("entity")
        return Measured(panels, found, table, list(self.failures))

    def _begin(self, series: Series) -> None:
        self.labels[series.entity] = series.labels
        self.facts.append({"entity": series.entity} | facts.of(series))
        self.floors += floors.trivial(series, self.profile.vus_window).items()

    def _look(self, series: Series, name: str, seed: int) -> None:
        settings = self.profile.detectors.get(name, {})
        one = Scored(Run(series, name, "ours", seed, settings))
        key = (name, series.entity, seed)
        try:
            self.scores[key] = one.scores
            self.floors.append((name, floors.measured(one, self.profile.vus_window)))
        except (ValueError, RuntimeError, MemoryError) as error:
            self._failed(f"{name} on {series.entity}", error)
            return
        first = seed == seeds(self.profile, name)[0]
        for mistake in EXPERIMENTS:
            if mistake.first_seed_only and not first:
                continue
            try:
                self.values[mistake.title, *key] = mistake.measure(one)
            except (ValueError, RuntimeError, MemoryError, NotImplementedError) as error:
                self._failed(f"{mistake.title}, {name} on {series.entity}", error)

    def _failed(self, what: str, error: Exception) -> None:
        self.failures[f"{what}: {type(error).__name__}: {error}"] = None

    def _panels(self, mistake: Mistake) -> list[Panel]:
        made = (self._panel(mistake, name) for name in DETECTORS)
        return [panel for panel in made if panel.values]

    def _panel(self, mistake: Mistake, name: str) -> Panel:
        numbers = seeds(self.profile, name)[: 1 if mistake.first_seed_only else None]
        names = list(self.labels)
        grid = [
            [self.values.get((mistake.title, name, entity, seed), {}) for entity in names]
            for seed in numbers
        ]
        settings = dict.fromkeys(key for row in grid for values in row for key in values)
        return Panel(
            name,
            names,
            group_of(names),
            {
                key: np.array([[values.get(key, np.nan) for values in row] for row in grid])
                for key in settings
            },
            list(self.labels.values()),
            [[self.scores.get((name, entity, seed)) for entity in names] for seed in numbers],
        )


def seeds(profile: Profile, name: str) -> list[int]:
    """The seeds of a detector: `SEEDS` where they make a difference, the profile's first."""
    if not entry(name).cls.seeded:
        return profile.seeds[:1]
    more = [seed for seed in range(SEEDS) if seed not in profile.seeds]
    return [*profile.seeds, *more][:SEEDS]
