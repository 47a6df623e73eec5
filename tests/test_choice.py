"""What stands in for a density where none is given."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityImputer,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    MixtureDensity,
    _choice,
    impute,
)
from sklearn_dgm._callbacks import UNTOLD
from sklearn_dgm._choice import best_density, folds_to_choose_by, suitable_densities
from sklearn_dgm.ensemble import _ensemble
from sklearn_dgm.utils.estimator_checks import parametrize_with_density_checks
from tests.instances import FOLDS
from tests.short_training import shorten_training


@pytest.fixture(autouse=True)
def _few_epochs(monkeypatch):
    shorten_training(monkeypatch)


@pytest.fixture
def _tables_alone(monkeypatch):
    """Let the choice be among densities that are fitted in no time."""

    def suitable(X, sample_weight=None):
        return [
            ("mixture", MixtureDensity(2, alpha=1.0, max_iter=20)),
            ("tables", BayesianNetworkDensity("chow-liu", conditional="table")),
            ("independent", BayesianNetworkDensity("empty", conditional="table")),
        ]

    monkeypatch.setattr(_ensemble, "suitable_densities", suitable)
    monkeypatch.setattr(impute, "suitable_densities", suitable)


@pytest.fixture
def frame():
    frame = load_iris(as_frame=True).frame
    return frame.assign(target=frame["target"].map({0: "a", 1: "b", 2: "c"}))


@pytest.mark.usefixtures("_tables_alone")
@parametrize_with_checks([EnsembleDensity(cv=2, random_state=0), DensityImputer(random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.usefixtures("_tables_alone")
@parametrize_with_density_checks(
    [EnsembleDensity(max_members=2, cv=2)],
    expected_failed_checks=lambda _: {"check_weights_equal_repeats": FOLDS},
)
def test_density_checks(estimator, check):
    check(estimator)


def names_for(X):
    return {name for name, _ in suitable_densities(X)}


def test_the_choice_is_by_kinds_and_missing_cells(frame):
    pytest.importorskip("zuko")
    numbers = frame.drop(columns="target")
    assert {"network", "flow", "gaussians"} <= names_for(numbers)
    assert "classes" not in names_for(numbers)
    assert "flow" not in names_for(numbers.mask(numbers > 7))
    assert "flow" not in names_for(numbers.assign(gaps=np.nan))
    assert not {"flow", "gaussians"} & names_for(numbers.iloc[:, :1])
    codes = np.random.default_rng(0).integers(2, size=(50, 6))
    assert {"network", "trees", "classes", "tables"} == names_for(codes)
    assert "continuous_mixture" in names_for(np.tile(codes, 3))
    assert names_for(codes.astype(float)) == names_for(codes)
    assert not {"flow", "gaussians"} & names_for(frame[["target"]])


def test_what_is_fitted_in_seconds_comes_before_what_is_not(frame):
    wide = frame.join(frame.iloc[:, :-1].astype(int).add_suffix("_"), how="left")
    wide = wide.join([wide.filter(like="_").add_suffix(str(k)) for k in range(3)])
    names = [name for name, _ in suitable_densities(wide)]
    assert names[0] == "network"
    assert set(names[1:5]) == {"tables", "trees", "classes", "gaussians"}
    assert names[-1] == "continuous_mixture"


def test_a_density_is_chosen_by_some_of_many_rows(monkeypatch):
    seen = []
    fit, score_samples = HistogramDensity.fit, HistogramDensity.score_samples
    monkeypatch.setattr(_choice, "MOST_FITTED", 300)
    monkeypatch.setattr(_choice, "MOST_HELD_OUT", 50)
    monkeypatch.setattr(
        HistogramDensity,
        "fit",
        lambda self, X, *a, **k: seen.append(len(X)) or fit(self, X, *a, **k),
    )
    monkeypatch.setattr(
        HistogramDensity,
        "score_samples",
        lambda self, X: seen.append(len(X)) or score_samples(self, X),
    )
    X = np.random.default_rng(0).normal(size=(3000, 2))
    rng = np.random.default_rng(0)
    best_density([("coarse", HistogramDensity(2)), ("fine", HistogramDensity())], X, rng, UNTOLD)
    assert sorted(seen) == [50, 50, 300, 300]


def test_rows_without_weight_and_repeats_do_not_change_the_choice(frame):
    X = np.column_stack(
        [np.arange(60.0) % 7, np.random.default_rng(0).normal(size=60), np.ones(60)]
    )
    of_X = [name for name, _ in suitable_densities(np.repeat(X, 2, axis=0))]
    assert [name for name, _ in suitable_densities(X, np.full(60, 2.0))] == of_X
    more, weight = np.vstack([X, np.full((1, 3), np.nan)]), np.append(np.full(60, 2.0), 0.0)
    assert [name for name, _ in suitable_densities(more, weight)] == of_X


def test_without_zuko_there_is_no_flow(frame, monkeypatch):
    monkeypatch.setattr(_choice, "find_spec", lambda name: None)
    assert "flow" not in names_for(frame.drop(columns="target"))


def test_it_fits_scores_and_draws_a_table_of_any_kind(frame):
    frame = frame.iloc[::3, 2:]
    ensemble = EnsembleDensity(cv=2, random_state=0).fit(frame)
    assert list(ensemble.named_estimators_) == [name for name, _ in suitable_densities(frame)]
    assert ensemble.weights_.sum() == pytest.approx(1)
    assert (ensemble.weights_ >= 0.01).all()
    assert len(ensemble.estimators_) == len(ensemble.cv_log_likelihood_) == len(ensemble.weights_)
    assert np.isfinite(ensemble.score_samples(frame)).all()
    assert ensemble.sample(5, random_state=0).dtypes.equals(frame.dtypes)
    restored = pickle.loads(pickle.dumps(ensemble))
    np.testing.assert_array_equal(restored.score_samples(frame), ensemble.score_samples(frame))
    again = clone(ensemble).fit(frame)
    np.testing.assert_array_equal(again.score_samples(frame), ensemble.score_samples(frame))


@pytest.mark.usefixtures("_tables_alone")
def test_members_in_vain_are_dropped_and_cost_nothing():
    x = np.repeat(np.random.default_rng(0).integers(9, size=(300, 1)), 4, axis=1)
    ensemble = EnsembleDensity(random_state=0).fit(x)
    assert ensemble.named_estimators_["independent"] == "drop"
    assert len(ensemble.estimators_) < 3
    # The same as the ensemble of those that are left, with the same folds.
    kept = [(name, d) for name, d in ensemble.named_estimators_.items() if d != "drop"]
    given = EnsembleDensity(kept, weights=ensemble.weights_).fit(x)
    np.testing.assert_allclose(given.score_samples(x), ensemble.score_samples(x))


def test_max_members_are_tried(frame):
    ensemble = EnsembleDensity(max_members=1, random_state=0).fit(frame)
    assert list(ensemble.named_estimators_) == ["network"]
    with pytest.raises(ValueError, match="max_members"):
        EnsembleDensity(max_members=0).fit(frame)


@pytest.mark.usefixtures("_tables_alone")
def test_a_choice_has_no_weights_that_are_given(frame):
    with pytest.raises(ValueError, match="'stacking' or 'equal' if estimators is None"):
        EnsembleDensity(weights=[0.5, 0.5]).fit(frame)
    equal = EnsembleDensity(weights="equal", random_state=0).fit(frame)
    np.testing.assert_array_equal(equal.weights_, [1 / 3] * 3)


@pytest.mark.usefixtures("_tables_alone")
def test_classes_share_what_was_chosen(frame):
    X, y = frame.drop(columns="target"), frame["target"]
    classifier = GenerativeClassifier(EnsembleDensity(random_state=0)).fit(X, y)
    assert classifier.score(X, y) > 0.8
    tried = [list(d.named_estimators_) for d in classifier.estimators_]
    assert tried == [["mixture", "tables", "independent"]] * 3
    with pytest.raises(ValueError, match="schema"):
        EnsembleDensity().fit(X, schema=HistogramDensity().learn_schema(X))


@pytest.mark.usefixtures("_tables_alone")
def test_it_is_searched(frame):
    rows = frame.sample(frac=1, random_state=0)
    search = GridSearchCV(EnsembleDensity(random_state=0), {"max_members": [1, 2]}, cv=2).fit(rows)
    assert search.best_params_["max_members"] in (1, 2)


def test_folds_hold_out_enough_rows():
    rng = np.random.default_rng(0)
    held_out = {
        n: [len(test) for _, test in folds_to_choose_by(np.zeros((n, 1)), rng)]
        for n in (3, 100, 1000, 20_000)
    }
    assert held_out == {3: [1, 1, 1], 100: [20] * 5, 1000: [200] * 3, 20_000: [4000]}


@pytest.mark.usefixtures("_tables_alone")
def test_one_row_cannot_be_held_out(frame):
    with pytest.raises(ValueError, match="n_samples=1"):
        EnsembleDensity().fit(frame[:1])
    assert np.isfinite(EnsembleDensity(random_state=0).fit(frame[48:52]).score(frame[48:52]))


def test_the_best_density_is_that_of_held_out_rows():
    X = np.random.default_rng(0).normal(size=(200, 2)) @ [[1.0, 0.9], [0.0, 0.3]]
    densities = [
        ("overfitted", MixtureDensity(60, "gaussian", reg_covar=1e-9)),
        ("right", MixtureDensity(1, "gaussian")),
        ("independent", MixtureDensity(1, "gaussian", covariance_type="diag")),
    ]
    chosen = best_density(densities, X, np.random.default_rng(0), UNTOLD)
    assert chosen.get_params()["covariance_type"] == "full"
    assert chosen.n_components == 1


@pytest.mark.usefixtures("_tables_alone")
@pytest.mark.parametrize("strategy", ["draw", "mean"])
def test_an_imputer_fills_in_by_its_choice(frame, strategy):
    X = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    imputer = DensityImputer(strategy=strategy, random_state=0).fit(X)
    assert type(imputer.estimator_) in (MixtureDensity, BayesianNetworkDensity)
    given = DensityImputer(imputer.estimator_, strategy=strategy, random_state=0).fit(X)
    pd.testing.assert_frame_equal(given.transform(X), imputer.transform(X))


def test_an_imputer_chooses_a_density(frame):
    X = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    X = X.iloc[::3, 2:]
    imputer = DensityImputer(random_state=0).fit(X)
    filled = imputer.transform(X)
    assert not filled.isna().any(axis=None)
    pd.testing.assert_frame_equal(filled.where(X.notna()), X)
    pd.testing.assert_frame_equal(filled, clone(imputer).fit_transform(X))
    assert (
        not DensityImputer(strategy="mean", random_state=0).fit_transform(X).isna().any(axis=None)
    )
