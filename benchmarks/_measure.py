"""Interleaved timings and Markdown tables."""

import time
from importlib import import_module
from itertools import chain

import numpy as np


def interleaved_seconds(tasks, repeats):
    """Time tasks in turns, so that a busy machine slows all of them alike.

    Parameters
    ----------
    tasks : dict of str to callable
        What to time.
    repeats : int
        Number of rounds, after one round that does not count.

    Returns
    -------
    seconds : dict of str to ndarray of shape (repeats,)
        Wall time of each task in each round.
    """
    seconds = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def print_table(header, rows):
    """Print a Markdown table, each row as soon as it is there.

    Parameters
    ----------
    header : list of str
        Names of the columns.
    rows : iterable of list
        Cells of each row.
    """
    for cells in chain([header, ["---"] * len(header)], rows):
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print()


def import_optional(name):
    """Import a package that only benchmarks need.

    Parameters
    ----------
    name : str
        Name of the module.

    Returns
    -------
    module : module
        The module.

    Raises
    ------
    SystemExit
        If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise SystemExit(f'{error}; install the extra: pip install -e ".[benchmark]"') from error
