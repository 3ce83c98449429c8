"""What detectors share whose network forecasts rows."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lmmoe import training
from lmmoe.detectors.base import Floats
from lmmoe.detectors.neural import Neural


class Forecaster(Neural):
    """Forecast each row from a window before it.

    Score of a row: the mean over channels of the squared error of its forecast, in scaled units. A
    subclass gives ``_build``: a network from windows ``(b, c, w)`` to rows ``(b, c)``; and
    ``_learner``, if it is not trained on the squared error.
    """

    def _learner(
        self, network: nn.Module, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return mse_loss(network(windows), target)

        return training.Descent(network, loss, training.adam(network, self.learning_rate))

    def forecasts(self, X: Floats) -> Floats:
        """Forecast rows ``unscored`` to the last of ``(t, c)`` in raw units: ``(t - unscored, c)``.

        Raises as `decision_function` does.
        """
        forecast = self._forecasts(self._fitted_rows(X))
        return self._scaling.undone(forecast.cpu().double().numpy())  # MPS has no doubles

    def _forecasts(self, rows: Floats) -> Tensor:
        return torch.cat(list(training.outputs(self.network, self._windows(rows))))

    def _late_channel_scores(self, rows: Floats) -> Floats:
        errors = (self._forecasts(rows) - self._scaled(rows)[self.unscored :]).square_()
        return errors.cpu().double().numpy()
