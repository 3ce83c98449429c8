"""Training against the MMoE family as one would first write it: as many steps on the same windows.

The obvious program has a module for each expert and each tower, and loops over them.

Ours goes through the public contract: a fit of `EPOCHS` epochs minus one of none, which scales and
scores the training rows all the same. What is left is training alone, whatever it needs to begin
with included. Of the obvious program the steps are timed, but not copying the windows out.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Figures, Row, Spread, in_turn, machine, ratio, seconds
from lmmoe.detectors import detector
from lmmoe.detectors.scaling import Scaling

THREADS = ("one", "all")
STEPS = {"LightMMoE": 500, "CAD": 300, "HMMoE": 100}  # multiples of EPOCHS
LEAST = {"LightMMoE": 8.0, "CAD": 6.0, "HMMoE": 3.0}  # times as fast as the obvious program
EPOCHS = 5  # the study's for LightMMoE


def rows(*, quick: bool) -> Iterator[Row]:
    """One row for each network."""
    for name in STEPS:
        yield _row(name, EPOCHS if quick else STEPS[name], quick=quick)


def _row(name: str, steps: int, *, quick: bool) -> Row:
    given = machine()
    made = detector(name)
    train = given.train[: steps // EPOCHS * made.batch + made.unscored]
    programs = {
        "ours": lambda turn: ours(name, train, turn),
        "obvious": lambda turn: theirs(name, train, turn, steps),
    }
    found = in_turn(programs, 1 if quick else 7, warm=not quick)
    times = {program: found[program]["seconds"] for program in programs}
    losses = {program: Spread.of(found[program]["loss"]) for program in programs}
    return Row(
        what=f"{name}, {steps} steps, batch {made.batch}",
        unit="s",
        ours=times["ours"],
        yardstick="obvious implementation",
        theirs=times["obvious"],
        compared=ratio(times["obvious"], times["ours"]),
        bound=("at least", LEAST[name]),
        remarks={"rows": given.name, "loss afterwards, over seeds": losses},
    )


def ours(name: str, train: np.ndarray, seed: int, **settings: object) -> Figures:
    """Seconds of training, and the mean squared error of the rows afterwards."""
    settings |= {"held_out": 0.0, "seed": seed}
    untrained = detector(name, epochs=0, **settings)
    trained = detector(name, epochs=EPOCHS, **settings)
    around = seconds(lambda: untrained.fit(train))
    whole = seconds(lambda: trained.fit(train))
    loss = trained.decision_scores_[trained.unscored :].mean()
    return {"seconds": whole - around, "loss": loss}


def theirs(name: str, train: np.ndarray, seed: int, steps: int) -> Figures:
    """The same of the obvious program."""
    torch.manual_seed(seed)
    scaled = Scaling.of("z-score", train)(train)
    batches = loader(scaled, name)
    model = Obvious(name, train.shape[1])
    taken = seconds(lambda: train_plainly(model, name, batches, steps))
    model.eval()
    with torch.inference_mode():
        inputs, targets = batches.dataset.tensors
        parts = zip(inputs.split(1024), targets.split(1024), strict=True)
        errors = [(model(part) - target).square().sum() for part, target in parts]
    return {"seconds": taken, "loss": float(sum(errors)) / targets.numel()}


# --- the obvious program ---

SIZES = {
    "LightMMoE": {"experts": 4, "kernels": 8, "hidden": 128, "out": 64, "tower": 16},
    "CAD": {"experts": 3, "kernels": 8, "hidden": 128, "out": 64, "tower": 128},
}
TRAINING = {
    "LightMMoE": {"batch": 64, "window": 16, "lr": 1e-3},
    "CAD": {"batch": 128, "window": 16, "lr": 1e-3},
    "HMMoE": {"batch": 32, "window": 20, "lr": 5e-4, "weight_decay": 1e-4, "clip": 1.0},
}


class Expert(nn.Module):
    """Window-long convolution over each channel, a hidden layer, an output layer."""

    def __init__(
        self, channels: int, window: int, kernels: int, hidden: int, out: int, drop: float
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, kernels, (window, 1))
        self.drop = nn.Dropout(drop)
        self.hidden = nn.Linear(kernels * channels, hidden)
        self.out = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, w, c)`` to ``(b, o)``."""
        maps = self.drop(self.conv(x.unsqueeze(1)).relu()).flatten(1)
        return self.out(self.drop(self.hidden(maps).relu()))


