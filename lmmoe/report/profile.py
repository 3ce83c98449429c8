"""Profiles: the files in ``params/``, closed and typed. The defaults are the embedded run."""

from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lmmoe import data, detectors, paths
from lmmoe.errors import DataError
from lmmoe.report.names import detector_of

Settings = dict[str, dict[str, Any]]
CLOSED = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)
DEFAULT = ("ThreeViews", "PCA windows EWMA", "LightMMoE", "MTSExample")


class Pass(BaseModel):
    """A part of a profile's runs: what is not named is taken whole, but for ``without``."""

    model_config = CLOSED
    detectors: list[str] | None = None
    without: list[str] = []
    entities: list[str] | None = None
    protocols: list[str] | None = None
    seeds: list[int] | None = None


class Profile(BaseModel):
    """What one report is made from."""

    model_config = CLOSED
    profile: str = Field("quick", pattern=r"^\w[\w.-]*$")  # names the output folders
    dataset: str = "synthetic"  # a name (smd, asd, ...) or the path of a folder with own data
    root: str = ""  # the folder that holds the data sets; empty: LMMOE_DATA
    entities: list[str] = []  # empty: all that are present
    reading: dict[str, Any] = {}  # options for own data (`lmmoe.data.own`)
    # Name: settings that differ from its defaults. "NAME / words" runs a detector a second time,
    # with other settings. Random scores are added: no point-adjusted number means much without.
    detectors: Settings = Field(dict.fromkeys(DEFAULT, {}), min_length=1)
    protocols: list[Literal["ours", "study"]] = Field(["ours"], min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    passes: list[Pass] = []  # empty: one with all; see `plan`
    vus_window: int = Field(100, ge=0)  # VUS's widest buffer in rows; one for all, fixed before

    @field_validator("detectors")
    @classmethod
    def _check_detectors(cls, given: Settings) -> Settings:
        seen = []
        for name, settings in given.items():
            run = detector_of(name), settings
            if "seed" in settings:
                raise ValueError(f"{name}.seed: give 'seeds', which hold for all")
            if run in seen:  # a row could not say which of the two it is
                raise ValueError(f"{name}: these settings stand there twice")
            seen.append(run)
            if settings or run[0] not in detectors.PRESETS:  # else no class needs to be imported
                try:
                    detectors.detector(run[0], **settings)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        return given | {"random": given.get("random", {})}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for number, each in enumerate(self.passes):
            for key, values in each.model_dump(exclude_none=True).items():
                known = getattr(self, "detectors" if key == "without" else key)
                wrong = [value for value in values if value not in known]
                # No entities named means all that are there, which `present` looks at.
                if wrong and (known or key != "entities"):
                    raise ValueError(f"passes[{number}].{key}: {wrong[0]!r} is not the profile's")
        data.check_options(self.dataset, self.reading)
        return self

    def plan(self, entity: str) -> list[tuple[str, str, int]]:
        """Give detector, protocol and seed of each run on an entity, once, in the order of passes.

        Random scores are in each pass. A detector without a random part has the first seed alone.
        """
        found: dict[tuple[str, str, int], None] = {}
        for given in self.passes or [Pass()]:
            if entity not in (given.entities or [entity]):
                continue
            for name in dict.fromkeys([*(given.detectors or self.detectors), "random"]):
                if name in given.without and name != "random":
                    continue
                seeded = detectors.entry(detector_of(name)).cls.seeded
                seeds = given.seeds or self.seeds if seeded else self.seeds[:1]
                found |= dict.fromkeys(product([name], given.protocols or self.protocols, seeds))
        return list(found)

    @cached_property
    def _own(self) -> dict[str, str | bool]:
        """Of own data: why an entity cannot be read, or whether it can be judged."""
        found, (name, root) = {}, self._place
        own = self.dataset not in data.DATASETS
        for entity in self.entities or data.entities(name, root) if own else ():
            try:
                found[entity] = self.load(entity).judgeable
            except DataError as error:
                found[entity] = str(error)
        return found

    @property
    def unreadable(self) -> dict[str, str]:
        """Entities of own data that cannot be read, with the reason: a report is without them."""
        return {entity: why for entity, why in self._own.items() if isinstance(why, str)}

    @property
    def labelled(self) -> bool:
        """Whether anything can be judged."""
        return self.dataset in data.DATASETS or True in self._own.values()

    @property
    def left_out(self) -> tuple[str, ...]:
        """The notebooks that a report is without: those about labels, where there are none."""
        return () if self.labelled else ("03_ablation", "05_comparison", "06_evaluation_pitfalls")

    @property
    def present(self) -> list[str]:
        """The entities to report on; raises `DataError` where one is missing, or none is left."""
        name, root = self._place
        there = data.entities(name, root)
        named = chain(self.entities, *(given.entities or [] for given in self.passes))
        missing = [entity for entity in dict.fromkeys(named) if entity not in there]
        if missing or not there:
            lack = f"no {', '.join(missing) or 'entities'} of {name!r} here"
            raise DataError(lack, file=data.data_root(root), hint=data.missing_hint(name))
        chosen = dict.fromkeys(self.entities or there)
        if not (good := [entity for entity in chosen if entity not in self.unreadable]):
            raise DataError(next(iter(self.unreadable.values())))
        return good

    def load(self, entity: str) -> data.Series:
        """Read one entity."""
        name, root = self._place
        return data.load(name, entity, root, **self.reading)

    def named(self, plain: str) -> str:
        """The entity whose jobs and files bear the name ``plain``; others' names as they are."""
        found = data.entities(*self._place)
        return next((entity for entity in found if paths.plain(entity) == plain), plain)

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


def load(path: str | Path) -> Profile:
    """Read a profile; a path counts from the project's root.

    ``base`` names another profile in the same folder, whose keys hold where this one is silent.
    Raises `DataError` for an unknown key, a wrong type or a bad value, each named.
    """
    path = paths.home() / path
    values = {"profile": path.stem} | _values(path)
    if base := values.pop("base", None):
        values = _values(path.parent / str(base)) | values
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise DataError("; ".join(map(_problem, error.errors())), file=path) from error


def _problem(found: dict[str, Any]) -> str:
    place = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        return f"unknown key {place!r}, known: {', '.join(Profile.model_fields)}"
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}".removeprefix(": ")
    return f"{place}={found['input']!r}: {found['msg']}"


def _values(path: Path) -> dict[str, Any]:
    """The keys and values of a file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}  # empty: all defaults
    except OSError as error:
        there = ", ".join(sorted(file.name for file in path.parent.glob("*.yaml")))
        raise DataError("no such profile", file=path, hint=f"There are {there}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not YAML ({error})", file=path) from error
    if not isinstance(values, dict):
        raise DataError("expected lines of the form 'key: value'", file=path)
    return values
