"""Live detection: a fitted detector watches rows as they come.

In Python:

>>> from lmmoe import live
>>> model, notes = live.fit("last-week.csv")  # doctest: +SKIP
>>> stream = live.Stream(model, threshold="budget:1")  # doctest: +SKIP
>>> step = stream.step(row)  # doctest: +SKIP
>>> if step.event == "opened":  # doctest: +SKIP
...     print(step.score, stream.explain(step))

and in a shell::

    python -m lmmoe fit last-week.csv -o model.safetensors
    tail -n 0 -F rows.csv | python -m lmmoe watch model.safetensors --state watch.safetensors

How the parts fit: `model` is a detector with the facts of its training rows, in one file. `stream`
scores rows, given those before, and follows the alarm; thresholds and alarms are in `alarms`;
`forward` is the MMoE family's forward pass in NumPy. `fleet` does the same for thousands of streams
at a time. `watch` takes lines (`rows`) and follows their times, `pipe` lets it read a pipe, keeps
its state and serves its counts. `outputs` are the files, `command` has the commands.

Faults and answers (a watch counts all of it, and tells the first of each kind on standard error):

===================  ==============================================================================
missing cell         the channel's last value stands in, and adds nothing to the MMoE family's score
                     (other detectors: scored as filled); so for a dead channel or a lost column
few values           a row with values in under half of its channels has no score
text, infinite       as a missing cell; a value beyond 10^9 deviations is cut there, and scored
gap in time          up to 3 missing rows: the last values pass in their place; more: an open alarm
                     ends, and rows have no score until the window is full again
repeated, late row   left out; the fifth late one in rising order means that the clock was set back:
                     it is taken, and the window starts anew
no times             told; rows are taken as they come, and no gap is seen
odd line             (not JSON, wrong number of cells, too long, binary): left out
level shift          one alarm while it lasts; with ``accept_after`` the new level becomes normal
restart              with a saved state as if there had been none; rows sent again are left out
damaged state        told, and the watch starts afresh; so with the state of another model
damaged model        refused, exit status 1; a plain `save_detector` file has no checksum (told)
slow or no reader    the watch waits, and keeps alarms that nobody took for the next start; where
                     the reader is gone it ends with exit status 1
SIGTERM, Ctrl-C      what has been read is scored, the state saved: exit status 0, 130
full disk            told; the watch goes on without a saved state
===================  ==============================================================================
"""

from importlib import import_module

# Where each public name lives; looked up when first used, so that the command line starts quickly.
_HOMES = {
    "Facts": "model",
    "Fleet": "fleet",
    "Model": "model",
    "Stream": "stream",
    "Watch": "watch",
    "fit": "model",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmoe.live' has no attribute {name!r}")
    return getattr(import_module(f"lmmoe.live.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
