"""The distance to the nearest rows seen in training."""

import numpy as np

from lmmoe import kinds
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.learned import Learned


@register("1-NN")
class NearestNeighbours(Learned):
    """Euclidean distance of the z-scored row to the nearest learned row.

    With ``neighbours`` above 1: the mean of the distances to so many. Source: Ramaswamy et al.
    (SIGMOD 2000) for the distance as a score; Sarfraz et al. (ICML 2024), baseline "1-NN distance".
    A learned row is its own neighbour, so only held-out and new rows have a fair score. The model
    is the learned rows themselves. A channel's score is its squared difference to the neighbour.
    """

    name = "1-NN"
    seeded = False

    def __init__(self, *, neighbours: int = 1, **others: object) -> None:
        super().__init__(**others)
        kinds.whole(neighbours=neighbours)
        self.neighbours = neighbours

    @property
    def min_rows(self) -> int:
        """Fewest rows that it can be fitted on, and can score: as many as neighbours."""
        return self.neighbours

    def _learn(self, scaled: Floats) -> dict[str, np.ndarray]:
        return {"rows": scaled}

    def _nearest(self, scaled: Floats) -> np.ndarray:
        """Find the learned rows nearest to scaled rows ``(t, c)``: numbers ``(t, neighbours)``."""
        from sklearn.neighbors import NearestNeighbors

        # Not a tree: in 38 channels it has to look at nearly every row, four times slower.
        search = NearestNeighbors(n_neighbors=self.neighbours, algorithm="brute")
        return search.fit(self._learned["rows"]).kneighbors(scaled, return_distance=False)

    def _squares(self, rows: Floats) -> list[Floats]:
        """Squared differences ``(t, c)`` to each of the nearest rows.

        Taken from the rows themselves: the search has distances from products, and these are off by
        rounding where rows are near each other and far from the mean.
        """
        scaled = self._scaling(rows)
        learned = self._learned["rows"]
        return [(scaled - learned[nearest]) ** 2 for nearest in self._nearest(scaled).T]

    def _channel_scores(self, rows: Floats) -> Floats:
        return np.mean(self._squares(rows), axis=0)

    def _score(self, rows: Floats) -> Floats:
        return np.mean([np.sqrt(each.sum(axis=1)) for each in self._squares(rows)], axis=0)
