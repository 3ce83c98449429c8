"""Made-up files in the layouts of SMD and ASD, with their git blob ids."""

import numpy as np
from mirror import BASE, git_id

PARTS = ("train", "test", "test_label", "interpretation_label")
TREE = {f"{BASE}/LICENSE": b"MIT\n"} | {
    f"{BASE}/{part}/machine-1-{machine}.txt": f"{part} {machine}\n".encode()
    for part in PARTS
    for machine in (1, 2)
}
BLOBS = {path: git_id(content) for path, content in TREE.items()}


def fill(root, tree=TREE):
    """Lay out files of SMD under a data root."""
    for path, content in tree.items():
        file = root / "SMD" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def make_server(root, name, rows=3, channels=2):
    """Lay out one entity of ASD under a data root and return its folder."""
    folder = root / "ASD" / name
    folder.mkdir(parents=True)
    np.save(folder / "train.npy", np.ones((rows, channels)))
    np.save(folder / "test.npy", np.ones((rows, channels)))
    np.save(folder / "test_label.npy", np.zeros(rows))
    return folder
