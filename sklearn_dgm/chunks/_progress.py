"""What is told of long questions."""

import time

# Seconds between two lines of a long question, with `verbose`.
SECONDS_A_LINE = 2.0


def with_progress(parts, done, n_rows=None, verbose=1):
    """Pass on parts, of which the first item are rows; tell now and then how many are done.

    Parameters
    ----------
    parts : iterable of tuple
        What is passed on.
    done : str
        What has happened to the rows.
    n_rows : int, default=None
        Their number, where it is known.
    verbose : int, default=1
        With 0, nothing is told.
    """
    n_done, before = 0, time.monotonic()
    of_all = "" if n_rows is None else f" of {n_rows}"
    for part in parts:
        yield part
        n_done += len(part[0])
        if verbose and time.monotonic() - before >= SECONDS_A_LINE:
            print(f"{n_done}{of_all} rows are {done}.")
            before = time.monotonic()
