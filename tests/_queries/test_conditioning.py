"""Any question to a density: missing cells in fit and score, conditional draws, predictions, marginals, transforms."""

import itertools
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats

from sklearn_dgm import AutoregressiveDensity, is_density
from sklearn_dgm._queries.prediction import ColumnPrediction, resample
from sklearn_dgm._training.batches import RowBatches
from sklearn_dgm._training.missing import IncompleteRows
from sklearn_dgm.nn import completion
from sklearn_dgm.nn.heads import CategoricalHead, MixtureHead


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


def quick(**parameters):
    defaults = {"hidden_layer_sizes": (16,), "n_orders": 2, "max_epochs": 5, "dropout": 0.0}
    return AutoregressiveDensity(**{**defaults, "random_state": 0, **parameters})


LEVELS = [["a", "b", "c"], ["x", "y"], ["k", "l", "m"]]


def small_table(n=600, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, n)
    second = (first + (rng.random(n) < 0.3)) % 2
    third = np.where(rng.random(n) < 0.7, first, rng.integers(0, 3, n))
    codes = np.column_stack([first, second, third])
    return pd.DataFrame({j: np.array(LEVELS[i])[codes[:, i]] for i, j in enumerate("ABC")})


def all_cells():
    return pd.DataFrame(
        [(a, b, c) for a in "abc" for b in "xy" for c in "klm"], columns=list("ABC")
    )


@pytest.fixture(scope="module")
def table_density():
    return quick().fit(small_table())


def mixed_table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    start = np.datetime64("2024-01-01T00:00:00", "us")
    return pd.DataFrame(
        {
            "x": x.astype(np.float32),
            "count": rng.poisson(4, n),
            "city": rng.choice(["Lima", "Oslo", "Rome"], n),
            "size": pd.Categorical(rng.choice(["S", "L"], n), categories=["S", "M", "L"]),
            "day": start + (1e6 * 86400 * rng.random(n) * 30).astype("m8[us]"),
            "flag": rng.random(n) < 0.4,
            "y": 3 * x + rng.normal(size=n),
        }
    )


def with_holes(frame, share=0.3, seed=1):
    holes = np.random.default_rng(seed).random(frame.shape) < share
    return frame.astype({"count": "Int64", "flag": "boolean"}).mask(holes), holes


def as_polars(frame):
    columns = {name: x.astype(object).where(x.notna(), None).tolist() for name, x in frame.items()}
    columns["day"] = [None if day is None else day.to_pydatetime() for day in columns["day"]]
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def mixed_density():
    frame, _ = with_holes(mixed_table(), 0.1)
    return quick().fit(frame)


# A Gaussian, where everything has a closed form.
MEAN = np.array([1.0, -20.0, 300.0, 0.0])
LOADINGS = np.random.default_rng(5).normal(size=(4, 4)) * [1, 10, 100, 1]
COVARIANCE = LOADINGS.T @ LOADINGS


def gaussian_rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4)) @ LOADINGS + MEAN


@pytest.fixture(scope="module")
def gaussian_density():
    # The start is a Gaussian already; without hidden units it stays close to one.
    return quick(
        hidden_layer_sizes=(), n_orders=3, conditional="gaussian-mixture", max_epochs=5
    ).fit(gaussian_rows(4000))


def gaussian_conditional(row, targets):
    """Mean and covariance of some cells given the observed ones."""
    given = np.flatnonzero(~np.isnan(row))
    gain = COVARIANCE[np.ix_(targets, given)] @ np.linalg.inv(COVARIANCE[np.ix_(given, given)])
    mean = MEAN[targets] + gain @ (row[given] - MEAN[given])
    return mean, COVARIANCE[np.ix_(targets, targets)] - gain @ COVARIANCE[np.ix_(given, targets)]


def gaussian_marginal(row):
    given = np.flatnonzero(~np.isnan(row))
    covariance = COVARIANCE[np.ix_(given, given)]
    return stats.multivariate_normal(MEAN[given], covariance).logpdf(row[given])


