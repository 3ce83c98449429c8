"""Reading single files: text, Parquet and arrays; every failure is a `DataError`.

A table of somebody's own goes one way: bytes, text, separator, header, cells (`read_cells`), times,
labels, numbers. What was guessed or changed on it is added to its ``notes``.
"""

import codecs
import csv
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lmmoe.data.series import FAR, GAPS, MEND, TIMES, Bits, Floats
from lmmoe.errors import DataError

Times = npt.NDArray[np.datetime64] | npt.NDArray[np.float64] | npt.NDArray[np.int64]
Notes = list[str]

OPENERS = {".xz": lzma.open, ".gz": gzip.open}  # how a text file may be compressed
DAMAGE = (ValueError, TypeError, OSError, EOFError, csv.Error, lzma.LZMAError, zlib.error)
BIT_WORDS = dict.fromkeys(("0", "false", "no", "normal"), 0)
BIT_WORDS |= dict.fromkeys(("1", "true", "yes", "anomaly", "anomalous", "attack"), 1)
NA = [word for gap in GAPS for word in (gap, gap.upper(), gap.title())]

# Where several fit, the steps decide, then the order: pandas alone takes 2024/01/31 for ISO 8601.
DATES = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d")
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
FORMATS = (*map("".join, product(DATES, CLOCKS)), "%b %d, %Y @ %H:%M:%S.%f", "ISO8601")  # Kibana

# A plain number can only be the time since 1970 in the unit that makes it a year from 1973 to 2103.
UNITS = {"s": 1.0, "ms": 1e3, "µs": 1e6, "ns": 1e9}
CLOCK = re.compile(r"time|date|epoch|stamp|unix|^ts", re.IGNORECASE)  # names of such columns

HUGE = 1e100  # its square is finite


# --- files ---


def find(path: Path) -> Path:
    """The file ``path`` as it is or compressed (.xz, .gz); ``path`` itself where there is none."""
    files = (path.with_name(path.name + suffix) for suffix in ("", *OPENERS))
    return next(filter(Path.is_file, files), path)


