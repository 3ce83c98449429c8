"""How few random cuts isolate a row from the training rows."""

from typing import Annotated

import numpy as np
from pydantic import Field

from lmmoe.detectors.base import Detector, Share, Whole
from lmmoe.detectors.scaling import Floats

BLOCK = 4096  # rows that walk down all trees together


class IsolationForest(Detector):
    """Isolation forest on z-scored rows: 2^(-E[h] / c(samples)), from 0 to 1.

    Source: Liu, Ting and Zhou, "Isolation Forest" (ICDM 2008), equations 1 and 2: h is the depth at
    which a tree of random cuts isolates the row, plus c(n) for the n training rows in its leaf.
    100 ``trees`` of 256 ``samples`` are the paper's settings. Built by scikit-learn, whose
    ``score_samples`` is this score times -1; the trees are kept as arrays, so that a file of
    the model holds numbers only. It does not say how much each channel adds.
    """

    name = "IsolationForest"
    min_rows = 2

    held_out: Share = 0.1
    trees: Whole = 100
    samples: Annotated[int, Field(ge=2)] = 256

    def _learn(self, scaled: Floats) -> dict[str, np.ndarray]:
        from sklearn import ensemble

        samples = min(self.samples, len(scaled))
        forest = ensemble.IsolationForest(
            n_estimators=self.trees, max_samples=samples, random_state=self.seed
        )
        trees = [made.tree_ for made in forest.fit(scaled).estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        joined = [_nodes(tree, root) for tree, root in zip(trees, roots, strict=True)]
        nodes = {name: np.concatenate([each[name] for each in joined]) for name in joined[0]}
        steps = nodes.pop("depth").max(keepdims=True)
        return nodes | {"roots": roots, "steps": steps, "unit": expected_depth(np.array([samples]))}

    def _score_rows(self, rows: Floats) -> Floats:
        # scikit-learn cuts single-precision values; other rounding would change sides at a cut.
        scaled = self._scaling(rows).astype(np.float32)
        parts = [self._depths(scaled[i : i + BLOCK]) for i in range(0, len(scaled), BLOCK)]
        return 2 ** (-np.concatenate(parts) / self._learned["unit"])

    def _depths(self, scaled: np.ndarray) -> Floats:
        """Mean of h over the trees for scaled rows ``(t, c)``: ``(t,)``."""
        tree = self._learned
        total = np.zeros(len(scaled))
        number = np.arange(len(scaled))
        for root in tree["roots"]:
            node = np.full(len(scaled), root)
            for _ in range(int(tree["steps"][0])):
                low = scaled[number, tree["channel"][node]] <= tree["cut"][node]
                node = np.where(low, tree["low"][node], tree["high"][node])
            total += tree["path"][node]
        return total / len(tree["roots"])


def _nodes(tree: object, root: int) -> dict[str, np.ndarray]:
    """Give the nodes of one of scikit-learn's trees as arrays; numbers of nodes start at ``root``.

    "path" is h for a row that ends there. A leaf is its own child, so that all rows can take the
    same number of steps.
    """
    own = np.arange(tree.node_count)
    leaf = tree.children_left == -1
    low = np.where(leaf, own, tree.children_left)
    high = np.where(leaf, own, tree.children_right)
    depth = np.zeros(tree.node_count, dtype=np.int64)
    for node in own[~leaf]:  # a parent comes before its children
        depth[[low[node], high[node]]] = depth[node] + 1
    return {
        "low": low + root,
        "high": high + root,
        "channel": np.where(leaf, 0, tree.feature),
        "cut": np.where(leaf, 0.0, tree.threshold),
        "depth": depth,
        "path": depth + expected_depth(tree.n_node_samples),
    }


def expected_depth(rows: np.ndarray) -> Floats:
    """Mean depth c(n) of an unsuccessful search in a binary tree of n rows (equation 1).

    2 H(n - 1) - 2 (n - 1) / n with H(i) = ln i + Euler's constant; 0 for one row, 1 for two.
    """
    count = np.maximum(rows, 3).astype(np.float64)
    depth = 2 * (np.log(count - 1) + np.euler_gamma) - 2 * (count - 1) / count
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, depth))
