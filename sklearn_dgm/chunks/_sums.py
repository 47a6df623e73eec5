"""Sums over parts of a table."""

import functools


def sum_of(counts):
    """Sum up counts two by two, as binary numbers are counted, so that sparse ones are seldom sorted.

    Parameters
    ----------
    counts : iterable
        Objects with `+`, and None, which are left out.

    Returns
    -------
    total : object
        Their sum, None if there are none.
    """
    sums = []
    for i, total in enumerate(one for one in counts if one is not None):
        while i & 1:
            i, total = i >> 1, sums.pop() + total
        sums.append(total)
    return functools.reduce(lambda total, more: more + total, reversed(sums)) if sums else None


class Sums(tuple):
    """Several totals, which add up one by one."""

    __slots__ = ()

    def __add__(self, other):
        return Sums(mine + its for mine, its in zip(self, other, strict=True))
