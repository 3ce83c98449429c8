"""Classical methods: principal components, autoregression, neighbours, centres, isolation."""

import warnings
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lmmoe.detectors.base import Arrays, Detector, First, Positive, Share, Whole, blocks, windows
from lmmoe.detectors.scaling import Floats, ewma


class PCA(Detector):
    """Rebuild each scaled row from ``components`` main directions; score what fails.

    Source: Sarfraz et al., "Position: Quo Vadis, Unsupervised Time Series Anomaly Detection?"
    (ICML 2024), baseline "PCA error": 10 components for up to 50 channels, min-max scaled rows, the
    highest absolute error over channels (``score="max"``). ``score="mean"`` takes the mean of the
    squared errors. Channel scores are the absolute errors.
    """

    name = "PCA"
    seeded = False

    held_out: Share = 0.1
    components: Whole = 10
    score: Literal["max", "mean"] = "max"
    scaling: Literal["z-score", "min-max"] = "min-max"

    def _learn(self, scaled: Floats) -> Arrays:
        return principal(scaled, 1, self.components)

    def _score_channels(self, rows: Floats) -> Floats:
        return np.abs(remainder(self._scaling(rows), 1, self._learned))

    def _score_rows(self, rows: Floats) -> Floats:
        errors = self._score_channels(rows)
        return errors.max(axis=1) if self.score == "max" else (errors**2).mean(axis=1)


class PCAWindows(Detector):
    """Rebuild each window of ``window`` z-scored rows from ``components`` main directions.

    Score of a row: the mean over channels of the absolute error in the last row of the window that
    ends there, smoothed by `lmmoe.detectors.scaling.ewma`. PCA as a detector: Shyu et al. (ICDM
    workshop 2003); of windows: Broomhead and King (Physica D 1986). 16 rows, 30 components and an
    ``ewma`` of 0.2 were singled out by trials on SMD: they are no blind choice there.
    """

    name = "PCA windows"
    seeded = False

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    components: Whole = 30
    ewma: Share = 0.0

    def _learn(self, scaled: Floats) -> Arrays:
        return principal(scaled, self.window, self.components)

    def _score_channels(self, rows: Floats) -> Floats:
        errors = np.abs(remainder(self._scaling(rows), self.window, self._learned))
        return ewma(errors, self.ewma)


def principal(rows: Floats, window: int, components: int) -> Arrays:
    """Mean and main directions of the windows of rows ``(t, c)``, with n = w * c values each.

    "mean" ``(n,)``; "directions" ``(k, n)``, orthonormal, by falling variance. k is ``components``,
    or fewer: n of them would rebuild everything, and a step of a constant channel must not be.
    """
    mean = windows(rows, window).mean(axis=0)
    covariance = np.zeros((len(mean), len(mean)))
    for block in blocks(rows, window):
        block -= mean
        covariance += block.T @ block
    variances, vectors = np.linalg.eigh(covariance)  # rising
    rounding = len(mean) * np.finfo(np.float64).eps * variances[-1]  # as matrix_rank has it
    kept = min(components, len(mean) - 1, np.count_nonzero(variances > rounding))
    return {"mean": mean, "directions": vectors[:, ::-1][:, :kept].T.copy()}


def remainder(rows: Floats, window: int, learned: Arrays) -> Floats:
    """What the directions of `principal` leave of each window's last row, ``(t - w + 1, c)``."""
    directions, mean, channels = learned["directions"], learned["mean"], rows.shape[1]
    count, parts = len(rows) - window + 1, np.split(directions, window, axis=1)
    main = np.tile(-directions @ mean, (count, 1))  # (t - w + 1, k)
    for lag, part in enumerate(parts):  # so no window is copied
        main += rows[lag : lag + count] @ part.T
    return rows[window - 1 :] - mean[-channels:] - main @ parts[-1]


class RidgeVAR(Detector):
    """Vector autoregression: each row is forecast linearly from the ``order`` rows before it.

    Score: the mean over channels of the squared error in z-scores. Sources: Luetkepohl, "New
    Introduction to Multiple Time Series Analysis" (2005), section 3.2, for the model; Hoerl and
    Kennard (Technometrics 1970) for the penalty. The coefficients B ``(order * c, c)`` solve
    (X'X + n ``penalty`` I) B = X'Y over n centred windows X and the rows Y after them, which equals
    noise of variance ``penalty`` on every input (Bishop, Neural Computation 1995).
    """

    name = "ridge VAR"
    seeded = False
    horizon = 1
    window = property(lambda self: self.order)

    held_out: Share = 0.1
    first_scores: First = "lowest"
    order: Whole = 16
    penalty: Positive = 0.01

    def _learn(self, scaled: Floats) -> Arrays:
        from scipy.linalg import solve
        from threadpoolctl import threadpool_limits

        inputs, channels = self.order * scaled.shape[1], scaled.shape[1]
        count = len(scaled) - self.order
        # The rows after the windows stand behind them, so one sum gives both sides.
        both = np.zeros((inputs, inputs + channels))
        mean = np.concatenate([scaled[i : i + count].mean(axis=0) for i in range(self.order + 1)])
        for block in blocks(scaled, self.order + 1):
            block -= mean
            both += block[:, :inputs].T @ block
        left, right = both[:, :inputs], both[:, inputs:]
        left[np.diag_indices(inputs)] += self.penalty * count
        # On several threads, OpenBLAS' Cholesky crashes at some 15,600 columns.
        with threadpool_limits(1):
            weights = solve(left, right, assume_a="pos")
        return {"weights": weights, "intercept": mean[inputs:] - mean[:inputs] @ weights}

    def _score_channels(self, rows: Floats) -> Floats:
        scaled, weights = self._scaling(rows), self._learned["weights"]
        forecasts = [block @ weights for block in blocks(scaled[:-1], self.order)]
        errors = scaled[self.order :] - (np.concatenate(forecasts) + self._learned["intercept"])
        return errors**2


