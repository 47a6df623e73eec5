"""Measured figures as lines of JSON, and the scores of single rows that paired differences are taken from.

A line is one measured fit. Lines are only ever added while measuring, so that an interrupted run keeps what it has and
two runs can share a file; of lines with the same key the last one counts, and `report` removes the others.
"""

import json
import os
import platform
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent / "results"
KEY = ("suite", "data", "case", "seed", "peer")
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "skorch")


def key_of(record):
    """Return the key of a measurement; a later one with the same key replaces it."""
    return tuple(str(record.get(name, "")) for name in KEY)


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_lines(path, records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def version_of(package):
    """Version of an installed distribution, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_machine():
    """Cores, processor and versions: what figures depend on, and nothing that names a machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "system": platform.system(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "versions": {"Python": platform.python_version()}
        | {name: version_of(name) for name in LIBRARIES},
    }


def describe_error(error):
    """Kind and first words of an error."""
    first_line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first_line[:100]}".replace("|", "/")  # of Markdown tables


def row_hashes(rows):
    """Return a number for each row of a table or matrix, equal for equal rows."""
    return pd.util.hash_pandas_object(pd.DataFrame(rows), index=False).to_numpy()


class Results:
    """The lines of one suite.

    Parameters
    ----------
    suite : str
        Name of the suite, which is that of the file.
    folder : Path
        Where the files are.
    """

    def __init__(self, suite, folder=FOLDER):
        self.suite, self.folder = suite, Path(folder)
        self.path = self.folder / f"{suite}.jsonl"

    def load(self):
        """Load the last record of each key, in the order in which they were first measured."""
        return list({key_of(record): record for record in read_lines(self.path)}.values())

    def add(self, **record):
        """Append a record, and print it.

        A gap, such as a peer that is not installed, does not replace a figure that was measured before.
        """
        record = {"suite": self.suite, **record}
        if "gap" in record:
            measured = {key_of(old) for old in self.load() if "gap" not in old}
            if key_of(record) in measured:
                return
        self._append({**record, "machine": self._add_machine()})

    def attempt(self, record, measure):
        """Add a record with the figures that `measure` returns, or with why there are none.

        One peer that fails on one table is a gap that the report shows, not the end of the run.
        """
        if record["version"] is None:
            self.add(**record, gap="not installed")
            return
        try:
            figures = measure()
        except Exception as error:
            self.add(**record, gap=describe_error(error))
        else:
            self.add(**record, **figures)

    def replace(self, old, **changes):
        """Append a record again with changes that take no new measurement."""
        self._append(old | changes)

    def _append(self, record):
        line = json.dumps(record, ensure_ascii=False)
        print(line, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    def _add_machine(self):
        """Name of this machine among those described; it is added if it is new."""
        machine = describe_machine()
        name = f"{zlib.crc32(json.dumps(machine).encode()):08x}"
        path = self.folder / "machines.jsonl"
        if name not in [known["machine"] for known in read_lines(path)]:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(json.dumps({"machine": name, **machine}) + "\n")
        return name

    def tidy(self):
        """Remove lines that were replaced."""
        write_lines(self.path, self.load())

    def keep_scores(self, record, log_prob, test_hash):
        """Keep the log-densities of the test rows, for differences to fits that come later."""
        path = self._scores_path(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, log_prob=log_prob, test_hash=test_hash)

    def scores(self, record, test_hash):
        """Log-densities that another fit gave the same test rows, None if there are none."""
        path = self._scores_path(record)
        if not path.exists():
            return None
        with np.load(path) as kept:
            return kept["log_prob"] if kept["test_hash"] == test_hash else None

    def _scores_path(self, record):
        name = " ".join(str(record[part]) for part in ("data", "seed", "peer"))
        return self.folder / "scores" / self.suite / f"{name}.npz"
