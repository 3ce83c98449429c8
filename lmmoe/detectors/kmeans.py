"""The distance of a window to the nearest of a few typical windows."""

import warnings

import numpy as np

from lmmoe import kinds
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.learned import Learned, blocks, windows
from lmmoe.detectors.windowed import Windowed


@register("k-means")
class KMeansAD(Learned, Windowed):
    """Euclidean distance of the window that ends at the row to the nearest of ``clusters`` centres.

    Source: KMeansAD, Yairi et al. (2001), as in Schmidl et al., "Anomaly Detection in Time Series:
    A Comprehensive Evaluation" (VLDB 2022); a row has the distance of one window, not the mean
    over all that hold it, so that the score is causal. Windows of ``window`` z-scored rows, stride
    1. Centres: scikit-learn's MiniBatchKMeans (Sculley, WWW 2010), one start, drawn by ``seed``.
    A channel's score is its squared distance to the centre over the window.
    """

    name = "k-means"

    def __init__(self, *, window: int = 16, clusters: int = 50, **others: object) -> None:
        super().__init__(**others)
        kinds.whole(window=window, clusters=clusters)
        self.window, self.clusters = window, clusters

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

    def _late_channel_scores(self, rows: Floats) -> Floats:
        centres = self._learned["centres"]
        sizes = (centres**2).sum(axis=1)
        errors = []
        for block in blocks(self._scaling(rows), self.window):
            # |x - m|^2 less |x|^2, which is the same for every centre m.
            nearest = (sizes - 2 * (block @ centres.T)).argmin(axis=1)
            squares = (block - centres[nearest]) ** 2
            errors.append(squares.reshape(len(block), self.window, -1).sum(axis=1))
        return np.concatenate(errors)

    def _late_scores(self, rows: Floats) -> Floats:
        return np.sqrt(self._late_channel_scores(rows).sum(axis=1))
