"""Profiles: the files in ``params/``, closed and typed. The defaults are the embedded run."""

import json
from itertools import chain, product
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lmmoe import data, detectors, paths
from lmmoe.errors import DataError

LABEL = " / "  # between a detector's name and what tells its settings from others

Settings = dict[str, dict[str, Any]]


class Pass(BaseModel):
    """A part of a profile's runs: what is not named is taken whole."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    detectors: list[str] | None = Field(None, min_length=1)
    without: list[str] = []
    entities: list[str] | None = Field(None, min_length=1)
    protocols: list[str] | None = Field(None, min_length=1)
    seeds: list[int] | None = Field(None, min_length=1)


class Profile(BaseModel):
    """What one report is made from."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    # Names the output folders.
    profile: str = Field("quick", pattern=r"^\w[\w.-]*$")
    # A name (smd, asd, ...) or the path of a folder with own data.
    dataset: str = "synthetic"
    # The folder that holds the data sets; empty: LMMOE_DATA.
    root: str = ""
    # Empty: all that are present.
    entities: list[str] = []
    # Options for own data (`lmmoe.data.own`).
    reading: dict[str, Any] = {}
    # Name: settings that differ from its defaults. "NAME / words" runs a detector a second time,
    # with other settings.
    detectors: Settings = Field(
        {"LightMMoE": {}, "MTSExample": {}, "PCA": {}, "random": {}}, min_length=1
    )
    protocols: list[Literal["ours", "study"]] = Field(["ours", "study"], min_length=1)
    seeds: list[int] = Field([0], min_length=1)
    # Empty: one with all; see `plan`.
    passes: list[Pass] = []
    # The widest buffer of VUS in rows; one for all data, fixed beforehand.
    vus_window: int = Field(100, ge=0)

    @field_validator("detectors")
    @classmethod
    def _with_random(cls, given: Settings) -> Settings:
        """Check names and settings; add random scores.

        A point-adjusted number means nothing without that of random scores.
        """
        first: dict[str, str] = {}
        for name, settings in given.items():
            if "seed" in settings:
                raise ValueError(f"{name}.seed: give 'seeds', which hold for all")
            try:
                detectors.detector(detector_of(name), **settings)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            # The row of two labels for one run could not say which of them it is.
            run = json.dumps([detector_of(name), settings], sort_keys=True, default=str)
            if first.setdefault(run, name) != name:
                raise ValueError(f"{name}: the same settings as {first[run]!r}")
        return given | {"random": given.get("random", {})}

    @field_validator("entities", "protocols", "seeds")
    @classmethod
    def _without_repetition(cls, given: list[Any]) -> list[Any]:
        if len(set(given)) < len(given):
            raise ValueError(f"{given}: an entry stands there twice")
        if any(isinstance(each, int) and each < 0 for each in given):
            raise ValueError(f"{given}: whole numbers from 0 on are needed")
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, each in enumerate(self.passes):
            for key in ("detectors", "without", "entities", "protocols", "seeds"):
                known = getattr(self, "detectors" if key == "without" else key)
                # No entities named means all that are there, which `present` looks at.
                for value in (getattr(each, key) or []) if known or key != "entities" else []:
                    if value not in known:
                        raise ValueError(
                            f"passes[{number}].{key}: {value!r} is not among the profile's"
                        )
        data.check_options(self.dataset, self.reading)
        return self

    def plan(self, entity: str) -> list[tuple[str, str, int]]:
        """Give detector, protocol and seed of each run on an entity, in the order of the passes.

        Each pass narrows ``detectors`` (or leaves some out: ``without``), ``protocols``, ``seeds``
        and ``entities``; no run comes twice. Random scores are in each. A detector without a
        random part is run with the first seed alone.
        """
        found: dict[tuple[str, str, int], None] = {}
        for given in self.passes or [Pass()]:
            if given.entities and entity not in given.entities:
                continue
            for name in dict.fromkeys([*(given.detectors or self.detectors), "random"]):
                if name in given.without and name != "random":
                    continue
                seeded = detectors.entry(detector_of(name)).cls.seeded
                seeds = given.seeds or self.seeds if seeded else self.seeds[:1]
                found |= dict.fromkeys(product([name], given.protocols or self.protocols, seeds))
        return list(found)

    @property
    def present(self) -> list[str]:
        """The entities to report on; raises `DataError` where one, or all, are missing."""
        name, root = self._place
        there = data.entities(name, root)
        named = chain(self.entities, *(given.entities or [] for given in self.passes))
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
    """Read a profile; a path counts from the project's root.

    ``base`` names another profile in the same folder, whose keys hold where this one is silent.
    Raises `DataError` for an unknown key, a wrong type or a bad value, each named.
    """
    path = paths.home() / path
    values = _values(path)
    if "base" in values:
        base = path.parent / str(values.pop("base"))
        given = _values(base)
        if "base" in given:
            raise DataError("a base with a base of its own", file=path, hint=f"See {base.name}")
        given.pop("profile", None)  # it names the base's folders
        values = given | values
    try:
        return Profile(**({"profile": path.stem} | values))
    except ValidationError as error:
        raise DataError("; ".join(map(_problem, error.errors())), file=path) from error
    except ValueError as error:  # a DataError among them
        raise DataError(str(error), file=path) from error


def _problem(found: dict[str, Any]) -> str:
    """Put one of pydantic's errors into a line: where, what, and the value."""
    place = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        return f"unknown key {place!r}, known: {', '.join(Profile.model_fields)}"
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}".removeprefix(": ")
    return f"{place}={found['input']!r}: {found['msg']}"


def _values(path: Path) -> dict[str, Any]:
    """The keys and values of a file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.yaml")))
        raise DataError("no such profile", file=path, hint=f"There are {there}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not YAML ({error})", file=path) from error
    values = {} if values is None else values  # an empty file: all defaults
    if not isinstance(values, dict):
        raise DataError("expected lines of the form 'key: value'", file=path)
    return values
