"""Outlier detectors of tables that are read a chunk at a time."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.neighbors import KernelDensity

from sklearn_dgm import DensityOutlierDetector, HistogramDensity
from tests.chunks.tables import Parts

N_ROWS = 4000


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr("sklearn_dgm.chunks._sampling.SAMPLE_ROWS", 1000)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=N_ROWS), "b": rng.gamma(2, size=N_ROWS)})


def detector_of(**options):
    return DensityOutlierDetector(HistogramDensity(8, alpha=0.01), random_state=0, **options)


def test_density_is_fitted_to_all_rows(X):
    detector = detector_of(contamination=0.05).fit(Parts(X, 300))
    whole = detector_of(contamination=0.05).fit(X)
    assert np.array_equal(detector.estimator_.counts_, whole.estimator_.counts_)
    parts = Parts(X, 450)
    assert np.array_equal(detector.score_samples(parts), whole.score_samples(X))
    assert (detector.predict(X) < 0).mean() == pytest.approx(0.05, abs=0.03)
    for method in ("predict", "decision_function"):
        assert np.array_equal(getattr(detector, method)(parts), getattr(detector, method)(X))
    assert np.array_equal(np.concatenate(list(detector.iter_scores(X, 99))), whole.score_samples(X))


def test_rows_that_are_kept_from_the_fit(X):
    detector = detector_of(calibration="holdout", score_type="typicality").fit(Parts(X, 300))
    assert len(detector.calibration_scores_) == 100
    assert detector.estimator_.total_ == N_ROWS - 200
    p_values = detector.p_values(Parts(X, 1000))
    assert np.array_equal(p_values, detector.p_values(X))
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.04)
    weight = np.ones(N_ROWS)
    weight[::2] = 0
    detector.fit(Parts(X, 300), sample_weight=weight)
    assert N_ROWS / 2 - 200 < detector.estimator_.total_ < N_ROWS / 2


def test_committees_are_fitted_to_a_sample(X):
    detector = DensityOutlierDetector(contamination=0.1, random_state=0).fit(Parts(X, 500))
    assert (detector.predict(Parts(X, 1000)) < 0).mean() == pytest.approx(0.1, abs=0.04)
    members = [("one", HistogramDensity(5, alpha=1)), ("two", KernelDensity())]
    weight = np.ones(N_ROWS)
    detector = DensityOutlierDetector(members, random_state=0)
    detector.fit(Parts(X, 500), sample_weight=weight)
    assert 1000 <= detector.estimator_.estimators_[0].total_ <= 1020


def test_noise_is_the_same_in_each_loop(X):
    first, again = (detector_of(smoothing=0.5).fit(Parts(X, 300)) for _ in range(2))
    whole = detector_of(smoothing=0.5).fit(X)
    assert np.array_equal(first.estimator_.counts_, again.estimator_.counts_)
    assert first.estimator_.total_ == N_ROWS
    low, high = (density.estimator_.edges_[1][[0, -1]] for density in (first, whole))
    assert low != pytest.approx(X["b"].min(), abs=1e-6)
    assert high == pytest.approx(low, abs=1.0)


def test_frozen_densities_are_not_fitted(X):
    fitted = HistogramDensity(8, alpha=0.01).fit(X[:500])
    detector = DensityOutlierDetector(FrozenEstimator(fitted), calibration="holdout")
    detector.fit(Parts(X, 300))
    assert len(detector.calibration_scores_) >= 1000


def test_progress_is_told(X, monkeypatch, capsys):
    monkeypatch.setattr("sklearn_dgm.chunks._progress.SECONDS_A_LINE", 0.0)
    for verbose in (0, 1):
        detector = detector_of(verbose=verbose).fit(Parts(X, 1000))
        told = capsys.readouterr().out.splitlines()
        assert told == verbose * [f"{n} rows are read." for n in (1000, 2000, 3000, 4000)]
        detector.predict(Parts(X, 2000))
        assert capsys.readouterr().out.splitlines()[-1:] == verbose * ["4000 rows are scored."]


def test_what_a_stream_cannot_do(X):
    with pytest.raises(ValueError, match="trim looks for neighbours among all rows"):
        detector_of(trim="auto").fit(Parts(X, 300))
    with pytest.raises(TypeError, match="KernelDensity learns from rows in memory alone"):
        DensityOutlierDetector(KernelDensity()).fit(Parts(X, 300))
    X = X.copy()
    X.loc[1234, "a"] = np.inf
    detector = detector_of()
    with pytest.raises(ValueError, match="column 'a', row 1234"):
        detector.fit(Parts(X, 300))
    assert not hasattr(detector, "estimator_")
    with pytest.raises(ValueError, match="column 'a', row 1234"):
        DensityOutlierDetector().fit(Parts(X, 300))