class TestScores:
    @pytest.mark.usefixtures("in_double_precision")
    def test_marginals_of_a_small_table(self, table_density):
        cells = all_cells()
        p = np.exp(table_density.score_samples(cells))
        assert p.sum() == pytest.approx(1)
        for names in (["A"], ["B", "C"], ["A", "C"]):
            rows = cells.copy()
            rows[names] = None
            rest = [name for name in "ABC" if name not in names]
            expected = pd.Series(p).groupby([cells[name] for name in rest]).transform("sum")
            scores = table_density.score_samples(rows)
            np.testing.assert_allclose(np.exp(scores), expected, rtol=1e-10)

    def test_marginals_of_a_gaussian(self, gaussian_density):
        X = gaussian_rows(200, seed=1)
        X[np.random.default_rng(0).random(X.shape) < 0.4] = np.nan
        X = X[~np.isnan(X).all(axis=1)]
        gap = gaussian_density.score_samples(X) - [gaussian_marginal(row) for row in X]
        assert np.abs(gap).mean() < 0.12
        assert abs(gap.mean()) < 0.03

    def test_complete_rows_score_as_before(self, mixed_density):
        frame = mixed_table()
        holes, _ = with_holes(frame)
        both = pd.concat([frame.astype(holes.dtypes), holes])
        scores = mixed_density.score_samples(both)
        expected = mixed_density.score_samples(frame)
        np.testing.assert_allclose(scores[: len(frame)], expected, rtol=1e-10)

    def test_scores_depend_on_nothing_but_the_row(self, mixed_density):
        frame, _ = with_holes(mixed_table(60, seed=3))
        scores = mixed_density.score_samples(frame)
        assert np.isfinite(scores).all()
        order = np.random.default_rng(0).permutation(len(frame))
        shuffled = mixed_density.score_samples(frame.iloc[order])
        np.testing.assert_allclose(shuffled, scores[order], rtol=1e-9)
        alone = [mixed_density.score_samples(frame.iloc[[i]])[0] for i in range(20)]
        np.testing.assert_allclose(alone, scores[:20], rtol=1e-9)

    def test_nothing_observed_scores_zero(self, mixed_density, gaussian_density):
        nothing, _ = with_holes(mixed_table(2), share=2.0)
        assert mixed_density.score_samples(nothing).tolist() == [0, 0]
        assert (mixed_density.score_features(nothing) == 0).all(axis=None)
        assert gaussian_density.score_samples([[np.nan] * 4]).tolist() == [0]

    def test_shares_of_columns(self, mixed_density):
        frame, holes = with_holes(mixed_table(50, seed=4))
        shares = mixed_density.score_features(frame)
        np.testing.assert_allclose(shares.sum(axis=1), mixed_density.score_samples(frame))
        assert (shares.to_numpy()[holes] == 0).all()

    def test_units_of_missing_cells_play_no_part(self, gaussian_density):
        X = gaussian_rows(30)
        X[:, 2] = np.nan
        scaled = quick(
            hidden_layer_sizes=(), n_orders=3, conditional="gaussian-mixture", max_epochs=5
        ).fit(gaussian_rows(4000) * [1, 1, 1e6, 1])
        np.testing.assert_allclose(
            scaled.score_samples(X), gaussian_density.score_samples(X), atol=1e-2
        )


