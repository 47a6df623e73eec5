"""Times as numbers, and back."""

from typing import NamedTuple

import numpy as np

DAY = 86_400  # seconds
TICKS = {"D": 1, "s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Clock(NamedTuple):
    """Conversion of times to numbers: days (of dates) or seconds since a start, which is a whole number of them.

    Attributes
    ----------
    kind : {"M", "m"}
        NumPy's letter for times or for durations.
    unit : {"D", "s", "ms", "us", "ns"}
        What the dtype counts.
    start : int
        Days or seconds since 1970, or since nothing for durations.
    """

    kind: str
    unit: str
    start: int

    @classmethod
    def of(cls, values, from_first):
        """Return the clock of an array of times; points in time start with the first of them, or in 1970."""
        values = _with_usual_unit(values)
        kind, (unit, _) = values.dtype.kind, np.datetime_data(values.dtype)
        from_first = from_first and kind == "M"
        first = values.min().astype(np.int64) // TICKS[unit] if from_first else 0
        return cls(kind, unit, int(first))

    @property
    def dtype(self):
        """NumPy's dtype of the times."""
        return np.dtype(f"{self.kind}8[{self.unit}]")

    def numbers(self, values):
        """Return times as float64 numbers; dates may be of a clock of seconds, and times of one of days."""
        values = _with_usual_unit(values)
        if values.dtype == "M8[D]" and self.unit != "D":
            values = values.astype("M8[s]")
        unit = np.datetime_data(values.dtype)[0]
        per_unit = TICKS[unit] * (DAY if self.unit == "D" != unit else 1)
        # Whole units first: float64 could not hold the ticks.
        whole, ticks = np.divmod(values.astype(np.int64), per_unit)
        return (whole - self.start) + ticks / per_unit

    def times(self, numbers):
        """Return numbers as times again."""
        per_unit = TICKS[self.unit]
        # The days of polars are 32-bit numbers.
        furthest = (2**30 if self.unit == "D" else 2**62 // per_unit) - abs(self.start)
        whole = np.floor(numbers.clip(-furthest, furthest))
        ticks = np.rint((numbers - whole).clip(0, 1) * per_unit)
        ticks = (whole.astype(np.int64) + self.start) * per_unit + ticks.astype(np.int64)
        return ticks.view(self.dtype)

    def text(self, number):
        """Return the time that a number stands for as text, to the second."""
        if self.kind == "m":
            return f"{number:.6g} {self.name}"
        time = self.times(np.array([number]))[0].astype("M8[s]").item()
        return str(time).removesuffix(" 00:00:00")

    @property
    def name(self):
        """Unit of the numbers."""
        return "days" if self.unit == "D" else "s"


def _with_usual_unit(values):
    unit, _ = np.datetime_data(values.dtype)
    if unit not in TICKS:
        unit = "D" if unit in ("Y", "M", "W") else "ns" if unit in ("ps", "fs", "as") else "s"
    return values.astype(f"{values.dtype.kind}8[{unit}]", copy=False)
