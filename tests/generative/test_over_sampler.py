"""GenerativeOverSampler keeps the convention of imbalanced-learn, and draws from the density of each class."""

import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from imblearn.utils import estimator_checks
from scipy import stats
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    GenerativeOverSampler,
    HistogramDensity,
    TransformedDensity,
)

TABLES = BayesianNetworkDensity("empty", conditional="table")
QUICK = AutoregressiveDensity((16,), n_orders=1, max_epochs=4, dropout=0.2, random_state=0)
DENSITIES = [
    HistogramDensity(alpha=0.01),
    KernelDensity(bandwidth=0.3),
    GaussianMixture(random_state=0),
    QUICK,
]


@parametrize_with_checks([GenerativeOverSampler(density, random_state=0) for density in DENSITIES])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# Those of imbalanced-learn but for sparse tables, which no density takes, and for strings as numbers.
@pytest.mark.parametrize(
    "check",
    [
        "target_type",
        "samplers_one_label",
        "samplers_fit",
        "samplers_pandas",
        "samplers_list",
        "samplers_multiclass_ova",
        "samplers_preserve_dtype",
        "samplers_2d_target",
        "sampler_get_feature_names_out",
        "sampler_get_feature_names_out_pandas",
    ],
)
@pytest.mark.parametrize("density", DENSITIES[:3], ids=lambda density: type(density).__name__)
def test_imbalanced_learn_checks(density, check):
    sampler = GenerativeOverSampler(density, random_state=0)
    getattr(estimator_checks, f"check_{check}")("GenerativeOverSampler", sampler)


def mixed(n=150, seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 5, "often", "rare")
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n).astype("f4") + 2 * (y == "rare"),
            "count": rng.poisson(3, n),
            "city": pd.Categorical(rng.choice(["Oslo", "Rome"], n), categories=["Rome", "Oslo"]),
            "flag": rng.random(n) < 0.3,
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, n), unit="D"),
        }
    )
    return frame, pd.Series(y, name="label")


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
@pytest.mark.parametrize("density", [HistogramDensity(bins=3), TABLES, QUICK])
def test_frames_keep_their_rows_and_dtypes(density, convert):
    frame, y = mixed()
    table, labels = convert(frame), convert(y)
    more, y_more = GenerativeOverSampler(density, random_state=0).fit_resample(table, labels)
    assert type(more) is type(table)
    assert list(more.dtypes) == list(table.dtypes)
    assert more[:150].equals(table)
    assert type(y_more) is type(labels)
    assert y_more.name == "label"
    counts = pd.Series(list(y_more)).value_counts()
    assert counts.to_dict() == {"often": 120, "rare": 120}
    assert set(y_more[150:]) == {"rare"}
    if convert is not pl.from_pandas:
        assert more.index.equals(pd.RangeIndex(240))
        assert y_more.index.equals(pd.RangeIndex(240))


@pytest.mark.parametrize(
    "strategy",
    ["auto", "minority", "not minority", "not majority", "all", {0: 40, 2: 80}, lambda y: {1: 60}],
)
def test_as_many_rows_as_imbalanced_learn_has(strategy):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(130, 2)), np.repeat([0, 1, 2], [20, 50, 60])
    peer = RandomOverSampler(sampling_strategy=strategy).fit_resample(X, y)
    sampler = GenerativeOverSampler(KernelDensity(), sampling_strategy=strategy)
    more, y_more = sampler.fit_resample(X, y)
    assert np.array_equal(np.bincount(y_more), np.bincount(peer[1]))
    assert len(more) == len(y_more)
    assert {label for label, n in sampler.sampling_strategy_.items() if n} == {*sampler.estimators_}


def test_a_ratio_of_two_classes():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 2)), np.repeat([False, True], [100, 20])
    sampler = GenerativeOverSampler(KernelDensity(), sampling_strategy=0.5)
    assert np.bincount(sampler.fit_resample(X, y)[1]).tolist() == [100, 50]


def test_new_rows_follow_the_density_of_their_class():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(2000, 1)), rng.normal(5, 3, size=(500, 1))])
    y = np.repeat([0, 1], [2000, 500])
    sampler = GenerativeOverSampler(GaussianMixture(random_state=0), random_state=0)
    new = sampler.fit_resample(X, y)[0][2500:]
    rows = X[2000:]
    assert new.shape == (1500, 1)
    assert stats.kstest(new[:, 0], stats.norm(rows.mean(), rows.std()).cdf).pvalue > 1e-3


