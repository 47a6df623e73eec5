"""Numbers that stand for random ones in estimates, the same for every row and in every call.

An estimate that is made of them is a function of the row: it depends neither on a generator nor on the rows beside it.
"""

from functools import lru_cache

import torch


@lru_cache(maxsize=8)
def common_uniforms(n_points, n_columns):
    """Return points that are spread evenly over the unit cube, from a scrambled Sobol sequence.

    Parameters
    ----------
    n_points, n_columns : int
        Shape of the numbers.

    Returns
    -------
    uniforms : Tensor of shape (n_points, n_columns)
        Float64 numbers between 0 and 1. They are shared, and not to be written into.
    """
    if n_columns > torch.quasirandom.SobolEngine.MAXDIM:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(n_points, n_columns, generator=generator, dtype=torch.float64)
    engine = torch.quasirandom.SobolEngine(n_columns, scramble=True, seed=0)
    return engine.draw(n_points, dtype=torch.float64)


@lru_cache(maxsize=8)
def common_normals(n_points, n_columns):
    """Return points that are spread as independent standard normals are.

    Parameters
    ----------
    n_points, n_columns : int
        Shape of the numbers.

    Returns
    -------
    normals : Tensor of shape (n_points, n_columns)
        Float64 numbers, all of them finite. They are shared, and not to be written into.
    """
    return normals_of(common_uniforms(n_points, n_columns))


def normals_of(uniforms):
    """Return the standard normal quantiles of numbers between 0 and 1, all of them finite."""
    smallest = torch.finfo(uniforms.dtype).eps / 2
    return torch.special.ndtri(uniforms.clamp(smallest, 1 - smallest))
