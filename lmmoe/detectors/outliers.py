"""How far a row, or a window, lies from those seen in training: neighbours, centres, isolation."""

import warnings
from typing import Annotated

import numpy as np
from pydantic import Field

from lmmoe.detectors.base import Arrays, Detector, First, Share, Whole, blocks, windows
from lmmoe.detectors.scaling import Floats


class NearestNeighbours(Detector):
    """Euclidean distance of the z-scored row to the nearest learned row.

    With ``neighbours`` above 1: the mean of the distances to so many. Sources: Ramaswamy et al.
    (SIGMOD 2000); Sarfraz et al. (ICML 2024), baseline "1-NN distance". A learned row is its own
    neighbour. A channel's score is its squared difference to the neighbour.
    """

    name = "1-NN"
    seeded = False

    held_out: Share = 0.1
    neighbours: Whole = 1

    @property
    def min_rows(self) -> int:
        """Fewest rows: as many as neighbours."""
        return self.neighbours

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

    Source: KMeansAD, Yairi et al. (2001), as in Schmidl et al. (VLDB 2022), but a row has the
    distance of one window, not the mean over all that hold it, so that the score is causal. A
    channel's score is its squared distance to the centre over the window.
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
        forest = ensemble.IsolationForest(
            n_estimators=self.trees, max_samples=samples, random_state=self.seed
        )
        trees = [made.tree_ for made in forest.fit(scaled).estimators_]
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
            for _ in range(int(tree["steps"][0])):
                low = scaled[number, tree["channel"][node]] <= tree["cut"][node]
                node = np.where(low, tree["low"][node], tree["high"][node])
            total += tree["path"][node]
        return 2 ** (-(total / len(tree["roots"])) / tree["unit"])


def expected_depth(rows: np.ndarray) -> Floats:
    """Mean depth c(n) of an unsuccessful search in a binary tree of n rows (equation 1).

    2 H(n - 1) - 2 (n - 1) / n with H(i) = ln i + Euler's constant; 0 for one row, 1 for two.
    """
    count = np.maximum(rows, 3).astype(np.float64)
    depth = 2 * (np.log(count - 1) + np.euler_gamma) - 2 * (count - 1) / count
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, depth))