def test_kinds_are_learnt_from_all_rows():
    """Too few rows to tell that a column is rounded, but the others tell."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 1)).round(1), np.arange(300) < 20
    new = GenerativeOverSampler(TABLES, random_state=0).fit_resample(X, y)[0][300:]
    np.testing.assert_allclose(new, new.round(1))


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_kinds_reach_a_density_within(convert):
    X, y = mixed()
    X = convert(X)
    density = TransformedDensity(None, TABLES)
    new, labels = GenerativeOverSampler(density, random_state=0).fit_resample(X, y)
    alone, _ = GenerativeOverSampler(TABLES, random_state=0).fit_resample(X, y)
    assert list(new.dtypes) == list(X.dtypes)
    assert len(new) == len(alone) == len(labels)


def test_seeds():
    frame, y = mixed()
    sampler = GenerativeOverSampler(TABLES, random_state=0)
    assert sampler.fit_resample(frame, y)[0].equals(sampler.fit_resample(frame, y)[0])
    free = clone(sampler).set_params(random_state=None)
    assert not free.fit_resample(frame, y)[0].equals(free.fit_resample(frame, y)[0])


def test_in_pipelines_of_imbalanced_learn():
    frame, y = mixed()
    boosting = HistGradientBoostingClassifier(max_iter=20)
    pipeline = make_pipeline(GenerativeOverSampler(TABLES, random_state=0), boosting)
    X = frame.drop(columns="day")
    assert cross_val_score(pipeline, X, y, scoring="balanced_accuracy", cv=3).mean() > 0.6
    numbers = make_pipeline(
        StandardScaler(), GenerativeOverSampler(KernelDensity()), LogisticRegression()
    )
    grid = {"generativeoversampler__estimator__bandwidth": [0.1, 1.0]}
    assert GridSearchCV(numbers, grid, cv=3).fit(frame[["size", "count"]], y).best_score_ > 0.6


def test_what_is_refused():
    frame, y = mixed()
    for parameters, change, error, message in [
        ({"sampling_strategy": "most"}, {}, ValueError, "'sampling_strategy' parameter"),
        ({"sampling_strategy": 1.5}, {}, ValueError, "'sampling_strategy' parameter"),
        ({"sampling_strategy": {"often": 3}}, {}, ValueError, "greater or equal"),
        ({}, {"y": np.where(y == "rare", "a", "a")}, ValueError, "more than 1 class"),
        ({}, {"y": y[:-1]}, ValueError, "inconsistent numbers of samples"),
        ({}, {"y": np.where(y == "rare", np.nan, 1)}, ValueError, "y contains NaN"),
        ({}, {"y": np.where(y == "rare", None, y)}, ValueError, "missing label.*leave out"),
        ({}, {"y": pd.Series(y == "rare").astype("boolean").mask(y == "rare")}, ValueError, "NaN"),
        ({}, {"y": None}, ValueError, "requires y to be passed"),
        ({}, {"X": frame.iloc[:0], "y": y[:0]}, ValueError, r"0 sample\(s\)"),
        ({}, {"X": frame.mask(frame == 3)}, ValueError, "NaN in column 'count', row"),
        ({"estimator": KernelDensity()}, {}, ValueError, "column 'city'"),
        (
            {"estimator": GaussianMixture(3)},
            {"X": frame[["size"]], "y": np.where(np.arange(150) == 7, "once", "often")},
            ValueError,
            r"class 'once' cannot be fitted to its 1 row\(s\)",
        ),
        (
            {"estimator": make_plain_pipeline(StandardScaler(), KernelDensity())},
            {},
            TypeError,
            "TransformedDensity",
        ),
    ]:
        sampler = GenerativeOverSampler(HistogramDensity()).set_params(**parameters)
        with pytest.raises(error, match=message):
            sampler.fit_resample(**{"X": frame, "y": y, **change})
        assert not [name for name in vars(sampler) if name.endswith("_")]


def test_kernels_that_cannot_draw():
    sampler = GenerativeOverSampler(KernelDensity(kernel="epanechnikov"))
    with pytest.raises(NotImplementedError, match=r"KernelDensity\(kernel='epanechnikov'\) cannot"):
        sampler.fit_resample(np.arange(9.0)[:, None], [0] * 6 + [1] * 3)


def test_without_imbalanced_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn.utils", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-dgm\[imbalanced\]'"):
        GenerativeOverSampler(KernelDensity()).fit([[0.0], [1.0]], [0, 1])


def test_nothing_is_warned_of():
    frame, y = mixed()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        more, y_more = GenerativeOverSampler(TABLES, random_state=0).fit_resample(frame, y)
    assert len(more) == len(y_more) > len(frame)
