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

How the parts fit: `model` is a detector with the facts of its training rows, in one file. `scorers`
score one row of each of n streams, given the rows before it: the MMoE family by `forward`, its
forward pass in NumPy, and every other detector by its public functions. `stream` adds what one
stream remembers, its threshold (`thresholds`) and its alarm (`alarm`); `many` does that for
thousands of streams at a time. `watch` reads lines (`rows`, of `cells`) and follows their times
(`clock`); `run` lets it watch a pipe (`pipes`), keeps its state (`statefile`) and offers its counts
(`metrics`). `fitting` makes models from tables (`columns`), `measure` tells how many alarms were
false. `checksum` guards models and states, `outputs` what a new file would replace; `command` has
the commands.

What happens where something is wrong (a watch counts all of it, tells the first of each kind on
standard error, and the sums at the end):

=====================  ============================================================================
missing cell           the channel's last value stands in; it adds nothing to the score, which is
                       the mean over the other channels (other detectors: scored as filled)
dead channel           the same for as long as it lasts; a channel that stays at one value is data
many missing cells     a row with values in under half of its channels has no score
text in a cell         as a missing cell; ``true`` and ``false`` are 1 and 0
infinite value         as a missing cell; one beyond 10^9 deviations is cut there, and scored
gap in time            up to 3 missing rows: the last values pass in their place; more: an open
                       alarm ends, and rows have no score until the window is full again
repeated row           left out, where its time is that of the row before
late row               left out; the fifth in rising order means that the clock was set back: it is
                       taken, and the window starts anew, as after a gap
clock jump             forward it is a gap, backward a run of late rows
new column             left out
lost column            as missing cells
odd line               (not JSON, wrong number of cells, too long, binary): left out
level shift            one alarm, open for as long as the level stays; with ``accept_after`` it
                       ends after so many rows, and the new level is the normal one
row without a time     taken as the next one, and not missing later on; told
no times at all        told, where the model knows times: no column of that name, none of the first
                       10 that can be read, or numbers for dates; no gap is seen then
restart in the middle  with a saved state as if there had been none; without, the window fills anew
rows sent again        after a restart, rows of times already seen are left out until one is new
damaged state          told, and the watch starts afresh; so with the state of another model
damaged or foreign     refused at the start, with what is wrong: exit status 1; a checksum shows
model file             damage to numbers (`lmmoe.save_detector` writes none; that is told)
other threshold rule   than the saved state's: told, and taken
place of the state     another kind of file, the model, or where nothing can be written: refused
slow reader            the watch waits; no alarm is dropped. Where it is told to stop meanwhile, the
                       alarm is kept in the state for the next start
no reader              the watch ends with its state saved: exit status 1
SIGTERM, Ctrl-C        what has been read is scored, the state saved: exit status 0, 130
full disk              told; the watch goes on without a saved state
=====================  ============================================================================
"""

from importlib import import_module

# Where each public name lives; looked up when first used, so that the command line starts quickly.
_HOMES = {
    "Facts": "model",
    "Fleet": "many",
    "Model": "model",
    "Stream": "stream",
    "Watch": "watch",
    "fit": "fitting",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lmmoe.live' has no attribute {name!r}")
    return getattr(import_module(f"lmmoe.live.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