@contextmanager
def naming(path: Path, hint: str = "If it is truncated or damaged, get it again") -> Iterator[None]:
    """Turn what reading the file ``path`` raises into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", file=path) from error
    except DAMAGE as error:  # pyarrow's errors are of these kinds, too
        raise DataError(f"cannot be read ({error})", file=path, hint=hint) from error


def read_text(path: Path) -> tuple[str, Notes]:
    """A text file, plain or compressed, and a note where it is not UTF-8."""
    with naming(path), OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
        raw = file.read()
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return raw.decode("utf-16"), ["read as UTF-16"]
        if b"\0" in raw:
            raise ValueError("zero bytes: save it as UTF-8, or as UTF-16 with a mark")
        try:
            return raw.decode("utf-8-sig"), []
        except UnicodeDecodeError:
            return raw.decode("latin-1"), ["not UTF-8: read as Latin-1"]


def read_frame(path: Path, text: str | None = None, **options: object) -> pd.DataFrame:
    """Read a file, or its ``text``, as `pandas.read_csv` does; refuse rows of unequal length."""
    text, sep = read_text(path)[0] if text is None else text, options.get("sep", ",")
    with naming(path):
        # Pandas pads short rows and takes the surplus of a long first one for row names.
        lines = filter(str.strip, text.replace("\r", "\n").split("\n"))
        rows = csv.reader(lines, delimiter=sep) if '"' in text else None  # slow
        widths = [len(row) for row in rows] if rows else [line.count(sep) + 1 for line in lines]
        if len({*widths}) > 1:
            bad = next(number for number, width in enumerate(widths) if width != widths[0])
            problem = f"rows of unequal length: {widths[bad]} cells, the first has {widths[0]}"
            hint = "A short last row means a truncated file, a long one a separator too many"
            bad -= options.get("header", 0) is not None
            raise DataError(problem, file=path, row=bad, hint=hint)
        return pd.read_csv(io.BytesIO(text.encode()), low_memory=False, **options)


def read_npy(path: Path) -> np.ndarray:
    """Read a ``.npy`` file; never unpickles."""
    with naming(path), path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


# --- cells ---


def refuse(
    bad: npt.ArrayLike, cells: pd.DataFrame | pd.Series, problem: str, path: Path, hint: str = ""
) -> None:
    """Raise `DataError` for the first cell that is ``bad``; ``{}`` in ``problem`` is the cell."""
    places = np.argwhere(bad)
    if len(places):
        row, *number = places[0].tolist()
        column = cells.iloc[:, number[0]] if number else cells
        problem = f"{problem.format(column.iloc[row])} ({len(places)} in all)"
        raise DataError(problem, file=path, row=row, column=column.name, hint=hint)


def to_numbers(frame: pd.DataFrame, path: Path, *, fill: bool = False, hint: str = "") -> Floats:
    """Finite numbers ``(rows, columns)``, or `DataError`; ``fill`` leaves empty cells as NaN."""
    for name in frame.select_dtypes(["datetime", "datetimetz", "timedelta"]):  # else nanoseconds
        raise DataError("holds times, not numbers", file=path, column=name)
    values = frame.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    refuse(np.isnan(values) & frame.notna(), frame, "{!r} is not a number", path, hint)
    bad = np.isinf(values) if fill else ~np.isfinite(values)
    refuse(bad, frame, "{} is not a finite number", path, MEND)
    return values


def to_bits(column: pd.Series, path: Path, notes: Notes) -> Bits:
    """Labels ``(rows,)`` from `BIT_WORDS` or 1/-1; `DataError` for the rest.

    -1 is an anomaly where it occurs, and so is a no where a column ``label`` mostly says yes.
    """
    words = column.astype(str).str.replace(r"\s|\.0$", "", regex=True).str.lower()
    signed = (words == "-1").any()
    bits = words.map({"1": 0, "-1": 1} if signed else BIT_WORDS)
    hint = f"Known: {', '.join(BIT_WORDS)}"
    refuse(bits.isna(), column, "label {} is neither 0 nor 1", path, hint)
    if signed:
        notes.append("labels are 1 and -1: -1 is taken as an anomaly")
    elif words.isin(["yes", "no"]).all() and "label" in str(column.name).lower():
        mostly = bits.mean() > 0.5
        notes.append(f"label {'no' if mostly else 'yes'!r} is taken as an anomaly")
        bits = bits ^ mostly
    return bits.to_numpy(dtype=np.int8)


def mend(
    values: Floats, place: str, names: tuple[str, ...] | None = None, train: Floats | None = None
) -> tuple[Floats, Notes]:
    """Fill gaps, and cut what is too far out to be a measurement; notes say how many cells.

    NaN becomes the channel's last value, else its first, else 0. So do values more than `FAR`
    deviations from the median in the training half, as one would make the channel's scale useless;
    in the test half, where ``train (t, c)`` is given, they are cut there. The deviation is that of
    the middle eight tenths of the training rows, of all where these do not vary, and 1 where none
    does.
    """
    notes, holes = [], np.isnan(values).sum()
    if holes:
        values = _filled(values)
        notes.append(f"{place}: missing cells filled with the last value: {holes}")
    near = (values if train is None else train).clip(-HUGE, HUGE)
    if not near.size:
        return values, notes
    spread = np.ones(near.shape[1])
    for rows in (near, near.clip(*np.quantile(near, (0.1, 0.9), axis=0, method="nearest"))):
        spread = np.where(np.ptp(rows, axis=0) > 0, rows.std(axis=0), spread)
    reach, centre = FAR * spread, np.median(near, axis=0)
    cut = values.clip(centre - reach, centre + reach)
    if len(places := np.argwhere(cut != values)):
        row, column = places[0].tolist()
        name = (names or range(near.shape[1]))[column]
        cell = f"{values[row, column]:.6g} in row {row}, column {name!r}"
        how = "filled with the last value" if train is None else "cut there"
        far = f"cells beyond {FAR:g} standard deviations {how}: {len(places)}"
        notes.append(f"{place}: {far}, the first is {cell}")
        cut = _filled(np.where(cut == values, values, np.nan)) if train is None else cut
    return cut, notes


def _filled(values: Floats) -> Floats:
    return pd.DataFrame(values).ffill().bfill().fillna(0.0).to_numpy()


def lost_digits(frame: pd.DataFrame, values: Floats) -> Notes:
    """Which columns hold whole numbers that floats cannot tell apart."""
    far = np.flatnonzero((np.abs(values) > 2**53).any(axis=0))
    whole = [(frame.columns[i], frame.iloc[:, i].nunique(), len({*values[:, i]})) for i in far]
    beyond = "whole numbers beyond 2^53 become"
    return [f"column {c!r}: {a} {beyond} {b}: subtract a constant" for c, a, b in whole if b < a]


def marked_note(marks: Bits, rows: int, path: Path) -> Notes:
    """How many rows of a training half are marked as anomalies, for ``Series.notes``."""
    if len(marks) != rows:
        raise DataError(f"{len(marks)} labels for {rows} training rows", file=path)
    note = f"{path.name}: {marks.sum()} of {rows} training rows are marked as anomalies, all kept"
    return [note] if marks.any() else []


# --- tables of somebody's own ---


def read_cells(path: Path) -> tuple[pd.DataFrame, Notes]:
    """The file's columns, names stripped of blanks; and notes."""
    notes = []
    with naming(path):
        if path.suffix.lower() == ".npy":
            frame = pd.DataFrame(read_npy(path))
        elif path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path).rename(columns=str)
            names = frame.index.names  # without any: numbers left over from an earlier selection
            dated = isinstance(frame.index, pd.DatetimeIndex) or any(names)
            frame = frame.reset_index(names=[name or "time" for name in names], drop=not dated)
        else:
            frame, notes = _parse_text(path)
    if frame.empty:
        raise DataError("no data rows", file=path)
    frame = frame.rename(columns=lambda name: name.strip() if isinstance(name, str) else name)
    for name in frame.columns[frame.columns.duplicated()]:
        raise DataError("two columns of this name", file=path, column=name)
    first = frame.iloc[:, 0]
    if first.name == "Unnamed: 0" and first.dtype.kind in "iu" and (np.diff(first) == 1).all():
        notes.append("the first column has no name and counts the rows: dropped")
        frame = frame.drop(columns=first.name)
    return frame, notes


