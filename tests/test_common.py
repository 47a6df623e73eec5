"""Every density of the catalogue keeps scikit-learn's contract and this package's."""

import pytest
from sklearn.neighbors import KernelDensity
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from sklearn_dgm.utils.discovery import all_estimators
from sklearn_dgm.utils.estimator_checks import parametrize_with_density_checks
from tests.instances import INSTANCES, TESTED_ELSEWHERE

ESTIMATORS = [instance.make() for instance in INSTANCES.values()]
# Estimators are told apart by identity: several of them may have equal parameters.
INSTANCE_OF = {
    id(estimator): instance
    for estimator, instance in zip(ESTIMATORS, INSTANCES.values(), strict=True)
}


@parametrize_with_checks(
    ESTIMATORS, expected_failed_checks=lambda e: INSTANCE_OF[id(e)].fails_scikit_learn
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@parametrize_with_density_checks(
    ESTIMATORS, expected_failed_checks=lambda e: INSTANCE_OF[id(e)].fails
)
def test_density_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("name", "estimator"), all_estimators())
def test_every_estimator_is_in_the_catalogue_or_tested_elsewhere(name, estimator):
    is_in_catalogue = any(type(instance) is estimator for instance in ESTIMATORS)
    assert is_in_catalogue != (name in TESTED_ELSEWHERE)


def test_no_estimator_that_is_tested_elsewhere_is_gone():
    assert set(TESTED_ELSEWHERE) <= set(dict(all_estimators()))


def checks_that_run(estimator):
    results = check_estimator(estimator, on_skip=None, on_fail=None)
    assert not [r["check_name"] for r in results if r["status"] == "failed"]
    return {r["check_name"] for r in results if r["status"] == "passed"}


@pytest.mark.parametrize("name", ["histogram", "autoregressive"])
def test_no_check_is_skipped_that_runs_for_kernel_density(name):
    estimator = INSTANCES[name].make()
    expected = checks_that_run(KernelDensity())
    if get_tags(estimator).input_tags.allow_nan:
        # It forbids missing values; check_missing_cells and check_failed_fit stand in.
        expected -= {"check_estimators_nan_inf"}
    assert expected <= checks_that_run(estimator)
