"""What it costs to watch a fleet of machines, each with a model of its own."""

from dataclasses import dataclass

import pandas as pd

HOURS = 8766  # of a year, leap days included
DAY = 86400  # seconds
BATCH = "rows_per_second_256"  # the column that stands for many rows by one call


@dataclass(frozen=True)
class Prices:
    """The fleet, and what is paid for it; all of these are assumptions to replace by one's own.

    ``core_hour`` is the price of one processor core for an hour: 0.05 is of the order of the list
    prices of general-purpose virtual cores on demand, in US dollars.
    """

    machines: int = 1_000_000
    seconds: float = 60.0  # from one row of a machine to its next
    retrain_days: float = 30.0  # from one training to the next
    core_hour: float = 0.05


def fleet(table: pd.DataFrame, prices: Prices) -> pd.DataFrame:
    """Say how many cores keep up with a fleet, and what they cost a year: a row per detector.

    ``cores_row``: each row scored by a call of its own, as it comes in. ``cores_batch``: 256 rows
    by one call, which needs rows kept back or one model for many machines. ``cores_training``: one
    training every ``retrain_days``. ``a_year`` adds training to the first, ``a_year_batch`` to the
    second. ``models_gb`` is what all models take together. Cores are used in full; reading, sending
    and keeping the data is not in it. NaN where a part was not measured.
    """
    rows = prices.machines / prices.seconds
    found = pd.DataFrame(index=table.index)
    found["cores_row"] = rows / table["rows_per_second_1"]
    found["cores_batch"] = rows / table[BATCH]
    trainings = prices.machines / (prices.retrain_days * DAY)
    found["cores_training"] = trainings * table["train_seconds"]
    year = HOURS * prices.core_hour
    found["a_year"] = year * (found["cores_row"] + found["cores_training"])
    found["a_year_batch"] = year * (found["cores_batch"] + found["cores_training"])
    found["models_gb"] = prices.machines * table["learned_bytes"] / 1e9
    return found.sort_values("a_year")
