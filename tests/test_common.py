"""Every density of the catalogue keeps scikit-learn's contract and this package's."""

import pytest
from sklearn.neighbors import KernelDensity
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sklearn_dgm.utils.discovery import all_estimators
from sklearn_dgm.utils.estimator_checks import parametrize_with_density_checks
from tests.instances import EXPECTED_FAILED_CHECKS, INSTANCES

ESTIMATORS = {name: make() for name, make in INSTANCES.items()}
# Estimators are told apart by identity: several of them may have equal parameters.
NAMES = {id(estimator): name for name, estimator in ESTIMATORS.items()}


def expected_failed_checks(estimator):
    return EXPECTED_FAILED_CHECKS.get(NAMES[id(estimator)], {})


@parametrize_with_checks(list(ESTIMATORS.values()))
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_density_checks(
    list(ESTIMATORS.values()), expected_failed_checks=expected_failed_checks
)
def test_density_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("name", "estimator"), all_estimators())
def test_every_density_is_in_the_catalogue(name, estimator):
    assert any(type(instance) is estimator for instance in ESTIMATORS.values())


def checks_that_run(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert not [r["check_name"] for r in results if r["status"] == "failed"]
    return {r["check_name"] for r in results if r["status"] == "passed"}


@pytest.mark.parametrize("name", ["histogram", "autoregressive"])
def test_no_check_is_skipped_that_runs_for_kernel_density(name):
    estimator = INSTANCES[name]()
    expected = checks_that_run(KernelDensity())
    if get_tags(estimator).input_tags.allow_nan:
        # It forbids missing values; check_missing_cells and check_failed_fit stand in.
        expected -= {"check_estimators_nan_inf"}
    assert expected <= checks_that_run(estimator)
