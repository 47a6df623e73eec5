"""Checks that a density keeps the contract, for any scikit-learn compatible density.

:func:`sklearn.utils.estimator_checks.check_estimator` looks neither at what `score_samples` means nor at `sample`: a
density that integrates to 539, ignores its weights and loses its state in a pickle passes it. These checks look. Known
distributions, sums and quadrature are the oracles, so none of them trusts the density it checks.
"""

import functools
import warnings
from typing import Any, Literal
from unittest import SkipTest

from sklearn_dgm.utils._density_checks import CHECKS_OF_FIRST_FITS, PLAIN_CHECKS
from sklearn_dgm.utils._distribution_checks import CHECKS_OF_DISTRIBUTIONS
from sklearn_dgm.utils._known_distributions import KNOWN_DISTRIBUTIONS


def check_density_estimator(
    estimator: Any,
    *,
    expected_failed_checks: dict[Any, Any] | None = None,
    on_skip: Literal["warn"] | None = "warn",
    on_fail: Literal["raise", "warn"] | None = "raise",
) -> list[Any]:
    """Check that a density keeps the contract of this package.

    Parameters
    ----------
    estimator : estimator instance
        Any density with `fit`, `score_samples` and `sample`. It is cloned, and `random_state` is set where there is
        one.
    expected_failed_checks : dict of str to str, default=None
        Names of checks that are expected to fail, with the reason.
    on_skip : {"warn", None}, default="warn"
        Whether a check that does not apply gives a warning.
    on_fail : {"raise", "warn", None}, default="raise"
        What an unexpected failure does.

    Returns
    -------
    results : list of dict
        For each check `check_name`, `status` ("passed", "failed", "skipped" or "xfail"), `exception` and
        `expected_to_fail_reason`.

    Raises
    ------
    Exception
        What the first failing check raises, under ``on_fail="raise"``.
    ValueError
        If an option is invalid or `expected_failed_checks` names no check.

    See Also
    --------
    parametrize_with_density_checks : The same as one pytest test a check.
    sklearn.utils.estimator_checks.check_estimator : What every estimator should pass as well.

    Examples
    --------
    >>> from sklearn_dgm import HistogramDensity
    >>> from sklearn_dgm.utils.estimator_checks import check_density_estimator
    >>> results = check_density_estimator(HistogramDensity(alpha=0.01), on_skip=None)
    >>> {result["status"] for result in results} <= {"passed", "skipped"}
    True
    """
    if on_skip not in ("warn", None) or on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_skip={on_skip!r}, on_fail={on_fail!r}: see the docstring.")
    expected = _expected(estimator, expected_failed_checks)
    results = []
    for name, check in density_checks().items():
        status: str = "passed"
        exception: Exception | None = None
        try:
            check(estimator)
        except SkipTest as skip:
            status, exception = "skipped", skip
            if on_skip == "warn":
                warnings.warn(f"{name} is skipped: {skip}", stacklevel=2)
        except Exception as error:
            status, exception = ("xfail" if name in expected else "failed"), error
            if status == "failed" and on_fail == "raise":
                raise
            if status == "failed" and on_fail == "warn":
                warnings.warn(f"{name} failed: {error!r}", stacklevel=2)
        results.append(
            {
                "check_name": name,
                "status": status,
                "exception": exception,
                "expected_to_fail_reason": expected.get(name),
            }
        )
    return results


def parametrize_with_density_checks(
    estimators: list[Any], *, expected_failed_checks: Any = None
) -> Any:
    """Return the pytest decorator that runs every check on every estimator, as a test of its own.

    Parameters
    ----------
    estimators : list of estimator instances
        Densities to check.
    expected_failed_checks : callable, default=None
        ``expected_failed_checks(estimator)`` gives a dict from names of checks that are expected to fail to reasons.

    Returns
    -------
    decorator : pytest.mark.parametrize
        For a test function with the arguments `estimator` and `check`, whose body is ``check(estimator)``.

    See Also
    --------
    check_density_estimator : The same as one call.

    Examples
    --------
    >>> from sklearn_dgm import HistogramDensity
    >>> from sklearn_dgm.utils.estimator_checks import parametrize_with_density_checks
    >>> @parametrize_with_density_checks([HistogramDensity()])
    ... def test_density_checks(estimator, check):
    ...     check(estimator)
    """
    import pytest

    tests = []
    for estimator in estimators:
        expected = _expected(
            estimator, expected_failed_checks and expected_failed_checks(estimator)
        )
        shown = " ".join(repr(estimator).split())
        for name, check in density_checks().items():
            # As scikit-learn's parametrize_with_checks marks what its caller expects to fail, with the caller's reason.
            marks = [pytest.mark.xfail(reason=expected[name])] if name in expected else []
            tests.append(pytest.param(estimator, check, marks=marks, id=f"{shown}-{name}"))
    return pytest.mark.parametrize(("estimator", "check"), tests)


def _expected(estimator, expected_failed_checks):
    expected = dict(expected_failed_checks or {})
    unknown = set(expected) - set(density_checks())
    if unknown:
        raise ValueError(
            f"expected_failed_checks of {estimator!r} names no check: {sorted(unknown)}."
        )
    return expected


def density_checks() -> dict[Any, Any]:
    """Return all checks by name.

    Returns
    -------
    checks : dict of str to callable
        Each takes an estimator, and raises if something is wrong or :class:`unittest.SkipTest` if it does not apply.
    """
    of_distributions = {
        f"{check.__name__} ({name})": functools.partial(check, distribution=name)
        for check in CHECKS_OF_DISTRIBUTIONS
        for name in KNOWN_DISTRIBUTIONS
    }
    first, plain = (
        {check.__name__: check for check in checks}
        for checks in (CHECKS_OF_FIRST_FITS, PLAIN_CHECKS)
    )
    return first | of_distributions | plain
