"""Names of the processor and of a second device, for the tables."""

import platform
from pathlib import Path


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")  # Linux; platform.processor() is empty there
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, name = line.partition(":")
            if key.strip() == "model name":
                return f"{name.strip()} ({platform.machine()})"
    return platform.processor() or platform.machine()


def second_device() -> str:
    """Torch's name of a device beside the processor: "cuda", "mps", or "" where there is none."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else ""


def device_name(device: str) -> str:
    """Name of one of torch's devices as its maker sells it, where torch tells."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return cpu_name() if device == "cpu" else device
