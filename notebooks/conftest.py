"""For nbval: kernels talk through files, since another kernel may take a port before it is used."""

from functools import partial
from tempfile import TemporaryDirectory

import nbval.kernel
from jupyter_client.manager import KernelManager

FOLDER = TemporaryDirectory(prefix="kernel-")  # of this process, which has one kernel at a time
sockets = {"transport": "ipc", "connection_file": f"{FOLDER.name}/kernel.json"}
nbval.kernel.KernelManager = partial(KernelManager, **sockets)
