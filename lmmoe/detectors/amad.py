"""AMAD: a multi-scale network and an isolation forest, with the study's mistakes or without."""

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lmmoe import training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.isolation import IsolationForest
from lmmoe.detectors.neural import Neural, prefixed
from lmmoe.detectors.smoothing import smoothed, unit
from lmmoe.networks.amad import MultiScale
from lmmoe.networks.descent import FlatDescent
from lmmoe.networks.losses import absolute_and_squared

ERROR, HEADS = 0.6, (0.3, 0.1)  # weights in the network's score
NETWORK, FOREST = 0.7, 0.3  # weights of the network's score and of the forest
AVERAGE = (0.25, 0.5, 0.25)
HIGH, RAISED = 0.9, 1.2  # scores above this quantile are multiplied
TINY = 1e-12  # a range of 0 is replaced by it
SWITCHES = ("heads", "wrong_sign", "centred", "test_scaled")


@register("AMAD", window=48, epochs=40, batch=16, patience=10)
@register(
    "AMAD-corrected",
    window=48,
    epochs=40,
    batch=16,
    patience=10,
    heads=False,
    wrong_sign=False,
    centred=False,
    test_scaled=False,
)
class AMAD(Neural):
    """The study's adaptive multi-scale detector; each of its mistakes is a switch.

    `lmmoe.networks.amad.MultiScale` rebuilds the mean of a window's rows, per channel and in
    z-scores. An isolation forest (scikit-learn's defaults: 100 trees, 256 samples) learns what it
    rebuilds of the training windows, standardised. Training, by the study: windows every 6 rows,
    the loss `lmmoe.networks.losses.absolute_and_squared` over each batch, AdamW with weight decay
    1e-4, a cosine from the learning rate to 1e-6 in 30 epochs (after which it rises again),
    gradients clipped at norm 1, 40 epochs unless the training loss has not fallen for 10; the best
    epoch's weights are kept. Other settings: `Neural`'s.

    Score of a row, whose window is padded on the left with zeros (the training mean): 0.6 times the
    mean over channels of its squared distance from the rebuilt mean; a moving average
    (1/4, 1/2, 1/4); 0.7 times that plus 0.3 times what the forest says. The switches, all on in
    "AMAD", all off in "AMAD-corrected"; the training is the same for both:

    - ``heads``: 0.3 and 0.1 times the two sigmoid heads are added, though no loss trains them: they
      are random functions of the features.
    - ``wrong_sign``: the forest's decision function is added as it is, though it is higher for
      normal rows; else 1 minus it.
    - ``centred``: the average is centred and sees a row ahead; else it is over the last three rows.
    - ``test_scaled``: the forest's part is scaled to 0..1 over the rows being scored, the sum too,
      and what is above its 0.9 quantile there is multiplied by 1.2, and clipped at 1. A score then
      depends on later rows, and a threshold set on some rows says nothing on others. Else the
      training rows give the forest's range, and the sum stays as it is: scaling and raising it
      would change no order, clipping only make ties.

    The forest's contamination, 0.1 in the study, shifts its decision function alone, and scaling
    takes the shift away.
    """

    name = "AMAD"
    horizon = 0
    stride = 6
    watch = "training"

    def __init__(
        self,
        *,
        heads: bool = True,
        wrong_sign: bool = True,
        centred: bool = True,
        test_scaled: bool = True,
        **others: object,
    ) -> None:
        super().__init__(**others)
        self.heads, self.wrong_sign = heads, wrong_sign
        self.centred, self.test_scaled = centred, test_scaled

    @property
    def rescales(self) -> bool:
        """Whether scores are scaled over the rows given, as ``test_scaled`` does."""
        return self.test_scaled

    @property
    def unscored(self) -> int:
        """0: the first rows' windows are padded."""
        return 0

    @property
    def min_rows(self) -> int:
        """Fewest rows that it can be fitted on, and can score: two training windows."""
        return self.window + self.stride

    def rescored(self, X: npt.ArrayLike, **switches: bool) -> Floats:
        """Score rows ``(t, c)`` with some switches changed and the training as it is: ``(t,)``.

        ``rescored(X, heads=False)`` says what the heads cost. Raises as `decision_function`, and
        `ValueError` for what is no switch.
        """
        unknown = sorted(set(switches) - set(SWITCHES))
        if unknown:
            raise ValueError(f"no switch {unknown[0]!r}: there are {', '.join(SWITCHES)}")
        chosen = {name: getattr(self, name) for name in SWITCHES} | switches
        return self._mixed(*self._parts(self._fitted_rows(X)), **chosen)

    def _build(self, channels: int, generator: torch.Generator | None = None) -> MultiScale:
        return MultiScale(channels=channels, window=self.window, generator=generator)

    def _learner(
        self, network: MultiScale, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return absolute_and_squared(network(windows, generator) - windows.mean(dim=2))

        cosine = torch.optim.lr_scheduler.CosineAnnealingLR
        return FlatDescent(
            network,
            loss,
            torch.optim.AdamW,
            learning_rate=self.learning_rate,
            weight_decay=1e-4,
            clip=1.0,
            schedule=partial(cosine, T_max=30, eta_min=1e-6),
        )

    def _fit(self, rows: Floats) -> None:
        super()._fit(rows)
        windows, _ = training.examples(self._scaled(rows)[: self._cut(len(rows))], self.plan)
        means = torch.cat(list(training.outputs(self.network, windows)))
        self._forest = IsolationForest(held_out=0.0, seed=self.seed)
        self._forest.fit(means.cpu().double().numpy())
        normality = -self._forest.decision_scores_
        self._range = np.array([normality.min(), normality.max()])

    def _late_scores(self, rows: Floats) -> Floats:
        switches = {name: getattr(self, name) for name in SWITCHES}
        return self._mixed(*self._parts(rows), **switches)

    @torch.inference_mode()
    def _parts(self, rows: Floats) -> tuple[Floats, Floats, Floats]:
        """What a score is made of: squared error ``(t,)``, heads ``(t, 2)``, forest ``(t,)``."""
        scaled = self._scaled(rows)
        padded = torch.cat([scaled.new_zeros(self.window - 1, scaled.shape[1]), scaled])
        features = [
            self.network.features(part)
            for part in training.windows(padded, self.window).split(training.BATCH)
        ]
        features = torch.cat(features)
        rebuilt = self.network.rebuilt(features)
        errors = (scaled - rebuilt).square().mean(dim=1)
        rebuilt, errors, heads = (
            each.cpu().double().numpy()
            for each in (rebuilt, errors, self.network.guesses(features))
        )
        return errors, heads, -self._forest._score(rebuilt)

    def _mixed(
        self,
        errors: Floats,
        guesses: Floats,
        normality: Floats,
        *,
        heads: bool,
        wrong_sign: bool,
        centred: bool,
        test_scaled: bool,
    ) -> Floats:
        """Bring the parts together to scores ``(t,)``."""
        own = ERROR * errors + (guesses @ HEADS if heads else 0)
        low, high = self._range
        forest = unit(normality) if test_scaled else (normality - low) / max(high - low, TINY)
        mixed = NETWORK * smoothed(own, AVERAGE, centred=centred)
        mixed = mixed + FOREST * (forest if wrong_sign else 1 - forest)
        if not test_scaled:
            return mixed
        scaled = unit(mixed)
        raised = np.where(scaled > np.quantile(scaled, HIGH), RAISED * scaled, scaled)
        return np.minimum(raised, 1.0)

    def _state(self) -> dict[str, np.ndarray]:
        forest = {f"forest.{name}": array for name, array in self._forest._state().items()}
        return super()._state() | forest | {"range": self._range}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        super()._restore(state)
        self._range = state["range"]
        self._forest = IsolationForest(held_out=0.0, seed=self.seed)
        self._forest._restore(prefixed(state, "forest."))