def _parse_text(path: Path) -> tuple[pd.DataFrame, Notes]:
    """A table as text: separator and decimal comma by its looks, perhaps names above it."""
    text, notes = read_text(path)
    above = re.match(r"(?i:sep=(?P<sep>.)\r?\n)?(?P<comments>(#.*\n)*)", text)
    text, comments = text[above.end() :], above["comments"].splitlines()
    lines = (line[0] for line in re.finditer(r"[^\r\n]+", text))
    head = [*islice(filter(str.strip, lines), 3)] or [""]
    cells = {sep: [*csv.reader(head, delimiter=sep)] for sep in "\t;|"}
    seen = (sep for sep, rows in cells.items() if 1 < len(rows[0]) == len(rows[:2][-1]))
    sep = above["sep"] or next(seen, ",")
    mark = re.escape(sep)
    number = rf"(^|{mark}) *-?\d+,\d+ *({mark}|\r|$)"
    decimal = "," if sep != "," and re.search(number, text, re.MULTILINE) else "."
    rows = csv.reader(head, delimiter=sep)
    rows = [[cell.replace(decimal, ".") for cell in row] for row in rows]
    header = _header(rows, path)
    if comments:
        names = comments[-1].lstrip("# ")
        if header is None and len(next(csv.reader([names], delimiter=sep))) == len(rows[0]):
            header, text = 0, f"{names}\n{text}"
        notes.append(f"lines above the table that begin with #: {len(comments)}")
    if sep != ",":
        notes.append(f"cells are separated by {sep!r}, the decimal mark is {decimal!r}")
    # In a single column a blank line is a missing cell, not the gap between two rows.
    options = {"skip_blank_lines": len(rows[0]) > 1, "na_values": NA, "decimal": decimal}
    frame = read_frame(path, text, header=header, sep=sep, **options)
    names = [name for name in frame if str(name).startswith("Unnamed: ")]
    nameless = frame.columns[-1:] if header is None else names
    empty = [name for name in nameless if len(frame) and frame[name].isna().all()]
    notes += ["an empty column without a name is dropped"] if empty else []
    return frame.drop(columns=empty), notes


