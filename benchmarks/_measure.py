"""Timings."""

import time

import numpy as np


def seconds_of(task):
    """Call something and time it.

    Parameters
    ----------
    task : callable
        What to time.

    Returns
    -------
    result : object
        What it returned.
    seconds : float
        Wall time.
    """
    start = time.perf_counter()
    result = task()
    return result, time.perf_counter() - start


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
            seconds[name].append(seconds_of(task)[1])
    return {name: np.array(values[1:]) for name, values in seconds.items()}
