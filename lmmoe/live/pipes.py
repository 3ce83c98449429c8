"""Lines in and out of pipes, so that a request to stop is heard while they wait."""

import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

from lmmoe.live.rows import LONGEST

PAUSE = 0.5  # seconds between two looks at whether to stop, while nothing moves
PIECE = 65_536  # bytes at a time


class Stop:
    """Hears SIGTERM and SIGINT inside a ``with`` block; ``asked`` is the signal, or 0."""

    def __init__(self) -> None:
        self.asked = 0

    def __enter__(self) -> "Stop":
        self._before = {n: signal.signal(n, self._hear) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = number


def lines(source: int, stop: Stop) -> Iterator[bytes]:
    """Give the lines that arrive at a file descriptor, without their ends.

    Of a line that is longer than `LONGEST`, so many bytes and one are given. After a request to
    stop, what has been read is still given, but for a line that has no end yet.
    """
    left, cut = b"", False
    while not stop.asked:
        if not select.select([source], [], [], PAUSE)[0]:
            continue
        piece = os.read(source, PIECE)
        if not piece:
            if left and not cut:
                yield left
            return
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            if not cut:
                yield line
            cut = False
        if len(left) > LONGEST:
            if not cut:
                yield left[: LONGEST + 1]
            left, cut = b"", True


def write(sink: int, line: bytes, stop: Stop) -> bool:
    """Write a line to a file descriptor, waiting as long as its reader needs.

    False where a request to stop came while the reader took nothing: the line is then to be written
    another time. Raises `BrokenPipeError` where there is no reader any more.
    """
    while line:
        if select.select([], [sink], [], 0 if stop.asked else PAUSE)[1]:
            # So much a pipe takes at once: a longer piece could wait beyond any request to stop.
            line = line[os.write(sink, line[: select.PIPE_BUF]) :]
        elif stop.asked:
            return False
    return True
