"""The distance to the nearest rows, or windows, seen in training."""

import warnings

import numpy as np

from lmmoe.detectors.base import Detector, First, Share, Whole, blocks, windows
from lmmoe.detectors.scaling import Floats


class NearestNeighbours(Detector):
    """Euclidean distance of the z-scored row to the nearest learned row.

    With ``neighbours`` above 1: the mean of the distances to so many. Source: Ramaswamy et al.
    (SIGMOD 2000) for the distance as a score; Sarfraz et al. (ICML 2024), baseline "1-NN distance".
    A learned row is its own neighbour, so only held-out and new rows have a fair score. The model
    is the learned rows themselves. A channel's score is its squared difference to the neighbour.
    """

    name = "1-NN"
    seeded = False

    held_out: Share = 0.1
    neighbours: Whole = 1

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

    def _score_channels(self, rows: Floats) -> Floats:
        return np.mean(self._squares(rows), axis=0)

    def _score_rows(self, rows: Floats) -> Floats:
        return np.mean([np.sqrt(each.sum(axis=1)) for each in self._squares(rows)], axis=0)


class KMeansAD(Detector):
    """Euclidean distance of the window that ends at the row to the nearest of ``clusters`` centres.

    Source: KMeansAD, Yairi et al. (2001), as in Schmidl et al., "Anomaly Detection in Time Series:
    A Comprehensive Evaluation" (VLDB 2022); a row has the distance of one window, not the mean
    over all that hold it, so that the score is causal. Windows of ``window`` z-scored rows, stride
    1. Centres: scikit-learn's MiniBatchKMeans (Sculley, WWW 2010), one start, drawn by ``seed``.
    A channel's score is its squared distance to the centre over the window.
    """

    name = "k-means"

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    clusters: Whole = 50

    @property
    def unscored(self) -> int:
        """Rows before the last one of the first window."""
        return self.window - 1

    def _learn(self, scaled: Floats) -> dict[str, np.ndarray]:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        flat = windows(scaled, self.window).astype(np.float32)  # half the memory
        clusters = min(self.clusters, len(flat))
        search = MiniBatchKMeans(clusters, n_init=1, random_state=self.seed)
        with warnings.catch_warnings():
            # Fewer distinct windows than clusters: some centres are equal, which harms nothing.
            warnings.simplefilter("ignore", ConvergenceWarning)
            search.fit(flat)
        return {"centres": search.cluster_centers_.astype(np.float64)}

    def _score_channels(self, rows: Floats) -> Floats:
        centres = self._learned["centres"]
        sizes = (centres**2).sum(axis=1)
        errors = []
        for block in blocks(self._scaling(rows), self.window):
            # |x - m|^2 less |x|^2, which is the same for every centre m.
            nearest = (sizes - 2 * (block @ centres.T)).argmin(axis=1)
            squares = (block - centres[nearest]) ** 2
            errors.append(squares.reshape(len(block), self.window, -1).sum(axis=1))
        return np.concatenate(errors)

    def _score_rows(self, rows: Floats) -> Floats:
        return np.sqrt(self._score_channels(rows).sum(axis=1))