class NearestNeighbours(Detector):
    """Euclidean distance of the z-scored row to the nearest learned row.

    With ``neighbours`` above 1: the mean of the distances to so many. Sources: Ramaswamy et al.
    (SIGMOD 2000); Sarfraz et al. (ICML 2024), baseline "1-NN distance". A learned row is its own
    neighbour. A channel's score is its squared difference to the neighbour.
    """

    name = "1-NN"
    seeded = False
    min_rows = property(lambda self: self.neighbours)

    held_out: Share = 0.1
    neighbours: Whole = 1

    def _learn(self, scaled: Floats) -> Arrays:
        return {"rows": scaled}

    def _squares(self, rows: Floats) -> list[Floats]:
        """Squared differences ``(t, c)`` to each of the nearest learned rows."""
        from sklearn.neighbors import NearestNeighbors

        scaled, learned = self._scaling(rows), self._learned["rows"]
        # Not a tree: in 38 channels it has to look at nearly every row, four times slower.
        search = NearestNeighbors(n_neighbors=self.neighbours, algorithm="brute").fit(learned)
        numbers = search.kneighbors(scaled, return_distance=False)
        # Its own distances, made of products, are off by rounding far from the mean.
        return [(scaled - learned[nearest]) ** 2 for nearest in numbers.T]

    def _score_channels(self, rows: Floats) -> Floats:
        return np.mean(self._squares(rows), axis=0)

    def _score_rows(self, rows: Floats) -> Floats:
        return np.mean([np.sqrt(each.sum(axis=1)) for each in self._squares(rows)], axis=0)


class KMeansAD(Detector):
    """Euclidean distance of the window that ends at the row to the nearest of ``clusters`` centres.

    Source: KMeansAD, Yairi et al. (2001), as in Schmidl et al. (VLDB 2022), but causal: not the
    mean over all windows that hold the row. A channel's score is its squared distance.
    """

    name = "k-means"

    held_out: Share = 0.1
    first_scores: First = "lowest"
    window: Whole = 16
    clusters: Whole = 50

    def _learn(self, scaled: Floats) -> Arrays:
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        flat = windows(scaled, self.window).astype(np.float32)  # half the memory
        clusters = min(self.clusters, len(flat))
        search = MiniBatchKMeans(clusters, n_init=1, random_state=self.seed)
        # Fewer distinct windows than clusters: some centres are equal, which harms nothing.
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
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


class IsolationForest(Detector):
    """Isolation forest on z-scored rows: 2^(-E[h] / c(samples)), from 0 to 1.

    Source: Liu, Ting and Zhou, "Isolation Forest" (ICDM 2008), equations 1 and 2: h is the depth at
    which a tree of random cuts isolates the row, plus c(n) for the n training rows in its leaf.
    Built by scikit-learn; the trees are kept as arrays, which a file can hold.
    """

    name = "IsolationForest"
    min_rows = 2

    held_out: Share = 0.1
    trees: Whole = 100
    samples: Annotated[int, Field(ge=2)] = 256

    def _learn(self, scaled: Floats) -> Arrays:
        from sklearn import ensemble

        samples = min(self.samples, len(scaled))
        how = {"n_estimators": self.trees, "max_samples": samples, "random_state": self.seed}
        trees = [made.tree_ for made in ensemble.IsolationForest(**how).fit(scaled).estimators_]
        counts = [tree.node_count for tree in trees]
        roots = np.cumsum([0, *counts])[:-1]

        def nodes(name: str) -> np.ndarray:
            return np.concatenate([getattr(tree, name) for tree in trees])

        leaf, own, first = nodes("children_left") < 0, np.arange(sum(counts)), roots.repeat(counts)
        depth = np.concatenate([tree.compute_node_depths() for tree in trees]) - 1
        return {  # a leaf is its own child, so that all rows take equal steps
            "low": np.where(leaf, own, nodes("children_left") + first),
            "high": np.where(leaf, own, nodes("children_right") + first),
            "channel": np.where(leaf, 0, nodes("feature")),
            "cut": np.where(leaf, 0.0, nodes("threshold")),
            "path": depth + expected_depth(nodes("n_node_samples")),  # h of a row that ends here
            "roots": roots,
            "steps": depth.max(keepdims=True),
            "unit": expected_depth(np.array([samples])),
        }

    def _score_rows(self, rows: Floats) -> Floats:
        tree, number, total = self._learned, np.arange(len(rows)), np.zeros(len(rows))
        # scikit-learn cuts single-precision values; other rounding would change sides at a cut.
        scaled = self._scaling(rows).astype(np.float32)
        for root in tree["roots"]:
            node = np.full(len(rows), root)
            for _ in range(min(int(tree["steps"][0]), len(tree["low"]))):
                low = scaled[number, tree["channel"][node]] <= tree["cut"][node]
                node = np.where(low, tree["low"][node], tree["high"][node])
            total += tree["path"][node]
        return 2 ** (-(total / len(tree["roots"])) / tree["unit"])


def expected_depth(rows: np.ndarray) -> Floats:
    """Mean depth c(n) of an unsuccessful search in a binary tree of n rows (equation 1)."""
    count = np.maximum(rows, 3).astype(np.float64)
    depth = 2 * (np.log(count - 1) + np.euler_gamma) - 2 * (count - 1) / count
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, depth))
