"""Where things lie, whatever folder a notebook, a test or a shell was started in."""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path

ABANDONED = 86_400  # seconds after which nobody still writes to a temporary file


def home() -> Path:
    """The project's root: the nearest folder upwards with a Snakefile, else where lmmoe lies."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "Snakefile").is_file() and (folder / "lmmoe").is_dir():
            return folder
    return Path(__file__).resolve().parent.parent


def results(profile: str) -> Path:
    """Executed notebooks, the page and other bulk of a profile, which git ignores."""
    return home() / "results" / profile


def figures(profile: str) -> Path:
    """A profile's published figures and tables."""
    return home() / "figures" / profile


def cache() -> Path:
    """Scores and models of finished runs; safe to delete, costs time.

    ``LMMOE_CACHE``, else ``results/cache``; a relative path counts from the project's root, or from
    the user's cache folder where lmmoe is installed without its repository.
    """
    root = home() if (home() / "Snakefile").is_file() else user_cache_path("lmmoe")
    return root / Path(os.environ.get("LMMOE_CACHE") or "results/cache").expanduser()


def plain(name: str) -> str:
    """Give an entity's name as part of a file's or a job's name, where no sign has a meaning.

    Names of letters (without accents), digits, ``_``, ``-`` and dots inside stay as they are.
    """
    found = re.sub(r"[^\w.-]|^[.-]", "_", name, flags=re.ASCII)[:100]
    return name if found == name else f"{found}-{sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to, renamed to ``path`` when the block ends well.

    The file's permissions are those of any new file here, whatever its writer chose. What a killed
    process left under such a name is removed a day later by the next one to write ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    random = "[0-9a-f]" * 16
    for left in path.parent.glob(f".{escape(path.stem)}.{random}{escape(path.suffix)}"):
        with suppress(FileNotFoundError):  # another process was faster
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()
    # The suffix stays last: writers choose the format by it.
    part = path.with_name(f".{path.stem}.{secrets.token_hex(8)}{path.suffix}")
    part.touch()
    mode = part.stat().st_mode
    part.unlink()  # so that a block that writes nothing is an error
    try:
        yield part
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
