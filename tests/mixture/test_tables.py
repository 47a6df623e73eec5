"""Components of independent columns, against enumeration, and mixtures of tables and normals."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone

from sklearn_dgm import MixtureDensity
from sklearn_dgm.mixture._tables import pooled_alpha

LEVELS = ["ab", "xyz", "kl", "pq"]


def small_table(n=500, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    columns = {}
    for i, levels in enumerate(LEVELS):
        code = np.where(
            rng.random(n) < 0.75, (kind + i) % len(levels), rng.integers(0, len(levels), n)
        )
        columns["ABCD"[i]] = np.array(list(levels))[code]
    return pd.DataFrame(columns)


def all_cells():
    return pd.DataFrame(itertools.product(*LEVELS), columns=list("ABCD"))


def slow_log_density(density, X):
    """Loops over rows, components and columns."""
    categories = [list(column.categories) for column in density.schema_.columns_]
    result = []
    for row in X.itertuples(index=False):
        terms = []
        for k, weight in enumerate(density.weights_):
            p = [
                density.tables_[j][k, categories[j].index(cell)]
                for j, cell in enumerate(row)
                if cell is not None
            ]
            terms.append(np.log(weight) + np.sum(np.log(p)))
        result.append(logsumexp(terms))
    return np.array(result)


@pytest.fixture(scope="module")
def density():
    return MixtureDensity(3, alpha=2.0, random_state=0).fit(small_table())


def test_scores_are_those_of_a_loop(density):
    cells = all_cells()
    np.testing.assert_allclose(density.score_samples(cells), slow_log_density(density, cells))
    np.testing.assert_allclose(np.exp(density.score_samples(cells)).sum(), 1)


def test_every_marginal_is_the_sum_over_all_cells(density):
    cells = all_cells()
    p = np.exp(density.score_samples(cells))
    for size in range(1, 4):
        for names in itertools.combinations("ABCD", size):
            marginal = cells.assign(p=p).groupby(list(names))["p"].sum()
            frame = marginal.index.to_frame(index=False)
            expected = np.log(marginal.to_numpy())
            np.testing.assert_allclose(density.marginal(list(names)).score_samples(frame), expected)
            gaps = frame.reindex(columns=list("ABCD")).astype(object)
            gaps = gaps.where(gaps.notna(), None)
            np.testing.assert_allclose(density.score_samples(gaps), expected)


def test_one_component_is_smoothed_counts():
    table = small_table()
    density = MixtureDensity(1, alpha=0.0).fit(table)
    for j, name in enumerate("ABCD"):
        share = table[name].value_counts(normalize=True).sort_index()
        np.testing.assert_allclose(density.tables_[j][0], share.to_numpy())


def test_tables_are_drawn_towards_that_of_all_rows():
    """A step from given responsibilities, by hand."""
    table = small_table(200)
    start = np.random.default_rng(0).dirichlet(np.ones(2), 200)
    density = MixtureDensity(2, alpha=5.0, init=start, max_iter=1, tol=1e9).fit(table)
    # max_iter=1 makes one more step, from the responsibilities after the first.
    first = _tables_after(table, start, 5.0)
    log_joint = np.log(start.mean(axis=0)) + sum(
        np.log(p[:, table[name].astype("category").cat.codes]).T for name, p in first.items()
    )
    second = _tables_after(
        table, np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True)), 5.0
    )
    for j, name in enumerate("ABCD"):
        np.testing.assert_allclose(density.tables_[j], second[name], rtol=1e-8)


def left_out(codes, size, alpha):
    """Log-probability of each code under the smoothed shares of the others."""
    total = 0.0
    for i in range(len(codes)):
        others = np.delete(codes, i)
        total += np.log((np.sum(others == codes[i]) + alpha / size) / (len(others) + alpha))
    return total


def test_categories_that_have_a_row_each_leave_room_for_others():
    codes = np.append(np.arange(80), np.zeros(20, dtype=int))
    cells = np.bincount(codes, minlength=300).astype(float)
    candidates = 0.5 * 2.0 ** np.arange(14)
    best = max(candidates, key=lambda alpha: left_out(codes, 300, alpha))
    assert pooled_alpha(cells) == best > 100
    assert pooled_alpha(np.array([500.0, 500.0])) == 4096.0  # evenly spread, as the pseudo-count is
    assert pooled_alpha(np.array([900.0, 0.0])) == 0.5
    assert pooled_alpha(np.zeros(3)) == 0.5


def _tables_after(table, responsibilities, alpha):
    tables = {}
    for name in "ABCD":
        one_hot = pd.get_dummies(table[name]).to_numpy().astype(float)
        codes, size = one_hot.argmax(axis=1), one_hot.shape[1]
        extra = max(0.5 * 2.0 ** np.arange(14), key=lambda a: left_out(codes, size, a))
        pooled = one_hot.sum(axis=0) + extra / size
        pooled /= pooled.sum()
        counts = responsibilities.T @ one_hot + alpha * pooled
        tables[name] = counts / counts.sum(axis=1, keepdims=True)
    return tables


@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("missing", [False, True])
def test_the_objective_never_falls(alpha, missing):
    table = small_table()
    if missing:
        table = table.mask(np.random.default_rng(0).random(table.shape) < 0.3, None)
    density = MixtureDensity(3, alpha=alpha, tol=1e-6, max_iter=1000, random_state=0).fit(table)
    assert np.diff(density.lower_bounds_[0]).min() > -1e-10


def test_permuted_labels_leave_the_density_alone():
    table = small_table()
    start = np.random.default_rng(0).dirichlet(np.ones(3), len(table))
    one = MixtureDensity(3, alpha=1.0, init=start).fit(table)
    other = MixtureDensity(3, alpha=1.0, init=start[:, [2, 0, 1]]).fit(table)
    np.testing.assert_allclose(one.score_samples(table), other.score_samples(table), rtol=1e-8)
    np.testing.assert_allclose(one.weights_[[2, 0, 1]], other.weights_, rtol=1e-8)


def test_free_parameters_are_counted():
    assert MixtureDensity(3, alpha=1.0, random_state=0).fit(
        small_table()
    ).n_parameters_ == 2 + 3 * (1 + 2 + 1 + 1)


@pytest.mark.parametrize("how", ["k-means++", "random"])
def test_it_finds_the_classes_of_a_latent_class_model(how):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 2000)
    X = rng.random((2000, 8)) < np.where(kind[:, None] == 0, 0.15, 0.8)
    density = MixtureDensity(2, init=how, random_state=0).fit(X)
    agrees = np.mean(density.predict(X) == kind)
    assert max(agrees, 1 - agrees) > 0.97
    p = np.sort([table[:, 1] for table in density.tables_], axis=1)
    np.testing.assert_allclose(p, np.tile([0.15, 0.8], (8, 1)), atol=0.06)


def mixed_table(n=600, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    amount = np.where(rng.random(n) < 0.3 + 0.4 * kind, 0.0, rng.normal(5 + 3 * kind, 1))
    return pd.DataFrame(
        {
            "length": rng.normal(3 * kind, 1),
            "amount": amount,
            "count": rng.poisson(2 + 6 * kind),
            "city": np.array(["Oslo", "Rome"])[(kind + (rng.random(n) < 0.2)) % 2],
        }
    )


@pytest.mark.parametrize("component", ["independent", "gaussian"])
def test_mixed_columns_are_draw_and_score_alike(component):
    table = mixed_table()
    density = MixtureDensity(2, component, random_state=0).fit(table)
    assert list(density.schema_.kinds_) == ["continuous", "mixed", "integer", "categorical"]
    drawn = density.sample(4000, random_state=0)
    pd.testing.assert_series_equal(drawn.dtypes, table.dtypes)
    # The mean of the score over draws is minus the entropy, so that draws from the model score as others do.
    halves = [density.score_samples(drawn[i::2]) for i in (0, 1)]
    assert stats.ks_2samp(*halves).pvalue > 1e-3
    assert abs((drawn["amount"] == 0).mean() - (table["amount"] == 0).mean()) < 0.03
    # Rows with an atom, summed with the integral beside it, are the marginal of the other columns.
    row = table.iloc[[0]]
    x = np.concatenate([np.linspace(-40, 60, 100_001)[np.linspace(-40, 60, 100_001) != 0]])
    beside = pd.concat([row] * len(x)).assign(amount=x)
    density_beside = np.exp(density.score_samples(beside))
    total = np.sum(density_beside) * 0.001 + np.exp(density.score_samples(row.assign(amount=0.0)))
    expected = density.score_samples(row.assign(amount=np.nan))
    np.testing.assert_allclose(np.log(total), expected, atol=2e-3)


def test_gaussian_components_with_tables_are_a_product_given_the_class():
    table = mixed_table()[["length", "city"]]
    density = MixtureDensity(2, "gaussian", random_state=0).fit(table)
    place = {city: i for i, city in enumerate(density.schema_.columns_[1].categories)}
    expected = logsumexp(
        [
            np.log(density.weights_[k])
            + stats.norm(density.means_[k, 0], density.covariances_[k, 0, 0] ** 0.5).logpdf(
                table["length"]
            )
            + np.log(density.tables_[1][k, table["city"].map(place)])
            for k in range(2)
        ],
        axis=0,
    )
    np.testing.assert_allclose(density.score_samples(table), expected)


@pytest.mark.parametrize("component", ["independent", "tree", "gaussian"])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_two_whole_numbers_are_two_categories(component, dtype):
    """Whatever the dtype: the same starts, the same fit, and no other value."""
    rng = np.random.default_rng(0)
    flags = rng.random((300, 4)) < np.where(rng.random((300, 1)) < 0.5, 0.85, 0.1)
    density = MixtureDensity(2, component, random_state=0)
    expected = clone(density).fit(flags).score_samples(flags)
    density.fit(flags.astype(dtype))
    np.testing.assert_allclose(density.score_samples(flags.astype(dtype)), expected)
    for value in (-1, 2):
        row = np.array([[0, value, 0, 1]], dtype=dtype)
        assert density.score_samples(row) == -np.inf
    assert np.isin(density.sample(1000, random_state=0), [0, 1]).all()