def _header(rows: list[list[str]], path: Path) -> int | None:
    """0 where the first line holds names, None where it is data: numbers, gaps, true or false.

    A date may stand before these. Names may be pandas's numbers of columns.
    """
    first = rows[0]
    rest = first[1:] if first and formats(first[0]) else first
    counted = first[:1] == [""] and rest[1:] == [str(number) for number in range(len(rest) - 1)]
    data = any(map(_is_value, rest)) and all(_is_value(cell, GAPS) for cell in rest)
    if data and not counted:
        return None
    names = [cell.strip() for cell in first if cell.strip()]
    for name in names:
        if names.count(name) > 1:
            raise DataError("two columns of this name", file=path, column=name)
    known = [any(_is_value(cell, GAPS[1:]) or formats(cell) for cell in row) for row in rows[1:]]
    if known == [False, True] and any(rows[1]):
        problem = f"{', '.join(rows[1])!r} below the names are no values"
        raise DataError(problem, file=path, row=0, hint="Remove this line, of units perhaps")
    return 0


def _is_value(cell: str, gaps: tuple[str, ...] = ()) -> bool:
    text = cell.strip().lower()
    known = (*gaps, "true", "false", "nan")
    return text in known or bool(pd.notna(pd.to_numeric(text, errors="coerce")))


def pick(
    frame: pd.DataFrame, name: str | None, known: tuple[str, ...], option: str, path: Path
) -> str | int | None:
    """The column ``name``, or the one with a known name; None where there is none of those."""
    if name is None:
        found = [column for column in frame if str(column).lower() in known]
    elif not (found := [column for column in frame if str(column) == str(name)]):
        hint = f"Columns: {', '.join(map(str, frame.columns[:20]))}"
        raise DataError(f"no column {name!r} ({option})", file=path, hint=hint)
    if len(found) > 1:
        problem = f"several columns could be the {option}: {', '.join(found)}"
        raise DataError(problem, file=path, hint=f"Name one with {option}=")
    return found[0] if found else None


# --- times ---


def take_times(
    frame: pd.DataFrame, name: str | None, dates: str | None, path: Path, notes: Notes, keep: object
) -> tuple[Times | None, str | None, str | None]:
    """Take the time column out of the frame: times, name and pattern of `Table`.

    Other columns that run like a clock go, too, unless there are others to ``keep``.
    """
    chosen, first = pick(frame, name, TIMES, "time", path), frame.columns[0]
    likely = [c for c in frame if c != chosen and (c == first or CLOCK.search(str(c)))]
    clocks = [c for c in likely if _runs(frame[c])]
    if chosen is None:
        cell = next(iter(frame[first].dropna()), None)
        if formats(str(cell)) or (dates and type(cell) is str):
            chosen = first
        elif clocks:
            chosen = clocks.pop(0)
            unit = unit_of(frame[chosen].iloc[0])
            notes.append(f"column {chosen!r} is taken as the time, in {unit} since 1970")
        else:
            return None, None, None
    for other in clocks if keep is None else ():
        frame.pop(other)
        notes.append(f"column {other!r} runs like a clock: no channel")
    column = frame.pop(chosen)
    times, pattern = parse_times(column, dates, path, notes)
    hint = "Write them as 2024-01-31 13:45:00, give their form as dates=, or name others by time="
    unknown = pd.isna(times) | np.isinf(times.astype(np.float64))
    refuse(unknown, column, "'{}' is not a time", path, hint)
    return times, chosen if isinstance(chosen, str) else None, pattern