class TestFit:
    def test_missing_cells_are_taken_into_account(self):
        """Where the second column is missing depends on the first: rows without holes would mislead."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=4000)
        X = np.column_stack([x, 2 * x + rng.normal(size=4000)])
        X[(x > 0) & (rng.random(4000) < 0.9), 1] = np.nan
        density = quick(max_epochs=15).fit(X)
        drawn = density.sample(4000, random_state=0)
        assert np.nanmean(X[:, 1]) < -0.9
        assert drawn.mean(axis=0) == pytest.approx([0, 0], abs=0.15)
        assert np.cov(drawn.T) == pytest.approx(np.array([[1, 2], [2, 5]]), abs=0.4)

    def test_it_learns_more_than_complete_rows_tell(self):
        X, test = gaussian_rows(600), gaussian_rows(2000, seed=1)
        X[np.random.default_rng(0).random(X.shape) < 0.4] = np.nan
        complete = X[~np.isnan(X).any(axis=1)]
        settings = {"hidden_layer_sizes": (), "max_epochs": 10, "conditional": "gaussian-mixture"}
        score = quick(**settings).fit(X).score(test) / len(test)
        of_complete = quick(**settings).fit(complete).score(test) / len(test)
        best = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(test).mean()
        assert of_complete + 0.02 < score < best

    def test_the_record_is_of_the_observed_cells(self):
        X = gaussian_rows(500)
        X[:, :3][np.random.default_rng(0).random((500, 3)) < 0.5] = np.nan
        record = quick().fit(X).history_[0]["valid_log_likelihood"]
        expected = np.mean([gaussian_marginal(row) for row in gaussian_holes(2000)])
        assert record == pytest.approx(expected, abs=1.0)

    def test_weights(self):
        X = gaussian_rows(400)
        X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
        upper = np.nan_to_num(X[:, 0], nan=-99) > 1
        density = quick().fit(X, sample_weight=np.where(upper, 30, 1))
        assert density.sample(500, random_state=0)[:, 0].mean() > 1.5

    def test_the_same_seed_gives_the_same_fit(self):
        frame, _ = with_holes(mixed_table(150))
        scores = quick().fit(frame).score_samples(frame)
        assert np.array_equal(quick().fit(frame).score_samples(frame), scores)

    def test_a_warm_start_goes_on_with_missing_cells(self):
        frame, _ = with_holes(mixed_table(150))
        density = quick(warm_start=True).fit(frame)
        n_epochs = density.n_iter_
        assert density.fit(frame).n_iter_ > n_epochs
        assert np.isfinite(density.score_samples(frame)).all()

    @pytest.mark.parametrize("early_stopping", [False, True])
    def test_rows_without_any_cell_are_no_harm(self, early_stopping):
        X = gaussian_rows(100)
        X[::3] = np.nan
        assert np.isfinite(quick(early_stopping=early_stopping).fit(X).score(gaussian_rows(9)))

    @pytest.mark.parametrize("seed", range(4))
    def test_a_single_hole_may_be_in_a_validation_row(self, seed):
        X = gaussian_rows(20)
        X[3, 1] = np.nan
        density = quick(n_orders=4, random_state=seed, validation_fraction=0.3).fit(X)
        assert np.isfinite(density.score_samples(X)).all()

    def test_each_pass_draws_the_missing_cells_anew(self, gaussian_density):
        given = torch.from_numpy(gaussian_density.schema_.encode(gaussian_holes(50))[0])
        rows = IncompleteRows(given.nan_to_num(0.0), torch.ones(50), given)
        rows.follow(gaussian_density.net_.module_.members[0])
        missing, passes = given.isnan(), []
        torch.manual_seed(0)
        for _ in range(4):
            batches = [z for z, _ in RowBatches(rows, 16)]
            passes.append(torch.cat(batches))
            assert torch.equal(passes[-1][~missing], given[~missing])
        changes = [(a != b)[missing].double().mean() for a, b in itertools.pairwise(passes)]
        assert min(changes) > 0.3
        RowBatches(rows, 16, max_rows=16).__iter__().__next__()
        assert torch.equal(rows.z[16:], passes[-1][16:])

    def test_a_pickle_carries_no_rows(self):
        def size(n):
            X = gaussian_rows(n)
            X[::3, 1] = np.nan
            return len(pickle.dumps(quick(batch_size=500, max_epochs=1, n_orders=1).fit(X)))

        assert size(4000) < size(400) + 10_000


def gaussian_holes(n):
    X = gaussian_rows(n, seed=9)
    X[:, :3][np.random.default_rng(3).random((n, 3)) < 0.5] = np.nan
    return X


class TestConditionalSample:
    def test_draws_of_a_small_table_have_the_conditional_distribution(self, table_density):
        cells = all_cells()
        p = np.exp(table_density.score_samples(cells))
        row = pd.DataFrame({"A": [None], "B": ["x"], "C": [None]})
        drawn, ess = table_density.conditional_sample(row, 4000, random_state=0, return_ess=True)
        assert ess.tolist() == [np.inf]
        counts = drawn.groupby(["A", "C"]).size()
        p = pd.Series(
            p[cells["B"] == "x"], pd.MultiIndex.from_frame(cells[cells["B"] == "x"][["A", "C"]])
        )
        counts = counts.reindex(p.index, fill_value=0)
        # Draws are spread more evenly than independent ones are: only the upper end is bounded.
        assert stats.chisquare(counts, 4000 * p / p.sum()).pvalue > 1e-3

    def test_single_draws_of_many_rows_are_independent(self, table_density):
        cells = all_cells()
        p = np.exp(table_density.score_samples(cells))[(cells["B"] == "x") & (cells["C"] == "k")]
        rows = pd.DataFrame({"A": [None] * 6000, "B": "x", "C": "k"})
        drawn = table_density.conditional_sample(rows, random_state=0)["A"].to_numpy()
        counts = [np.sum(drawn == level) for level in "abc"]
        assert stats.chisquare(counts, 6000 * p / p.sum()).pvalue > 1e-3
        same = np.mean(drawn[1:] == drawn[:-1])
        assert same == pytest.approx(np.sum((p / p.sum()) ** 2), abs=0.03)

    def test_draws_of_a_gaussian(self, gaussian_density):
        row = np.array([np.nan, -35.0, np.nan, 1.0])
        drawn, ess = gaussian_density.conditional_sample(
            row[None], 2000, random_state=0, return_ess=True
        )
        mean, covariance = gaussian_conditional(row, [0, 2])
        spread = np.sqrt(np.diag(covariance))
        assert ess[0] > 1000
        np.testing.assert_allclose((drawn[:, [0, 2]].mean(axis=0) - mean) / spread, 0, atol=0.1)
        found = np.cov(drawn[:, [0, 2]].T) / np.outer(spread, spread)
        np.testing.assert_allclose(found, covariance / np.outer(spread, spread), atol=0.1)

    def test_rows_without_cells_are_sampled(self, gaussian_density):
        drawn, ess = gaussian_density.conditional_sample(
            np.full((1, 4), np.nan), 2000, random_state=0, return_ess=True
        )
        assert ess[0] >= 2000
        for j in range(4):
            sampled = gaussian_density.sample(2000, random_state=1)
            assert stats.ks_2samp(drawn[:, j], sampled[:, j]).pvalue > 1e-3

    def test_observed_cells_come_back_exactly(self, mixed_density):
        frame, holes = with_holes(mixed_table(40, seed=6))
        completed = mixed_density.conditional_sample(frame, 3, random_state=0)
        assert completed.shape == (120, 7)
        assert not completed.isna().any(axis=None)
        for j, name in enumerate(frame):
            given = frame[name][~holes[:, j]].repeat(3)
            found = completed[name][(~holes[:, j]).repeat(3)]
            assert (found.to_numpy() == given.to_numpy()).all(), name
        assert completed.index.tolist() == frame.index.repeat(3).tolist()
        pd.testing.assert_series_equal(completed.dtypes, frame.dtypes)
        drawn = completed["x"].to_numpy().reshape(40, 3)[holes[:, 0]]
        assert (drawn[:, 0] != drawn[:, 1]).all()

    def test_cells_that_the_dtype_of_fit_cannot_hold(self):
        x = np.random.default_rng(0).normal(size=120)
        fitted = pd.DataFrame(
            {"c": pd.Categorical(list("ab") * 60), "u": np.arange(120) % 250, "x": x}
        )
        fitted["u"] = fitted["u"].astype(np.uint8)
        density = quick(handle_unknown="rare").fit(fitted)
        rows = pd.DataFrame({"c": ["zz", None], "u": [300, None], "x": [None, 1.0]})
        completed = density.conditional_sample(rows, random_state=0)
        assert completed["c"][0] == "zz"
        assert completed["c"][1] in "ab"
        assert completed["u"][0] == 300
        dtypes = {"c": pl.Enum(["a", "b"]), "u": pl.UInt8}
        columns = {name: fitted[name].tolist() for name in fitted}
        density = quick(handle_unknown="rare").fit(pl.DataFrame(columns, schema_overrides=dtypes))
        completed = density.conditional_sample(
            pl.DataFrame({"c": ["zz", None], "u": [300, None], "x": [None, 1.0]}), random_state=0
        )
        assert completed["c"][0] == "zz"
        assert completed["u"][0] == 300
        assert completed.null_count().sum_horizontal().item() == 0
        density = quick(handle_unknown="rare").fit(np.array([list("ab") * 60, list("cd") * 60]).T)
        rows = np.array([["zz", None], [None, "c"]], dtype=object)
        assert density.conditional_sample(rows, random_state=0)[0, 0] == "zz"

    def test_rows_with_uneven_weights_have_more_completions(self, monkeypatch):
        rng = np.random.default_rng(0)
        density = quick(n_orders=1, order=[0, 1, 2, 3]).fit(
            rng.normal(size=(400, 4)).cumsum(axis=1)
        )
        row = np.array([[np.nan, np.nan, np.nan, 6.0]])
        best = density.conditional_sample(row, 20_000, random_state=0)[:, 0].mean()
        _, ess = density.conditional_sample(row, random_state=0, return_ess=True)
        assert ess > 20
        error = abs(density.conditional_mean(row)[0, 0] - best)
        monkeypatch.setattr(completion, "MIN_ESS", 0.0)
        _, ess = density.conditional_sample(row, random_state=0, return_ess=True)
        assert ess < 10
        assert 2 * error < abs(density.conditional_mean(row)[0, 0] - best)

    def test_dtypes_are_those_of_fit(self):
        frame = mixed_table()
        density = quick().fit(frame)
        holes, _ = with_holes(frame.head(20))
        completed = density.conditional_sample(holes, random_state=0)
        pd.testing.assert_series_equal(completed.dtypes, frame.dtypes)

    def test_polars(self):
        frame = as_polars(mixed_table())
        density = quick().fit(frame)
        holes, _ = with_holes(mixed_table(30, seed=7))
        completed = density.conditional_sample(as_polars(holes).cast(dict(frame.schema)), 2)
        assert completed.schema == frame.schema
        assert completed.null_count().sum_horizontal().item() == 0
        prediction = density.predict_column(frame.drop("city").head(5), "city")
        assert prediction.probabilities.shape == (5, 3)
        marginal = density.marginal(["y", "city"])
        assert marginal.sample(4).columns == ["y", "city"]
        assert marginal.score_samples(frame.select("y", "city")).shape == (300,)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
    def test_arrays(self, dtype):
        X = gaussian_rows(200).astype(dtype)
        density = quick().fit(X)
        X[::2, 1] = np.nan
        completed = density.conditional_sample(X[:30], random_state=0)
        assert completed.dtype == dtype
        assert (completed[1::2] == X[1:30:2]).all()
        assert np.isfinite(completed.astype(float)).all()
        assert (completed[::2, [0, 2, 3]] == X[:30:2, [0, 2, 3]]).all()

    def test_seeds(self, gaussian_density):
        row = [[np.nan, 1.0, np.nan, 0.0]]
        first = gaussian_density.conditional_sample(row, 5, random_state=1)
        assert np.array_equal(first, gaussian_density.conditional_sample(row, 5, random_state=1))
        assert not np.array_equal(first, gaussian_density.conditional_sample(row, 5))

    def test_complete_rows_come_back(self, gaussian_density):
        X = gaussian_rows(3)
        completed, ess = gaussian_density.conditional_sample(X, 2, return_ess=True)
        assert np.array_equal(completed, np.repeat(X, 2, axis=0))
        assert ess.tolist() == [np.inf] * 3

    def test_errors(self, gaussian_density, table_density):
        with pytest.raises(
            ValueError, match="3 features, but AutoregressiveDensity is expecting 4"
        ):
            gaussian_density.conditional_sample(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="n_samples should be a positive integer, got 0"):
            gaussian_density.conditional_sample(np.zeros((2, 4)), 0)
        rows = pd.DataFrame({"A": ["a", None], "B": ["x", "never seen"], "C": [None, None]})
        with pytest.raises(ValueError, match="Row 1: its observed cells have density 0"):
            table_density.conditional_sample(rows)
        with pytest.raises(ValueError, match="feature names"):
            table_density.conditional_sample(rows.rename(columns={"A": "Z"}))

    def test_a_rare_category_can_be_conditioned_on(self):
        density = quick(handle_unknown="rare").fit(small_table())
        rows = pd.DataFrame({"A": [None], "B": ["new"], "C": ["k"]})
        completed = density.conditional_sample(rows, 5, random_state=0)
        assert set(completed["B"]) == {"new"}
        assert set(completed["A"]) <= set("abc")


class TestConditionalMean:
    def test_expectations_of_a_gaussian(self, gaussian_density):
        X = gaussian_holes(40)
        completed = gaussian_density.conditional_mean(X)
        for row, found in zip(X, completed, strict=True):
            missing = np.flatnonzero(np.isnan(row))
            if len(missing):
                mean, covariance = gaussian_conditional(row, missing)
                gap = (found[missing] - mean) / np.sqrt(np.diag(covariance))
                assert np.abs(gap).max() < 0.6
            assert np.array_equal(found[~np.isnan(row)], row[~np.isnan(row)])

    def test_most_probable_categories(self, table_density):
        rows = all_cells()
        rows["A"] = None
        expected = table_density.predict_column(rows, "A").mode()
        assert table_density.conditional_mean(rows)["A"].tolist() == expected.tolist()

    def test_mixed_columns(self, mixed_density):
        frame, _ = with_holes(mixed_table(40, seed=6))
        completed = mixed_density.conditional_mean(frame)
        assert not completed.isna().any(axis=None)
        pd.testing.assert_series_equal(completed.dtypes, frame.dtypes)
        assert completed.equals(mixed_density.conditional_mean(frame))


class TestConditionalMode:
    def test_most_probable_outcome(self, table_density):
        rows = pd.DataFrame({"A": [None, "a", None], "B": [None, None, "y"], "C": [None, "k", "l"]})
        cells = all_cells()
        log_p = table_density.score_samples(cells)
        found = table_density.conditional_mode(rows)
        for i, row in rows.iterrows():
            agrees = ((cells == row) | row.isna()).all(axis=1).to_numpy()
            best = cells[agrees].iloc[log_p[agrees].argmax()]
            assert found.loc[i].tolist() == best.tolist()

    def test_of_a_gaussian_it_is_the_mean(self, gaussian_density):
        row = np.array([2.0, np.nan, 250.0, 1.0])
        (mean,), ((variance,),) = gaussian_conditional(row, [1])
        found = gaussian_density.conditional_mode(row[None])[0]
        assert (found[1] - mean) / np.sqrt(variance) == pytest.approx(0, abs=0.3)
        assert np.array_equal(found[[0, 2, 3]], row[[0, 2, 3]])


class TestPredictColumn:
    @pytest.mark.usefixtures("in_double_precision")
    def test_probabilities_are_exact(self, table_density):
        cells = all_cells()
        joint = np.exp(table_density.score_samples(cells)).reshape(3, 2, 3)
        prediction = table_density.predict_column(cells, "B")
        expected = joint / joint.sum(axis=1, keepdims=True)
        expected = np.repeat(expected.transpose(0, 2, 1)[:, None], 2, axis=1).reshape(18, 2)
        assert prediction.categories.tolist() == ["x", "y"]
        np.testing.assert_allclose(prediction.probabilities, expected)
        given_a = cells.assign(C=None)
        expected = joint.sum(axis=2) / joint.sum(axis=(1, 2))[:, None]
        found = table_density.predict_column(given_a, "B").probabilities
        np.testing.assert_allclose(found, np.repeat(expected, 6, axis=0))

    def test_the_column_itself_is_ignored(self, table_density):
        frame = small_table(20, seed=2)
        expected = table_density.predict_column(frame, "B").probabilities
        for X in (frame.drop(columns="B"), frame.assign(B=None), frame.assign(B="y")):
            assert np.array_equal(table_density.predict_column(X, "B").probabilities, expected)
        assert np.array_equal(table_density.predict_column(frame, 1).probabilities, expected)

    def test_numbers_of_a_gaussian(self, gaussian_density):
        row = np.array([2.0, np.nan, 250.0, np.nan])
        (mean,), ((variance,),) = gaussian_conditional(row, [1])
        prediction = gaussian_density.predict_column(row[None], 1)
        spread = np.sqrt(variance)
        assert prediction.categories is None
        assert prediction.effective_sample_size[0] > 100
        assert (prediction.mean()[0] - mean) / spread == pytest.approx(0, abs=0.1)
        expected = stats.norm(mean, spread).ppf([0.1, 0.5, 0.9])
        found = prediction.quantile([0.1, 0.5, 0.9])[0]
        np.testing.assert_allclose((found - expected) / spread, 0, atol=0.15)
        drawn = prediction.sample(2000, random_state=0)[0]
        assert (drawn.mean() - mean) / spread == pytest.approx(0, abs=0.15)
        assert drawn.std() == pytest.approx(spread, rel=0.1)

    @pytest.mark.parametrize("with_atom", [False, True])
    def test_numbers_are_integrated(self, with_atom):
        X = skewed_rows(300)
        if with_atom:
            X[::4, 1] = 0.0
        density = quick(n_orders=3).fit(X)
        assert density.schema_.kinds_[1] == ("mixed" if with_atom else "continuous")
        rows = skewed_rows(3, seed=1)
        grid = np.linspace(-15, 15, 20_001)
        grid[10_000] = 0.0
        prediction = density.predict_column(rows, 1)
        assert (prediction.effective_sample_size == np.inf).all()
        for i, row in enumerate(rows):
            p = np.exp(
                density.score_samples(np.insert(row[[0, 2]] + 0 * grid[:, None], 1, grid, axis=1))
            )
            mass = p[grid == 0] if with_atom else 0.0
            p[grid == 0] = p[grid == grid[np.abs(grid).argmin() + 1]]
            below = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2 * np.diff(grid))])
            below += mass * (grid >= 0)
            mean = np.trapezoid(p * grid, grid) / below[-1]
            assert prediction.mean()[i] == pytest.approx(mean, abs=2e-3)
            found = prediction.quantile([0.05, 0.3, 0.5, 0.9])[i]
            at = np.interp(found, grid, below / below[-1])
            if with_atom:
                at[found == 0] = np.array([0.05, 0.3, 0.5, 0.9])[found == 0]
            np.testing.assert_allclose(at, [0.05, 0.3, 0.5, 0.9], atol=0.02)

    def test_whole_numbers_beside_a_missing_number(self, monkeypatch):
        """Against quadrature; and the network must not see every value with every completion."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=400)
        count = (100 + 30 * x + 5 * rng.normal(size=400)).round().astype(int)
        frame = pd.DataFrame({"x": x, "count": count, "y": x + 0.5 * rng.normal(size=400)})
        density = quick(n_orders=3).fit(frame)
        rows, n_seen = frame.head(2).assign(x=np.nan), []
        for head in (MixtureHead, CategoricalHead):

            def log_prob(self, params, z, *args, original=head.log_prob, **kwargs):
                n_seen.append(z.numel())
                return original(self, params, z, *args, **kwargs)

            monkeypatch.setattr(head, "log_prob", log_prob)
        prediction = density.predict_column(rows, "count")
        values = prediction.categories
        assert len(values) > 100
        assert sum(n_seen) < len(rows) * 3 * 40 * len(values)
        grid = np.linspace(-5, 5, 81)
        asked = pd.DataFrame({"x": np.tile(grid, len(values)), "count": values.repeat(len(grid))})
        for y, found in zip(rows["y"], prediction.probabilities, strict=True):
            p = np.exp(density.score_samples(asked.assign(y=y))).reshape(len(values), -1)
            expected = np.trapezoid(p, grid, axis=1)
            assert np.abs(found - expected / expected.sum()).sum() / 2 < 0.05

    def test_what_the_column_holds_is_not_even_read(self):
        frame = pd.DataFrame({"x": [0.1, 0.7, 1.9] * 40, "c": list("aab") * 40})
        density = quick(handle_unknown="error").fit(frame)
        asked = pd.DataFrame({"x": [0.1], "c": ["?"]})
        expected = density.predict_column(asked[["x"]], "c").probabilities
        assert np.array_equal(density.predict_column(asked, "c").probabilities, expected)
        numbers = pd.DataFrame({"x": ["?"], "c": ["a"]})
        found = density.predict_column(numbers, "x")
        assert found.mean() == density.predict_column(numbers[["c"]], "x").mean()

    def test_a_column_of_its_own(self):
        density = quick().fit(skewed_rows(200)[:, :1])
        prediction = density.predict_column([[np.nan], [3.0]], 0)
        assert prediction.mean()[0] == prediction.mean()[1]
        assert prediction.mean()[0] == pytest.approx(1, abs=0.3)

    def test_counts_and_times(self, mixed_density):
        frame = mixed_table(6, seed=8)
        counts = mixed_density.predict_column(frame.drop(columns="count"), "count")
        assert counts.categories.tolist() == sorted(counts.categories.tolist())
        np.testing.assert_allclose(counts.probabilities.sum(axis=1), 1)
        expected = counts.probabilities @ counts.categories.astype(float)
        np.testing.assert_allclose(counts.mean(), expected)
        assert np.isin(counts.quantile([0.2, 0.9]), counts.categories).all()
        days = mixed_density.predict_column(frame, "day")
        assert days.mean().dtype.kind == "M"
        assert (days.quantile(0.05) < days.mean()).all()
        assert (days.mean() < days.quantile(0.95)).all()

    def test_errors(self, table_density, gaussian_density):
        with pytest.raises(ValueError, match="column names 'D', which is not a column of X"):
            table_density.predict_column(small_table(2), "D")
        with pytest.raises(TypeError, match="column 'A' is categorical"):
            table_density.predict_column(small_table(2), "A").mean()
        with pytest.raises(TypeError, match="column 0 has no most probable value"):
            gaussian_density.predict_column(gaussian_rows(2), 0).mode()
        with pytest.raises(ValueError, match="q should be between 0 and 1"):
            gaussian_density.predict_column(gaussian_rows(2), 0).quantile(2)
        with pytest.raises(ValueError, match="one or a list of such numbers"):
            gaussian_density.predict_column(gaussian_rows(2), 0).quantile([[0.5]])
        for n_samples in (0, 1.5):
            with pytest.raises(ValueError, match="n_samples should be a positive integer"):
                gaussian_density.predict_column(gaussian_rows(2), 0).sample(n_samples)
        with pytest.raises(ValueError, match="2 features"):
            gaussian_density.predict_column(gaussian_rows(2)[:, :2], 0)
        with pytest.raises(ValueError, match="feature names"):
            table_density.predict_column(small_table(2).drop(columns="A"), "B")


