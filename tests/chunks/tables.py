"""Tables of all kinds of columns, and what reads them a chunk at a time."""

import numpy as np
import pandas as pd

from sklearn_dgm.chunks import _sampling, _shuffling, _sources

N_ROWS = 3000


def let_samples_be_small(monkeypatch, n_rows, n_shuffled, n_in_epoch):
    """Let small tables be larger than a sample, than what is shuffled at once and than what an epoch takes."""
    from sklearn_dgm._training import streams, trainer

    for module in (_sampling, _sources):
        monkeypatch.setattr(module, "SAMPLE_ROWS", n_rows)
    monkeypatch.setattr(_shuffling, "BUFFER_ROWS", n_shuffled)
    for module in (streams, trainer):
        monkeypatch.setattr(module, "EPOCH_ROWS", n_in_epoch)


def note_rows_that_train(monkeypatch):
    """Return a list that comes to hold the rows of each pass that streams give."""
    from sklearn_dgm._training import streams

    seen, original = [], streams.StreamedRows.before_pass

    def before_pass(self, index):
        original(self, index)
        seen.append(self.z.numpy().copy())

    monkeypatch.setattr(streams.StreamedRows, "before_pass", before_pass)
    return seen


class Parts:
    """A table in parts, given anew in each loop."""

    def __init__(self, table, n_rows):
        self.table, self.n_rows = table, n_rows

    def __iter__(self):
        of = self.table.iloc if hasattr(self.table, "iloc") else self.table
        return (of[start : start + self.n_rows] for start in range(0, len(of[:]), self.n_rows))


class Given:
    """Chunks as they are given."""

    def __init__(self, *chunks):
        self.chunks = chunks

    def __iter__(self):
        return iter(self.chunks)


def mixed(n_rows=N_ROWS, missing=False):
    """Rows of all kinds of columns; the last ones have what no sample is sure to have."""
    rng = np.random.default_rng(0)
    day = np.datetime64("2020-01-01", "ms")  # as Parquet has it
    table = pd.DataFrame(
        {
            "float": rng.normal(size=n_rows),
            "single": rng.gamma(2, size=n_rows).astype(np.float32),
            "integer": rng.integers(3, 9, n_rows),
            "two": rng.integers(0, 2, n_rows),
            "word": rng.choice(["tea", "coffee"], n_rows),
            "flag": rng.random(n_rows) < 0.3,
            "date": day + rng.integers(0, 50, n_rows).astype("m8[D]"),
            "constant": np.full(n_rows, 2.5),
        }
    )
    table.loc[n_rows - 1, ["float", "integer", "word"]] = 50.0, 12, "cocoa"
    table.loc[n_rows - 2, ["integer", "two"]] = -4, 5
    table.loc[n_rows - 3, "date"] = day - 9
    if missing:
        for j, column in enumerate(("float", "word", "date")):
            table.loc[n_rows - 5 - j, column] = None
        table["empty"] = np.nan
    return table
