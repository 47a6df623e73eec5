"""Searches over outlier detectors: scorers for rows with labels and without."""

import io
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    BayesianNetworkDensity,
    DensityOutlierDetector,
    mean_log_likelihood,
    neg_bits_per_dim,
)
from sklearn_dgm.metrics import neg_mass_volume, outlier_roc_auc

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2))
    is_outlier = np.arange(200) % 10 == 0
    X[is_outlier] *= 3
    return X, is_outlier


class TestLabelled:
    @pytest.mark.parametrize(
        "detector",
        [
            DensityOutlierDetector(KernelDensity()),
            IsolationForest(random_state=0),
            make_pipeline(StandardScaler(), DensityOutlierDetector(KernelDensity())),
        ],
        ids=lambda detector: type(detector).__name__,
    )
    def test_each_convention_has_the_same_area(self, rows, detector):
        X, is_outlier = rows
        detector.fit(X)
        expected = roc_auc_score(is_outlier, -detector.score_samples(X))
        assert expected > 0.7
        for y in (
            is_outlier,
            is_outlier.astype(int),
            np.where(is_outlier, -1, 1),
            pd.Series(is_outlier),
        ):
            assert outlier_roc_auc(detector, X, y) == pytest.approx(expected)

    def test_impossible_rows_are_lowest(self):
        class Given:
            def score_samples(self, X):
                return X[:, 0]

        X = np.array([[-np.inf], [-np.inf], [0.0], [1.0]])
        assert outlier_roc_auc(Given(), X, [1, 1, 0, 0]) == 1
        assert outlier_roc_auc(Given(), X, [1, 0, 1, 0]) == pytest.approx((0.5 + 1 + 0 + 1) / 4)

    @pytest.mark.parametrize(
        "y", [None, [1, 1, 1, 1], [-1, 0, 1, 1], [1, 2, 1, 2], list("abab"), [0, 0, 0, 0]]
    )
    def test_labels_that_do_not_tell(self, y):
        detector = IsolationForest(n_estimators=2).fit(np.eye(4))
        with pytest.raises(ValueError, match="outlier_roc_auc needs y"):
            outlier_roc_auc(detector, np.eye(4), y)


class TestUnlabelled:
    def test_volume_of_a_known_law(self):
        """Level sets of a standard normal are discs, the smallest sets of their mass."""
        X = np.random.default_rng(0).normal(size=(4000, 2))

        class Normal:
            def score_samples(self, X):
                return -np.sum(np.asarray(X) ** 2, axis=1)

        area = np.prod(np.ptp(X, axis=0))
        mass = np.linspace(0.9, 0.999, 100)
        expected = -np.mean(np.log(np.pi * stats.chi2(2).ppf(mass) / area))
        assert neg_mass_volume(Normal(), X) == pytest.approx(expected, abs=0.03)

    def test_tells_good_from_bad(self, rows):
        X, _ = rows
        detector = DensityOutlierDetector([("kernel", KernelDensity())], random_state=0)
        search = GridSearchCV(
            detector, {"kernel__bandwidth": [0.01, 0.5]}, scoring=neg_mass_volume, cv=3
        ).fit(X)
        assert search.best_params_ == {"kernel__bandwidth": 0.5}
        frame = pd.DataFrame(X, columns=["a", "b"])
        again = neg_mass_volume(search.best_estimator_.fit(frame), frame)
        assert again == neg_mass_volume(search.best_estimator_.fit(X), X)

    def test_rows_of_the_box_are_like_those_of_the_table(self):
        """A column of times stays one, and all rows are scored at once, however few X has."""
        n = 24
        rng = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "time": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, n), "h"),
                "count": rng.integers(0, 9, n).astype(np.int16),
                "size": rng.normal(size=n),
            }
        )
        detector = DensityOutlierDetector(BayesianNetworkDensity("empty", conditional="table"))
        detector.fit(table)
        asked = []

        class Asked:
            def score_samples(self, X):
                asked.append(X)
                return detector.score_samples(X)

        assert np.isfinite(neg_mass_volume(Asked(), table))
        assert len(asked) == 2
        drawn = asked[1]
        assert drawn.dtypes.equals(table.dtypes)
        assert (drawn.min() >= table.min()).all()
        assert (drawn.max() <= table.max()).all()

    def test_where_it_cannot_work(self):
        table = pd.DataFrame({"c": list("abcd") * 10, "x": np.arange(40.0)})
        with pytest.raises(ValueError, match="column 'c' has categories"):
            neg_mass_volume(DensityOutlierDetector().fit(table), table)
        X = np.random.default_rng(0).normal(size=(100, 30))
        with pytest.raises(ValueError, match="too many columns"):
            neg_mass_volume(DensityOutlierDetector(KernelDensity()).fit(X), X)
        with pytest.raises(TypeError, match="StandardScaler has no score_samples"):
            neg_mass_volume(StandardScaler().fit(X), X)


@pytest.mark.parametrize("metric", [mean_log_likelihood, neg_bits_per_dim])
def test_likelihoods_say_what_to_take_instead(rows, metric):
    X, _ = rows
    for detector in (DensityOutlierDetector(KernelDensity()), IsolationForest(n_estimators=5)):
        with pytest.raises(TypeError, match="is not: .* outlier_roc_auc"):
            cross_val_score(detector, X, scoring=metric, error_score="raise")


def test_labels_that_are_not_there(rows):
    X, _ = rows
    with pytest.raises(ValueError, match="outlier_roc_auc needs y.*neg_mass_volume"):
        cross_val_score(
            IsolationForest(n_estimators=5), X, scoring=outlier_roc_auc, error_score="raise"
        )


def test_no_score():
    with pytest.raises(AttributeError) as raised:
        DensityOutlierDetector().score([[0.0]])
    assert "scoring=sklearn_dgm.metrics.outlier_roc_auc" in str(raised.value.__cause__)
    assert not hasattr(DensityOutlierDetector(), "score")


@pytest.mark.parametrize("block", range(4))
def test_recipes_of_the_docs(block):
    text = (DOCS / "outliers.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(blocks[block], {})


@pytest.mark.parametrize("shape", [(8, 24, 1), (8, 8, 3), (6, 8, 4)])
@pytest.mark.parametrize(("unit", "n_levels"), [(1, 256), (1 / 255, 256), (1 / 16, 17)])
def test_the_correction_for_complexity_takes_colours_and_floats(shape, unit, n_levels):
    text = (DOCS / "outliers.md").read_text()
    recipe = {}
    exec(re.findall(r"```python\n(import io.*?)```", text, re.DOTALL)[0], recipe)
    levels = np.random.default_rng(0).integers(0, n_levels, (4, 192))
    levels[:2] = levels[:2, :1]  # of one grey
    density = SimpleNamespace(image_shape_=shape, score_samples=lambda X: np.zeros(len(X)))
    scores = recipe["corrected_scores"](density, levels * unit, unit)
    expected = []
    for image in levels.astype(np.uint8).reshape(4, *shape):
        Image.fromarray(image.squeeze()).save(file := io.BytesIO(), "PNG")
        expected.append(8 * file.tell())
    np.testing.assert_array_equal(scores, expected)
    assert scores[:2].max() < 0.8 * scores[2:].min()
    with pytest.raises(ValueError, match="levels of pixels should be 0 to 255"):
        recipe["corrected_scores"](density, levels * unit - 1, unit)