@pytest.mark.parametrize("verbose", [0, 1])
def test_long_questions_tell_how_far_they_are(monkeypatch, capsys, mixed_density, verbose):
    monkeypatch.setattr("sklearn_dgm.chunks._progress.SECONDS_A_LINE", 0.0)
    monkeypatch.setattr(mixed_density, "verbose", verbose)
    frame, _ = with_holes(mixed_table(20, seed=5))
    for ask in (
        lambda: mixed_density.predict_column(frame, "city"),
        lambda: mixed_density.predict_column(frame, "y"),
        lambda: mixed_density.conditional_sample(frame, random_state=0),
        lambda: mixed_density.conditional_mean(frame),
        lambda: mixed_density.conditional_mode(frame),
    ):
        ask()
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1:] == verbose * ["20 of 20 rows are answered."]


def test_quantiles_of_weighted_values(mixed_density):
    column = mixed_density.schema_.columns_[1]
    z = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 5.0]])
    prediction = ColumnPrediction(column, z, np.array([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]]))
    low = column.location
    assert (prediction.quantile([0, 0.5, 0.51, 1]) - low).tolist() == [[1, 1, 2, 3], [0, 0, 5, 5]]
    assert (prediction.mean() - low).tolist() == pytest.approx([1.7, 2.5])


