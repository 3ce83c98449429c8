"""Detectors by name."""

from collections import namedtuple
from importlib import import_module

from lmmoe.detectors.base import Detector

__all__ = ["PRESETS", "Detector", "detector", "entry", "names"]

_AMAD = {"window": 48, "epochs": 40, "batch": 16, "patience": 10}  # as the study set it
_CORRECTED = {"heads": False, "wrong_sign": False, "centred": False, "test_scaled": False}
_MIXER = {"window": 96, "epochs": 100, "batch": 16, "patience": 10}
_LIGHTER = {"window": 48, "epochs": 30, "batch": 8, "patience": 8}
_PLAIN = {"expert_dropout": 0.0, "tower_dropout": 0.0, "batch": 128}
_CAD = _PLAIN | {"experts": 3, "tower": 128, "shared": 0.0, "epochs": 8}
_CAD_FSE23 = (
    _PLAIN
    | {"experts": 5, "kernels": 16, "hidden": 256, "out": 128, "tower": 32}
    | {"horizon": 3, "scaling": "none", "epochs": 10}
)
_HMMOE = (
    {"experts": 8, "kernels": [16, 32], "hidden": [256, 128], "out": 128, "tower": [32, 16]}
    | {"shared": 0.8, "temperature": True, "normalise": True, "init": "xavier"}
    | {"expert_dropout": 0.25, "tower_dropout": 0.15, "weight_decay": 1e-4, "clip": 1.0}
    | {"window": 20, "epochs": 12, "batch": 32, "learning_rate": 5e-4, "plateau": True}
)

# Name: class, in this package, and the settings that differ from the class's defaults.
PRESETS: dict[str, tuple[str, dict[str, object]]] = {
    "1-NN": ("classical.NearestNeighbours", {}),
    "AMAD": ("amad.AMAD", _AMAD),
    "AMAD-corrected": ("amad.AMAD", _AMAD | _CORRECTED),
    "CAD": ("mixture.Mixture", _CAD),
    "CAD-as-run": ("mixture.CADAsRun", {"epochs": 8, "batch": 32}),
    "CAD-FSE23": ("mixture.Mixture", _CAD_FSE23),
    "HMMoE": ("mixture.Mixture", _HMMOE),
    "IsolationForest": ("classical.IsolationForest", {}),
    "k-means": ("classical.KMeansAD", {}),
    "L2 min-max": ("baselines.L2MinMax", {}),
    "last value": ("baselines.MovingAverage", {"window": 1}),
    "LightMMoE": ("mixture.Mixture", {}),
    "linear": ("neural.Linear", {}),
    "LSTM-AE": ("autoencoders.LSTMAE", {"window": 30, "epochs": 30}),
    "moving average": ("baselines.MovingAverage", {}),
    "MTSExample": ("baselines.MTSExample", {}),
    "MTSMixer": ("autoencoders.MTSMixer", _MIXER),
    "MTSMixerLighter": ("autoencoders.MTSMixerLighter", _LIGHTER),
    "PCA": ("classical.PCA", {}),
    "PCA windows": ("classical.PCAWindows", {}),
    "PCA windows EWMA": ("classical.PCAWindows", {"ewma": 0.2}),
    "PCA z-score": ("classical.PCA", {"scaling": "z-score"}),
    "random": ("baselines.Random", {}),
    "range deviation": ("baselines.RangeDeviation", {}),
    "ridge VAR": ("classical.RidgeVAR", {}),
    "row index": ("baselines.RowIndex", {}),
    "SmartSimpleAD": ("baselines.SmartSimpleAD", {}),
    "ThreeViews": ("three_views.ThreeViews", {}),
    "ThreeViews + D": ("three_views.ThreeViews", {"views": "ABCD"}),
    "ThreeViews prompt": ("three_views.ThreeViews", {"smoothing": 1.0}),
    "untrained LightMMoE": ("mixture.Mixture", {"epochs": 0}),
    "USAD": ("autoencoders.USAD", {"epochs": 30, "batch": 256}),
}


_Entry = namedtuple("_Entry", ["cls", "settings"])


def names() -> tuple[str, ...]:
    """The names of all detectors."""
    return tuple(sorted(PRESETS, key=str.lower))


def entry(name: str) -> _Entry:
    """The class and the preset settings behind a name.

    A name with a dot is the import path of a class: your own `Detector`, or another package's
    (`lmmoe.detectors.imported`). Raises `ValueError` for a name that does not exist.
    """
    if name in PRESETS:
        path, settings = PRESETS[name]
        module, _, cls = path.partition(".")
        return _Entry(getattr(import_module(f"{__name__}.{module}"), cls), settings)
    if "." in name:
        from lmmoe.detectors.imported import imported  # only when it is asked for

        return _Entry(imported(name), {})
    raise ValueError(f"no detector {name!r}: there are {', '.join(names())}")


def detector(name: str, *, seed: int = 0, **settings: object) -> Detector:
    """Make a detector: ``detector("LightMMoE", epochs=3)``; `ValueError` for bad settings."""
    cls, preset = entry(name)
    made = cls.__new__(cls)
    made.name = name  # before the settings are checked: a refusal names the preset, not its class
    made.savable = name in PRESETS  # a file may name no other
    made.__init__(seed=seed, **(preset | settings))
    return made
