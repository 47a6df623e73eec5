"""The estimator: starts, warm starts, partial fits, errors."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_dgm import MixtureDensity
from sklearn_dgm.mixture import _fitting
from sklearn_dgm.mixture._rows import WeightedRows
from tests.mixture.test_gaussian import clusters, holes
from tests.mixture.test_tables import mixed_table, small_table


@pytest.mark.parametrize("component", ["independent", "gaussian"])
def test_neither_order_nor_repeats_change_the_fit(component):
    table = mixed_table(300)
    count = np.random.default_rng(0).integers(0, 3, len(table))
    density = MixtureDensity(3, component, random_state=0)
    weighted = density.fit(table, sample_weight=count).score_samples(table)
    repeated = table.loc[table.index.repeat(count)].sample(frac=1, random_state=0)
    np.testing.assert_allclose(density.fit(repeated).score_samples(table), weighted, atol=1e-6)


def test_equal_rows_are_taken_together_with_their_weights_and_starts():
    Z = np.array([[1.0, np.nan], [0.0, 2.0], [1.0, np.nan], [-0.0, 2.0]])
    start = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
    rows = WeightedRows.of(Z, np.array([1.0, 2.0, 3.0, 2.0]), start)
    np.testing.assert_array_equal(rows.Z, [[0.0, 2.0], [1.0, np.nan]])
    np.testing.assert_array_equal(rows.weight, [4.0, 4.0])
    np.testing.assert_array_equal(rows.start, [[0.75, 0.25], [0.25, 0.75]])


def test_a_fifth_of_the_weight_validates():
    rng = np.random.default_rng(0)
    weight = np.concatenate([rng.integers(1, 12, 3000), rng.random(3000), [1e5 + 0.5, 1e300]])
    rows = WeightedRows(np.arange(len(weight))[:, None], weight)
    train, valid = rows.split()
    for part in (train, valid):
        assert (part.weight > 0).all()
    both = np.zeros(len(weight))
    for part in (train, valid):
        both[part.Z[:, 0]] += part.weight
    np.testing.assert_allclose(both, weight)
    of_valid = np.zeros(len(weight))
    of_valid[valid.Z[:, 0]] = valid.weight
    for part in (slice(3000), slice(3000, 6000), slice(6000, 6001), slice(6001, 6002)):
        assert of_valid[part].sum() == pytest.approx(0.2 * weight[part].sum(), rel=0.1)
    assert (of_valid[:3000] % 1 == 0).all()
    np.testing.assert_array_equal(rows.split()[1].weight, valid.weight)
    # Equal rows are not as frequent in both parts: their shares are those of chance.
    ratio = of_valid[:3000] / weight[:3000]
    assert ratio.var() == pytest.approx(np.mean(0.16 / weight[:3000]), rel=0.1)


def test_alpha_is_chosen_by_rows_that_validate():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 6, (150, 12)).astype(str).astype(object)
    assert MixtureDensity(6, random_state=0).fit(noise).alpha_ == 30.0
    kinds = rng.integers(0, 4, 2000)
    exact = np.repeat(kinds[:, None], 6, axis=1).astype(str).astype(object)
    exact[rng.random(exact.shape) < 0.01] = "other"
    assert MixtureDensity(4, random_state=0).fit(exact).alpha_ < 30.0
    assert MixtureDensity(2, alpha=7, random_state=0).fit(noise).alpha_ == 7.0
    assert MixtureDensity(2, "gaussian", random_state=0).fit(clusters()).alpha_ is None


def test_the_best_of_several_starts_is_kept():
    X = clusters()
    density = MixtureDensity(4, "gaussian", n_init=4, random_state=0).fit(X)
    last = [bounds[-1] for bounds in density.lower_bounds_]
    assert len(last) == 4
    assert len(set(np.round(last, 6))) > 1
    assert density.lower_bound_ == max(last)
    assert density.n_iter_ == len(density.lower_bounds_[int(np.argmax(last))]) - 1
    assert density.converged_


def test_a_warm_start_goes_on_where_the_last_fit_ended(monkeypatch):
    monkeypatch.setattr(_fitting, "CHOOSING_STEPS", 9)  # as many in both
    X = clusters()
    parameters = {"component": "gaussian", "random_state": 0, "tol": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        long = MixtureDensity(3, max_iter=19, **parameters).fit(X)
        warm = MixtureDensity(3, max_iter=9, warm_start=True, **parameters).fit(X)
        before = warm.lower_bound_
        warm.fit(X)
    assert warm.lower_bounds_[0][0] >= before - 1e-9
    np.testing.assert_allclose(warm.score_samples(X), long.score_samples(X), atol=1e-6)
    with pytest.raises(ValueError, match="warm_start continues a fit of 3 components"):
        warm.set_params(n_components=4).fit(X)
    assert warm.weights_.shape == (3,)  # as it was


def of_lines(n, seed=0):
    """Rows near three lines, of whose covariances that of all rows knows nothing."""
    rng = np.random.default_rng(seed)
    kind, along = rng.integers(3, size=n), rng.normal(size=n)
    directions = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]])[kind]
    return 4 * kind[:, None] + along[:, None] * directions + 0.01 * rng.normal(size=(n, 3))


def prior_rows(density):
    return density._mixture.normals.covariances.prior.rows


def test_a_warm_start_chooses_what_the_fit_before_could_not():
    parameters = {"n_components": 3, "component": "gaussian", "random_state": 0}
    fresh = MixtureDensity(**parameters).fit(of_lines(300))
    warm = MixtureDensity(**parameters, warm_start=True).fit(of_lines(30))
    assert prior_rows(warm) == 5.0  # two, and one for each column: too few rows to choose by
    assert prior_rows(warm.fit(of_lines(300))) == prior_rows(fresh) < 1
    other = MixtureDensity(**parameters, covariance_type="diag", warm_start=True).fit(of_lines(300))
    assert prior_rows(other.set_params(covariance_type="full").fit(of_lines(300))) < 1


def test_copies_of_rows_do_not_validate_each_other():
    weight = np.random.default_rng(0).uniform(0.1, 9, 4000)
    rows = WeightedRows(np.arange(4000)[:, None], weight)
    train, valid = rows.split_rows()
    assert not np.intersect1d(train.Z, valid.Z).size
    for part in (train, valid):
        np.testing.assert_array_equal(part.weight, weight[part.Z[:, 0]])
    assert len(train.Z) + len(valid.Z) == 4000
    assert len(valid.Z) == pytest.approx(800, rel=0.1)
    # Few rows that are heavy are still few.
    heavy = np.repeat(of_lines(40), 50, axis=0)
    assert prior_rows(MixtureDensity(3, "gaussian", random_state=0).fit(heavy)) == 5.0


def test_rows_that_no_table_has_seen_do_not_end_the_choice():
    X = pd.DataFrame(of_lines(300)).rename(columns=str)
    X["kind"] = pd.Categorical(np.where(np.arange(300) == 7, "rare", "usual"))
    for seed in range(3):  # whichever part the rare row is in
        order = np.random.default_rng(seed).permutation(300)
        density = MixtureDensity(3, "gaussian", alpha=0.0, random_state=0).fit(X.iloc[order])
        assert prior_rows(density) < 1


@pytest.mark.parametrize("component", ["independent", "gaussian", "tree"])
def test_a_schema_may_say_flag_where_rows_have_other_values(component):
    rng = np.random.default_rng(0)
    flags = rng.integers(2, size=(60, 2))
    X = np.column_stack([flags, rng.integers(3, size=60)]).astype(np.int64)
    schema = MixtureDensity(2, component).learn_schema(X)
    stray = X.copy()
    stray[5, 1] = 7
    with pytest.raises(ValueError, match="column 1 has the value 7, which is impossible"):
        MixtureDensity(2, component, random_state=0).fit(stray, schema=schema)
    scores = MixtureDensity(2, component, random_state=0).fit(X, schema=schema).score_samples(stray)
    assert np.flatnonzero(np.isneginf(scores)).tolist() == [5]


@pytest.mark.parametrize("component", ["independent", "gaussian", "tree"])
def test_parts_of_the_rows_add_up(component):
    table = mixed_table(2000)
    whole = MixtureDensity(2, component, alpha=1.0, random_state=0).fit(table)
    parts = MixtureDensity(2, component, alpha=1.0, random_state=0)
    for start in range(0, 2000, 500):
        parts.partial_fit(table.iloc[start : start + 500])
    gap = whole.score(table) / 2000 - parts.score(table) / 2000
    assert abs(gap) < (0.2 if component == "tree" else 0.1)  # of cells that 500 rows settle
    first = MixtureDensity(2, component, alpha=1.0, random_state=0).fit(table.iloc[:500])
    new = mixed_table(2000, seed=1)
    assert parts.score(new) > first.score(new)
    assert parts._mixture.counts.weight.sum() == pytest.approx(2000)


def test_a_step_of_partial_fit_of_one_component_is_maximum_likelihood():
    X = clusters()
    density = MixtureDensity(1, "gaussian", reg_covar=0.0)
    density.partial_fit(X[:150]).partial_fit(X[150:200]).partial_fit(
        X[200:], sample_weight=np.full(len(X) - 200, 2.0)
    )
    weight = np.where(np.arange(len(X)) < 200, 1.0, 2.0)
    np.testing.assert_allclose(density.means_[0], np.average(X, axis=0, weights=weight))
    np.testing.assert_allclose(density.covariances_[0], np.cov(X.T, aweights=weight, bias=True))


@pytest.mark.parametrize("covariance_type", ["diag", "factor", "tied"])
def test_partial_fits_take_missing_cells(covariance_type):
    X = holes(clusters())
    density = MixtureDensity(2, "gaussian", covariance_type=covariance_type, random_state=0)
    density.partial_fit(X[:200]).partial_fit(X[200:])
    assert np.isfinite(density.score_samples(X)).all()
    with pytest.raises(ValueError, match="infinity"):
        density.partial_fit(np.where(np.isnan(X), np.inf, X))
    assert density._mixture.counts.weight.sum() == pytest.approx(len(X))


def test_given_responsibilities_of_rows_without_weight_play_no_part():
    X = clusters()
    start = np.random.default_rng(0).dirichlet(np.ones(2), len(X))
    weight = np.ones(len(X))
    weight[::3] = 0
    one = MixtureDensity(2, "gaussian", init=start, random_state=0).fit(X, sample_weight=weight)
    kept = weight > 0
    other = MixtureDensity(2, "gaussian", init=start[kept], random_state=0).fit(X[kept])
    np.testing.assert_allclose(one.means_, other.means_, atol=1e-8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"component": "tre"}, "component"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"reg_covar": -1.0}, "reg_covar"),
        ({"alpha": "much"}, "alpha"),
        ({"init": np.ones((3, 2))}, "init should hold responsibilities"),
        ({"init": -np.ones((500, 8))}, "init should hold responsibilities"),
    ],
)
def test_errors_name_the_parameter(parameters, message):
    with pytest.raises(ValueError, match=message):
        MixtureDensity(**parameters).fit(small_table())


def test_attributes_of_normals_are_absent_without_them():
    density = MixtureDensity(2, alpha=1.0, random_state=0).fit(small_table())
    assert not hasattr(density, "means_")
    assert not hasattr(density, "covariances_")
    assert density.tables_[0].shape == (2, 2)


def test_a_fit_that_did_not_converge_warns():
    with pytest.warns(ConvergenceWarning, match="max_iter=3"):
        MixtureDensity(3, "gaussian", max_iter=3, tol=0.0, random_state=0).fit(clusters())


def test_a_search_finds_the_number_of_components():
    X = clusters(900, 2)
    search = GridSearchCV(
        MixtureDensity(component="gaussian", random_state=0), {"n_components": [1, 3]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"n_components": 3}


def test_unknown_categories_and_constants():
    table = small_table().assign(same=1.0)
    density = MixtureDensity(2, handle_unknown="rare", random_state=0).fit(table)
    row = table.iloc[[0]]
    unknown = density.score_samples(row.assign(A="z"))
    assert np.isfinite(unknown)
    assert unknown < density.score_samples(row)
    plain = MixtureDensity(2, random_state=0).fit(table)
    assert plain.score_samples(row.assign(A="z"))[0] == -np.inf
    np.testing.assert_allclose(plain.predict_proba(row.assign(A="z"))[0], plain.weights_)
    assert plain.score_samples(row.assign(same=2.0))[0] == -np.inf


def test_a_column_without_any_value_stays_without():
    table = small_table().assign(empty=None)
    density = MixtureDensity(2, random_state=0).fit(table)
    assert density.sample(5, random_state=0)["empty"].isna().all()
    assert pd.isna(density.conditional_mean(table.head(2))["empty"]).all()


def test_what_continues_has_as_many_components():
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = MixtureDensity(2, random_state=0).fit(X).set_params(n_components=3)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match="with n_components=2, which cannot become 3; call fit"):
        density.partial_fit(X)
    with pytest.raises(ValueError, match="2 components, but n_components=3"):
        density.set_params(warm_start=True).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), before)


@pytest.mark.parametrize("init", [[0.5, 0.5], np.ones((60, 2, 1)), np.full((60, 2), np.nan)])
def test_a_start_that_is_none_names_its_parameter(init):
    with pytest.raises(ValueError, match="init"):
        MixtureDensity(2, init=init).fit(np.random.default_rng(0).normal(size=(60, 2)))


def test_a_warm_start_with_other_rows_is_one_clear_error():
    table = mixed_table(100)
    density = MixtureDensity(2, warm_start=True, handle_unknown="error", random_state=0).fit(table)
    name = table.columns[[table[c].dtype.kind not in "if" for c in table].index(True)]
    other = table.astype({name: object})
    other[name] = "new"
    with pytest.raises(ValueError, match="warm_start goes on from the previous fit"):
        density.fit(other)
    with pytest.raises(ValueError, match="warm_start goes on from the previous fit"):
        density.fit(table.iloc[:, :2])


def test_fit_predict_is_both():
    X = clusters()
    density = MixtureDensity(3, "gaussian", random_state=0)
    np.testing.assert_array_equal(density.fit_predict(X), density.predict(X))


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "factor"])
def test_precisions_are_the_inverses_of_covariances(covariance_type):
    density = MixtureDensity(2, "gaussian", covariance_type=covariance_type, random_state=0)
    density.fit(clusters() * [1.0, 10.0, 0.1])
    if covariance_type == "diag":
        np.testing.assert_allclose(density.precisions_ * density.covariances_, 1.0)
    else:
        products = density.precisions_ @ density.covariances_
        np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-8)


@pytest.mark.parametrize("component", ["independent", "gaussian", "tree"])
def test_tiny_weights_leave_a_density(component):
    X = clusters(60)
    density = MixtureDensity(3, component, random_state=0).fit(X, sample_weight=np.full(60, 1e-300))
    assert np.isfinite(density.score_samples(X)).all()