def test_systematic_resampling_is_even():
    weight = np.random.default_rng(0).dirichlet(np.ones(7), size=5)
    chosen = resample(weight, 1000, np.random.default_rng(0))
    counts = np.array([np.bincount(row, minlength=7) for row in chosen])
    assert np.abs(counts - 1000 * weight).max() < 1.001
    first = resample(np.tile(weight, (4000, 1)), 3, np.random.default_rng(1))[::5, 0]
    assert stats.chisquare(np.bincount(first, minlength=7), 4000 * weight[0]).pvalue > 1e-3


class TestMarginal:
    def test_it_is_a_density_of_the_columns(self, table_density):
        marginal = table_density.marginal(["C", "A"])
        assert is_density(marginal)
        cells = pd.DataFrame([(c, a) for c in "klm" for a in "abc"], columns=["C", "A"])
        p = np.exp(marginal.score_samples(cells))
        assert p.sum() == pytest.approx(1)
        assert marginal.score(cells) == pytest.approx(np.log(p).sum())
        drawn = marginal.sample(4000, random_state=0)
        assert list(drawn.columns) == ["C", "A"]
        counts = drawn.groupby(["C", "A"]).size().reindex(pd.MultiIndex.from_frame(cells))
        assert stats.chisquare(counts.fillna(0), 4000 * p).pvalue > 1e-3

    def test_marginals_of_a_gaussian(self, gaussian_density):
        X = gaussian_rows(100, seed=3)
        marginal = gaussian_density.marginal([2, 1])
        expected = stats.multivariate_normal(MEAN[[2, 1]], COVARIANCE[np.ix_([2, 1], [2, 1])])
        gap = marginal.score_samples(X[:, [2, 1]]) - expected.logpdf(X[:, [2, 1]])
        assert np.abs(gap).mean() < 0.18
        assert marginal.n_features_in_ == 2

    def test_it_answers_questions_itself(self, mixed_density):
        frame = mixed_table(10, seed=2)
        marginal = mixed_density.marginal(["y", "city", "day"])
        rows = frame[["y", "city", "day"]].assign(city=None)
        completed = marginal.conditional_sample(rows, 2, random_state=0)
        assert completed["city"].isin(["Lima", "Oslo", "Rome"]).all()
        assert (completed["y"] == rows["y"].repeat(2)).all()
        assert marginal.predict_column(rows, "city").probabilities.shape == (10, 3)
        once_more = marginal.marginal(["city"])
        np.testing.assert_allclose(
            once_more.score_samples(frame[["city"]]),
            mixed_density.marginal(["city"]).score_samples(frame[["city"]]),
        )

    def test_of_all_columns_it_is_the_density(self, mixed_density):
        frame = mixed_table(20)
        marginal = mixed_density.marginal(list(frame))
        np.testing.assert_allclose(
            marginal.score_samples(frame), mixed_density.score_samples(frame)
        )
        copy = pickle.loads(pickle.dumps(marginal))
        assert np.array_equal(copy.score_samples(frame), marginal.score_samples(frame))

    def test_errors(self, table_density):
        with pytest.raises(ValueError, match="columns names 'D'"):
            table_density.marginal(["A", "D"])
        with pytest.raises(ValueError, match="names a column twice"):
            table_density.marginal(["A", 0])
        for columns in ([], "A", None, [True, False, True]):
            with pytest.raises(ValueError, match="columns should be a list"):
                table_density.marginal(columns)
        with pytest.raises(TypeError, match="Fit the density that the marginal is of"):
            table_density.marginal(["A"]).fit(small_table()[["A"]])
        with pytest.raises(ValueError, match="feature names"):
            table_density.marginal(["A"]).score_samples(small_table()[["B"]])