class Tower(nn.Module):
    """Two linear layers for one channel."""

    def __init__(self, out: int, tower: int, drop: float) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(out, tower), nn.Linear(tower, 1)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, o)`` to ``(b, 1)``."""
        return self.head(self.drop(self.inner(x).relu()))


class DeepExpert(nn.Module):
    """HMMoE's expert."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 16, (window, 1)), nn.BatchNorm2d(16)
        self.second, self.norm2 = nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32)
        self.layers = nn.Sequential(
            nn.Linear(32 * channels, 256),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(256, 128),
            nn.LeakyReLU(0.1),
            nn.Dropout(0.25),
            nn.Linear(128, 128),
        )
        self.drop = nn.Dropout(0.25)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, w, c)`` to ``(b, o)``."""
        maps = self.norm(self.first(x.unsqueeze(1))).relu()
        maps = nn.functional.leaky_relu(self.norm2(self.second(maps)), 0.1)
        return self.layers(self.drop(maps).flatten(1))


def deep_tower() -> nn.Module:
    """HMMoE's tower."""
    return nn.Sequential(
        nn.Linear(128, 32),
        nn.LayerNorm(32),
        nn.ReLU(),
        nn.Dropout(0.15),
        nn.Linear(32, 16),
        nn.LeakyReLU(0.1),
        nn.Dropout(0.15),
        nn.Linear(16, 1),
    )


class Obvious(nn.Module):
    """The whole network, one channel after the other."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        window = TRAINING[name]["window"]
        self.deep = name == "HMMoE"
        if self.deep:
            self.experts = nn.ModuleList(DeepExpert(channels, window) for _ in range(8))
            self.towers = nn.ModuleList(deep_tower() for _ in range(channels))
            self.bias, self.temperature = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.ones(()))
        else:
            size = SIZES[name]
            drops = (0.2, 0.1) if name == "LightMMoE" else (0.0, 0.0)
            inner = (size["kernels"], size["hidden"], size["out"])
            self.experts = nn.ModuleList(
                Expert(channels, window, *inner, drops[0]) for _ in range(size["experts"])
            )
            self.towers = nn.ModuleList(
                Tower(size["out"], size["tower"], drops[1]) for _ in range(channels)
            )
        self.share = {"LightMMoE": 0.7, "CAD": 0.0, "HMMoE": 0.8}[name]
        count = len(self.experts)
        self.gates = nn.ParameterList(torch.randn(window, count) for _ in range(channels))
        self.shared_gate = nn.Parameter(torch.randn(window, count)) if self.share else None

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(b, w, c)`` to the forecast of the next row ``(b, c)``."""
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        forecasts = []
        for channel, tower in enumerate(self.towers):
            history = x[:, :, channel]
            logits = (1 - self.share) * history @ self.gates[channel]
            if self.shared_gate is not None:
                logits = logits + self.share * history @ self.shared_gate
            if self.deep:
                logits = (logits + self.bias) / self.temperature
            weights = logits.softmax(dim=1)
            forecasts.append(tower((weights.unsqueeze(2) * outputs).sum(dim=1)))
        return torch.cat(forecasts, dim=1)


def loader(rows: np.ndarray, name: str) -> DataLoader:
    """All windows of scaled rows ``(t, c)``, copied out, with the rows that follow them."""
    window = TRAINING[name]["window"]
    data = torch.from_numpy(rows.astype(np.float32))
    inputs = torch.stack([data[i : i + window] for i in range(len(data) - window)])
    return DataLoader(
        TensorDataset(inputs, data[window:]), batch_size=TRAINING[name]["batch"], shuffle=True
    )


def train_plainly(model: Obvious, name: str, batches: DataLoader, steps: int) -> float:
    """Take so many steps; the mean loss of the last tenth of them."""
    given = TRAINING[name]
    optimiser = torch.optim.Adam(
        model.parameters(), lr=given["lr"], weight_decay=given.get("weight_decay", 0.0)
    )
    model.train()
    losses: list[float] = []
    while len(losses) < steps:
        for windows, target in batches:
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(model(windows), target)
            loss.backward()
            if "clip" in given:
                nn.utils.clip_grad_norm_(model.parameters(), given["clip"])
            optimiser.step()
            losses.append(loss.item())
            if len(losses) == steps:
                break
    return float(np.mean(losses[-max(1, steps // 10) :]))
