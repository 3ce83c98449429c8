"""Profiles: the files in ``params/``, closed and typed. The defaults are the embedded run."""

import json
import re
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, product
from pathlib import Path
from typing import Any

import yaml

from lmmoe import data, detectors, kinds, paths
from lmmoe.errors import DataError
from lmmoe.report.protocol import PROTOCOLS

PASS = ("detectors", "without", "entities", "protocols", "seeds")  # what a pass may narrow
LABEL = " / "  # between a detector's name and what tells its settings from others


@dataclass(frozen=True)
class Profile:
    """What one report is made from; each field is a parameter of the notebooks."""

    profile: str = "quick"  # names the output folders
    dataset: str = "synthetic"  # a name (smd, asd, ...) or the path of a folder with own data
    root: str = ""  # the folder that holds the data sets; empty: LMMOE_DATA
    entities: list[str] = field(default_factory=list)  # empty: all that are present
    reading: dict[str, Any] = field(default_factory=dict)  # options for own data: lmmoe.data.own
    # name: settings that differ from its defaults; "NAME / words" runs a detector a second time,
    # with other settings
    detectors: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"LightMMoE": {}, "MTSExample": {}, "PCA": {}, "random": {}}
    )
    protocols: list[str] = field(default_factory=lambda: ["ours", "study"])
    seeds: list[int] = field(default_factory=lambda: [0])
    passes: list[dict[str, list[Any]]] = field(
        default_factory=list
    )  # empty: one with all; see plan
    vus_window: int = 100  # widest buffer of VUS in rows; one for all data, fixed beforehand

    def __post_init__(self) -> None:
        for entry in fields(self):
            kinds.check(entry.name, getattr(self, entry.name), entry.type)
        for name, settings in self.detectors.items():
            if "seed" in settings:
                raise ValueError(f"detectors.{name}.seed: give 'seeds', which hold for all")
            try:
                detectors.detector(detector_of(name), **settings)
            except ValueError as error:
                raise ValueError(f"detectors.{name}: {error}") from error
        # A point-adjusted number means nothing without that of random scores.
        object.__setattr__(
            self, "detectors", {**self.detectors, "random": self.detectors.get("random", {})}
        )
        self._check_settings()
        self._check_lists()
        self._check_passes()
        data.check_options(self.dataset, self.reading)

    def _check_settings(self) -> None:
        """Refuse two labels for one run: its row could not say which of them it is."""
        first: dict[str, str] = {}
        for name, settings in self.detectors.items():
            run = json.dumps([detector_of(name), settings], sort_keys=True, default=str)
            if first.setdefault(run, name) != name:
                raise ValueError(f"detectors.{name}: the same settings as {first[run]!r}")

    def _check_lists(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.profile):
            problem = "letters, digits, dots, hyphens and underscores are allowed"
            raise ValueError(f"profile={self.profile!r}: it names folders, so only {problem}")
        for name in ("entities", "protocols", "seeds"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)}: something stands there twice")
        if min(self.seeds, default=0) < 0:
            raise ValueError(f"seeds={self.seeds}: whole numbers from 0 on are needed")
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise ValueError(f"protocols: {name!r} is none of {', '.join(PROTOCOLS)}")
        for name in ("detectors", "protocols", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: at least one is needed")
        if self.vus_window < 0:
            raise ValueError(f"vus_window={self.vus_window}: a number of rows from 0 on is needed")

    def _check_passes(self) -> None:
        for number, given in enumerate(self.passes):
            for key, chosen in given.items():
                place = f"passes[{number}]"
                if key not in PASS:
                    raise ValueError(f"{place}: {key!r} is none of {', '.join(PASS)}")
                if not chosen:
                    raise ValueError(f"{place}.{key} is empty: leave it out to take all")
                own = "detectors" if key == "without" else key
                kind = int if own == "seeds" else str
                kinds.check(f"{place}.{key}", chosen, list[kind])
                known = list(getattr(self, own))
                for value in chosen:
                    # No entities named means all that are there, which `present` looks at.
                    if value not in known and (known or own != "entities"):
                        raise ValueError(
                            f"{place}.{key}: {value!r} is not among the profile's {own}"
                        )

    def plan(self, entity: str, part: int | None = None) -> list[tuple[str, str, int]]:
        """Give detector, protocol and seed of each run on an entity, or of those of one pass.

        Each pass narrows ``detectors`` (or leaves some out: ``without``), ``protocols``, ``seeds``
        and ``entities``; what comes first is run first, on all entities, and nothing twice. Random
        scores are in each: a point-adjusted number means nothing without theirs. A
        detector without a random part is run with the first seed alone. ``part`` counts passes from
        0; raises `DataError` where there is none of that number.
        """
        passes = self.passes or [{}]
        if part is not None and not 0 <= part < len(passes):
            raise DataError(f"no pass {part}: there are {len(passes)}, counted from 0")
        first: dict[tuple[str, str, int], int] = {}  # run: the pass that it belongs to
        for number, given in enumerate(passes):
            if entity not in given.get("entities", [entity]):
                continue
            left_out = set(given.get("without", [])) - {"random"}
            for name in dict.fromkeys([*given.get("detectors", self.detectors), "random"]):
                if name in left_out:
                    continue
                seeded = detectors.entry(detector_of(name)).cls.seeded
                seeds = given.get("seeds", self.seeds) if seeded else self.seeds[:1]
                for run in product([name], given.get("protocols", self.protocols), seeds):
                    first.setdefault(run, number)
        return [run for run, number in first.items() if part in (None, number)]

    @classmethod
    def chosen(cls, names: dict[str, object]) -> "Profile":
        """Take the profile from a notebook's parameters: ``Profile.chosen(globals())``."""
        return cls(**{entry.name: names[entry.name] for entry in fields(cls)})

    @property
    def present(self) -> list[str]:
        """The entities to report on; raises `DataError` where one, or all, are missing."""
        name, root = self._place
        there = data.entities(name, root)
        named = chain(self.entities, *(given.get("entities", []) for given in self.passes))
        missing = [entity for entity in dict.fromkeys(named) if entity not in there]
        if missing or not there:
            raise DataError(
                f"no {', '.join(missing) or 'entities'} of {name!r} here",
                file=data.data_root(root),
                hint=data.missing_hint(name),
            )
        return self.entities or there

    def load(self, entity: str) -> data.Series:
        """Read one entity."""
        name, root = self._place
        return data.load(name, entity, root, **self.reading)

    def files(self, entity: str) -> list[Path]:
        """The files that hold one entity."""
        name, root = self._place
        return data.files(name, entity, root)

    @property
    def _place(self) -> tuple[str, Path | None]:
        """Data set and root; paths count from the project's root, wherever a notebook runs."""
        home = paths.home()
        own = self.dataset not in data.DATASETS
        name = str(home / Path(self.dataset).expanduser()) if own else self.dataset
        return name, home / Path(self.root).expanduser() if self.root else None


def detector_of(name: str) -> str:
    """Give the detector that a name in a profile means: what stands before a label."""
    return name.partition(LABEL)[0]


def load(path: str | Path) -> Profile:
    """Read a profile; an unknown key, a wrong type or a bad value is a `DataError`.

    ``base`` names another profile in the same folder, whose keys hold where this one is silent.
    """
    path = Path(path)
    values = _values(path)
    if "base" in values:
        base = path.parent / str(values.pop("base"))
        given = _values(base)
        if "base" in given:
            raise DataError("a base with a base of its own", file=path, hint=f"See {base.name}")
        given.pop("profile", None)  # it names the base's folders
        values = given | values
    known = [entry.name for entry in fields(Profile)]
    for key in values:
        if key not in known:
            raise DataError(f"unknown key {key!r}", file=path, hint=f"Known: {', '.join(known)}")
    try:
        return Profile(**({"profile": path.stem} | values))
    except ValueError as error:  # a DataError among them
        raise DataError(str(error), file=path) from error


def _values(path: Path) -> dict[str, Any]:
    """The keys and values of a file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError("no such profile", file=path, hint=_known(path.parent)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not YAML ({error})", file=path) from error
    values = {} if values is None else values  # an empty file: all defaults
    if not isinstance(values, dict):
        raise DataError("expected lines of the form 'key: value'", file=path)
    return values


def overrides(profile: Profile) -> dict[str, Any]:
    """All parameters of a profile as plain values, for papermill."""
    return asdict(profile)


def _known(folder: Path) -> str:
    return f"There are {', '.join(sorted(file.name for file in folder.glob('*.yaml')))}"