class TestAnyOrder:
    @pytest.fixture(scope="class")
    def density(self):
        return quick(order="any", n_orders=3, conditional="gaussian-mixture", max_epochs=10).fit(
            gaussian_rows(1000)
        )

    def test_it_is_a_density(self):
        density = quick(order="any", n_orders=3).fit(small_table())
        assert np.exp(density.score_samples(all_cells())).sum() == pytest.approx(1)
        rows = all_cells().assign(B=None)
        expected = pd.Series(np.exp(density.score_samples(all_cells())))
        expected = expected.groupby([rows["A"], rows["C"]]).transform("sum")
        np.testing.assert_allclose(np.exp(density.score_samples(rows)), expected)

    def test_marginals_and_conditionals_of_a_gaussian(self, density):
        X = gaussian_rows(2000, seed=2)
        best = stats.multivariate_normal(MEAN, COVARIANCE).logpdf(X).mean()
        assert density.score(X) / len(X) > best - 0.1
        X = gaussian_holes(60)
        gap = density.score_samples(X) - [gaussian_marginal(row) for row in X]
        assert abs(np.mean(gap)) < 0.1
        row = np.array([np.nan, -35.0, np.nan, 1.0])
        drawn, ess = density.conditional_sample(row[None], 500, random_state=0, return_ess=True)
        mean, covariance = gaussian_conditional(row, [0, 2])
        assert ess[0] > 3000
        gap = (drawn[:, [0, 2]].mean(axis=0) - mean) / np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(gap, 0, atol=0.25)

    def test_threads_do_not_disturb_each_other(self, density):
        X = gaussian_holes(40)
        expected = density.score_samples(X)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(density.score_samples, [X] * 12):
                assert np.array_equal(found, expected)

    def test_a_row_is_scored_alone(self, density):
        X = gaussian_holes(30)
        scores = density.score_samples(X)
        alone = [density.score_samples(row[None])[0] for row in X]
        np.testing.assert_allclose(alone, scores, rtol=1e-9)

    def test_missing_cells_in_fit(self):
        frame, _ = with_holes(mixed_table(80))
        density = quick(order="any").fit(frame)
        assert np.isfinite(density.score_samples(frame)).all()
        again = quick(order="any").fit(frame)
        assert np.array_equal(again.score_samples(frame), density.score_samples(frame))
        restored = pickle.loads(pickle.dumps(density))
        assert np.array_equal(restored.score_samples(frame), density.score_samples(frame))
        assert not density.sample(20, random_state=0).isna().any(axis=None)

    def test_a_warm_start_goes_on(self):
        density = quick(order="any", warm_start=True).fit(gaussian_rows(200))
        n_epochs = density.n_iter_
        assert density.fit(gaussian_rows(200)).n_iter_ > n_epochs


def skewed_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=n)
    return np.column_stack(
        [x, np.sin(3 * x) + 0.2 * rng.normal(size=n), 1e4 * rng.gamma(2, size=n)]
    )