def _runs(column: pd.Series) -> bool:
    """Whether numbers rise, or fall, like the time since 1970, in steps that are mostly even."""
    if column.dtype.kind not in "iuf" or len(column) < 3:
        return False
    values, (step, odd) = column.to_numpy(), usual_step(column)
    unit = unit_of(values[0])
    rising = (np.diff(values) * np.sign(step) > 0).all()
    return bool(unit and unit == unit_of(values[-1]) and rising and odd.mean() < 0.5)


def parse_times(
    column: pd.Series, dates: str | None, path: Path, notes: Notes
) -> tuple[Times, str | None]:
    """The column's times, NaT or NaN where a cell is none, and the format of texts.

    It is the one that most cells fit and, among several such ones, under which the steps are even.
    """
    if column.dtype.kind in "iuf":  # nanoseconds since 1970 do not fit a float
        whole = column.dtype.kind != "f" and column.notna().all()
        return column.astype(np.int64 if whole else np.float64).to_numpy(), None
    if column.dtype.kind == "M":
        return pd.to_datetime(column, utc=True).dt.tz_convert(None).to_numpy(), None
    text = column.astype("string").str.strip()
    known = next(map(formats, text.dropna()), None) or ["ISO8601"]
    if dates and (dates in known or dates not in FORMATS):  # else the halves differ in form
        known = [dates]
    with naming(path, "dates= takes the codes of datetime.strptime"):
        read = {f: pd.to_datetime(text, format=f, utc=True, errors="coerce") for f in known}
    steps = {f: usual_step(times.dropna().unique())[1] for f, times in read.items()}
    faults = {f: (read[f].isna().sum(), odd.sum()) for f, odd in steps.items()}
    best = min(faults, key=faults.get)
    for other in read:
        if faults[other][0] == faults[best][0] and not read[other].equals(read[best]):
            if faults[other] == faults[best]:
                problem = f"dates may be {best} or {other}: the steps are as even in both"
                raise DataError(problem, file=path, column=column.name, hint="Say which by dates=")
            notes.append(f"dates are {best}, not {other}, as the steps are even then")
    return read[best].dt.tz_convert(None).to_numpy(), None if best == "ISO8601" else best


def usual_step(times: npt.ArrayLike) -> tuple[pd.Timedelta | float, pd.Series]:
    """The median step from row to row, and which steps are more than half of it off."""
    steps = pd.Series(np.diff(times))
    usual = steps.median()
    return usual, (steps - usual).abs() > abs(usual) / 2


def step_notes(times: Times | None) -> Notes:
    """Gaps and other changes of the step."""
    usual, odd = usual_step([] if times is None else times)
    if not odd.any():
        return []
    steps = pd.Series(np.diff(times))
    longest = f"the longest, {steps.max()}, follows row {steps.argmax()}"
    return [f"{odd.sum()} of {len(steps)} steps are not {usual}; {longest}"]


def unit_of(time: float) -> str | None:
    """The one of `UNITS` in which a number can be the time since 1970; None if none."""
    return next((unit for unit, many in UNITS.items() if 1e8 <= time / many < 4.2e9), None)


def formats(text: str) -> list[str]:
    """The known formats in which a text is a time; none for a bare number."""
    if _is_value(text) or set("-/.@").isdisjoint(text):
        return []
    read = {f: pd.to_datetime(text.strip(), format=f, utc=True, errors="coerce") for f in FORMATS}
    return [each for each, time in read.items() if pd.notna(time)]
