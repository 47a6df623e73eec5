"""The continuous mixture: its answers against its arrays, enumeration and quadrature, and what training finds."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from sklearn_dgm import ContinuousMixtureDensity
from sklearn_dgm.mixture import _continuous, _decoded, _decoded_trees, _finite, _refining
from sklearn_dgm.mixture._decoded import DecodedTables, PointMixture
from sklearn_dgm.mixture._refining import Blocks, refined
from tests.mixture.test_tables import all_cells, mixed_table, small_table

QUICK = {"hidden_layer_sizes": (16,), "n_points_fit": 64, "max_epochs": 8, "lr": 0.02}
QUICK |= {"n_points": 64, "random_state": 0}


@pytest.fixture(scope="module", params=["independent", "tree"])
def density(request):
    return ContinuousMixtureDensity(2, request.param, **QUICK).fit(small_table())


def with_gaps(X, seed=0):
    return X.mask(np.random.default_rng(seed).random(X.shape) < 0.2)


def test_the_probabilities_of_all_rows_sum_to_one(density):
    assert np.exp(density.score_samples(all_cells())).sum() == pytest.approx(1, abs=1e-9)


def test_scores_are_those_of_a_loop_over_its_arrays():
    X = mixed_table()
    density = ContinuousMixtureDensity(2, **QUICK).fit(X)
    rows = with_gaps(X.head(30))
    numbers = density.gaussian_features_.tolist()
    tables, weights = density.tables_, density.weights_
    expected = []
    for row in rows.itertuples(index=False):
        log_p = np.log(weights)
        for j, (column, cell) in enumerate(zip(density.schema_.columns_, row, strict=True)):
            if pd.isna(cell):
                continue
            atoms = [] if column.atoms is None else list(column.atoms)
            if column.is_categorical:
                log_p = log_p + np.log(tables[j][:, list(column.categories).index(cell)])
            elif cell in atoms:
                log_p = log_p + np.log(tables[j][:, atoms.index(cell)])
            elif j in numbers:
                i = numbers.index(j)
                log_p = log_p + (np.log(tables[j][:, -1]) if atoms else 0.0)
                scale = np.sqrt(density.covariances_[:, i])
                log_p = log_p + stats.norm(density.means_[:, i], scale).logpdf(cell)
                if column.is_whole:
                    log_p = log_p + np.log(column.scale)  # of a cell, the probability
            else:
                codes, within = density._mixture.tables.axes[
                    density._mixture.tables.features.index(j)
                ].encode(column.encoded(np.array([float(cell)])))
                log_p = log_p + np.log(tables[j][:, codes[0]]) + within[0]
        expected.append(logsumexp(log_p))
    np.testing.assert_allclose(density.score_samples(rows), expected, rtol=1e-9)


def test_missing_cells_are_summed_out(density):
    cells = all_cells()
    p = np.exp(density.score_samples(cells))
    for seed in range(5):
        for row in with_gaps(cells.head(4), seed).itertuples(index=False):
            agrees = np.ones(len(cells), dtype=bool)
            for name, cell in zip(cells, row, strict=True):
                agrees &= pd.isna(cell) | (cells[name] == cell).to_numpy()
            score = density.score_samples(pd.DataFrame([row], columns=list(cells)))
            assert np.exp(score[0]) == pytest.approx(p[agrees].sum())


def test_conditionals_are_those_of_enumeration(density):
    cells = all_cells()
    p = np.exp(density.score_samples(cells))
    row = pd.DataFrame({"A": ["a"], "B": [None], "C": ["l"], "D": [None]})
    agrees = ((cells["A"] == "a") & (cells["C"] == "l")).to_numpy()
    of_b = pd.Series(p[agrees]).groupby(cells["B"][agrees].to_numpy()).sum()
    of_b /= of_b.sum()
    predicted = density.predict_column(row, "B").probabilities
    np.testing.assert_allclose(np.ravel(predicted), of_b, rtol=1e-8)
    assert density.conditional_mean(row)["B"].item() == of_b.idxmax()
    drawn = density.conditional_sample(row, 4000, random_state=0)
    shares = drawn["B"].value_counts(normalize=True)[of_b.index]
    np.testing.assert_allclose(shares, of_b, atol=0.03)


def test_draws_come_from_the_density(density):
    cells = all_cells()
    drawn = density.sample(20_000, random_state=0)
    counts = drawn.value_counts().reindex(pd.MultiIndex.from_frame(cells), fill_value=0)
    expected = np.exp(density.score_samples(cells)) * len(drawn)
    assert stats.chisquare(counts, expected * (counts.sum() / expected.sum())).pvalue > 1e-3


def test_transform_is_the_posterior_mean_by_quadrature():
    X = small_table()
    density = ContinuousMixtureDensity(1, **QUICK | {"n_points": 4096}, alpha=None).fit(X)
    h = np.linspace(-8, 8, 4001)
    with torch.no_grad():
        module = density.net_.module_
        rows = torch.tensor(density._layout.rows(density.schema_.encode(X.head(20))[0]))
        log_p = module.log_joint(rows, torch.tensor(h)[:, None]).numpy()
    posterior = np.exp(log_p - log_p.max(axis=1, keepdims=True)) * stats.norm.pdf(h)
    expected = posterior @ h / posterior.sum(axis=1)
    np.testing.assert_allclose(density.transform(X.head(20))[:, 0], expected, atol=2e-3)
    assert density.get_feature_names_out().tolist() == ["continuousmixturedensity0"]


def test_inverse_transform_gives_the_likeliest_cells_of_the_decoder(density):
    X = small_table()
    H = density.transform(X.head(6))
    rows = density.inverse_transform(H)
    assert list(rows) == list(X)
    for h, row in zip(H, rows.itertuples(index=False), strict=True):
        mixture = density._mixture_at(density.net_.module_, h[None])
        scores = mixture.log_prob(density.schema_.encode(all_cells())[0])
        for j, name in enumerate("ABCD"):
            of_cells = pd.Series(np.exp(scores)).groupby(all_cells()[name]).sum()
            assert of_cells.idxmax() == row[j]
    with pytest.raises(ValueError, match="H has 3 columns, but there are 2 latents"):
        density.inverse_transform(np.zeros((2, 3)))


def test_inverse_transform_gives_means_of_numbers():
    rng = np.random.default_rng(0)
    h = rng.normal(size=800)
    X = np.column_stack([h, -h]) * [10, 0.01] + rng.normal(size=(800, 2)) * [1, 0.001] + 5
    density = ContinuousMixtureDensity(1, **QUICK | {"max_epochs": 30}).fit(X)
    back = density.inverse_transform(density.transform(X))
    assert np.corrcoef(back[:, 0], X[:, 0])[0, 1] > 0.95
    assert np.corrcoef(back[:, 1], X[:, 1])[0, 1] > 0.95


def correlated(n, d=8, seed=0):
    """Binary columns that are independent given a normal variable."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n, 1))
    return (rng.random((n, d)) < 1 / (1 + np.exp(-2.5 * h * np.linspace(-1, 1, d)))).astype(bool)


@pytest.mark.parametrize("component", ["independent", "tree"])
def test_training_finds_what_independent_columns_have_in_common(component):
    X, held_out = correlated(1500), correlated(2000, seed=1)
    params = QUICK | {"max_epochs": 40, "n_points": 256}
    density = ContinuousMixtureDensity(1, component, **params).fit(X)
    p = X.mean(axis=0)
    alone = stats.bernoulli(p).logpmf(held_out).sum(axis=1).mean()
    cells = np.array(list(itertools.product([False, True], repeat=8)))
    h = np.linspace(-8, 8, 801)
    q = 1 / (1 + np.exp(-2.5 * h[:, None] * np.linspace(-1, 1, 8)))
    joint = np.exp(cells @ np.log(q).T + ~cells @ np.log(1 - q).T) @ stats.norm.pdf(h)
    joint /= joint.sum()
    best = np.log(joint[held_out @ 2 ** np.arange(7, -1, -1)]).mean()
    reached = density.score_samples(held_out).mean()
    assert reached > alone + 0.8 * (best - alone)
    assert np.exp(density.score_samples(cells)).sum() == pytest.approx(1, abs=1e-9)


def test_a_decoder_that_has_not_learnt_is_told_of():
    X = np.random.default_rng(0).random((400, 5)) < 0.5
    with pytest.warns(ConvergenceWarning, match="all components are alike"):
        ContinuousMixtureDensity(2, **QUICK | {"lr": 1e-9, "max_epochs": 1}).fit(X)


@pytest.mark.parametrize("alpha", [None, 10.0])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_few_points_are_told_of(early_stopping, alpha):
    X = correlated(1500, d=30)
    params = QUICK | {"max_epochs": 20, "early_stopping": early_stopping, "alpha": alpha}
    few = 4 if alpha is None else 2
    with pytest.warns(ConvergenceWarning, match=f"{2 * few} points in place of {few} raise"):
        ContinuousMixtureDensity(1, **params | {"n_points": few}).fit(X)
    ContinuousMixtureDensity(1, **params).fit(X)  # without a warning


def test_a_step_of_refinement_is_that_of_a_loop():
    X = with_gaps(small_table(200))
    density = ContinuousMixtureDensity(2, **QUICK, alpha=None).fit(X)
    decoded, Z = density._mixture, density.schema_.encode(X)[0]
    weight = np.random.default_rng(0).integers(1, 4, len(Z)).astype(float)
    after = refined(decoded, Blocks.of(decoded, Z, weight), None, 5.0, n_steps=1).mixture
    shares = np.exp(decoded.log_posterior_of(Z)) * weight[:, None]
    np.testing.assert_allclose(after.weights, (shares.sum(0) + 1) / (shares.sum(0) + 1).sum())
    start = 0
    for j, size in enumerate(decoded.tables.n_levels):
        own = slice(start, start + size)
        start += size
        counts = np.stack([shares[Z[:, j] == c].sum(axis=0) for c in range(size)], axis=1)
        drawn = counts + 5.0 * np.exp(decoded.tables.log_cells[:, own])
        expected = drawn / drawn.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(np.exp(after.tables.log_cells[:, own]), expected)


def test_a_step_of_refinement_of_numbers_is_that_of_a_loop():
    X = np.random.default_rng(0).normal(size=(300, 2)) * [1, 1e4]
    X[::7, 0] = np.nan
    density = ContinuousMixtureDensity(1, **QUICK, alpha=None).fit(X)
    decoded, Z = density._mixture, density.schema_.encode(X)[0]
    after = refined(decoded, Blocks.of(decoded, Z, np.ones(300)), None, 5.0, n_steps=1).mixture
    shares, U = np.exp(decoded.log_posterior_of(Z)), decoded.normals.standardized(Z)
    for k in (0, 17, 63):
        for j in range(2):
            seen = ~np.isnan(U[:, j])
            r, u = shares[seen, k], U[seen, j]
            mean, variance = decoded.normals.means[k, j], decoded.normals.covariances.values[k, j]
            expected = (r @ u + 5 * mean) / (r.sum() + 5)
            spread = r @ (u - expected) ** 2 + 5 * (variance + (mean - expected) ** 2)
            np.testing.assert_allclose(after.normals.means[k, j], expected)
            np.testing.assert_allclose(
                after.normals.covariances.values[k, j], spread / (r.sum() + 5)
            )


def test_pairs_of_a_tree_are_refined_by_their_counts():
    X = small_table(300)
    density = ContinuousMixtureDensity(2, "tree", **QUICK, alpha=None).fit(X)
    decoded, Z = density._mixture, density.schema_.encode(X)[0].astype(int)
    after = refined(
        decoded, Blocks.of(decoded, Z.astype(float), np.ones(300)), None, 5.0, n_steps=1
    ).mixture
    shares, parents = np.exp(decoded.log_posterior_of(Z.astype(float))), density.parents_[0]
    assert (parents >= 0).sum() == 3
    for j, i in enumerate(parents):
        before, edge = decoded.tables.log_edges[5][j], after.tables.log_edges[5][j]
        for b in range(len(edge)):
            rows = Z[:, i] == b if i >= 0 else np.ones(300, dtype=bool)
            counts = [shares[rows & (Z[:, j] == c), 5].sum() for c in range(edge.shape[1])]
            drawn = np.array(counts) + 5 * np.exp(before[b])
            np.testing.assert_allclose(np.exp(edge[b]), drawn / drawn.sum())


def test_refinement_serves_held_out_rows():
    rng = np.random.default_rng(0)
    kinds = rng.random((20, 30)) < 0.5
    X, held_out = np.split(kinds[rng.integers(20, size=4000)] ^ (rng.random((4000, 30)) < 0.1), 2)
    scores = [
        ContinuousMixtureDensity(4, **QUICK, alpha=alpha).fit(X).score_samples(held_out).mean()
        for alpha in (None, 10.0)
    ]
    assert scores[1] > scores[0] + 0.5


def test_sparse_and_dense_tables_score_alike(monkeypatch, density):
    X = with_gaps(small_table(50))
    scores = []
    for share in (-1.0, 2.0):
        monkeypatch.setattr("sklearn_dgm.mixture._decoded.DENSE", share)
        scores.append(density.score_samples(X))
    np.testing.assert_allclose(*scores, rtol=1e-12)
    assert isinstance(density._mixture.tables, DecodedTables)


def test_many_columns_and_few_rows():
    X = (np.random.default_rng(0).random((60, 700)) < 0.03).astype(int)
    density = ContinuousMixtureDensity(2, **QUICK | {"max_epochs": 2}).fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.sample(5, random_state=0).shape == (5, 700)


def test_draws_ask_for_one_posterior_a_row_and_for_none_where_nothing_is_observed(
    monkeypatch, density
):
    asked, plain = [], PointMixture.log_posterior_of

    def counting(self, Z):
        asked.append(len(Z))
        return plain(self, Z)

    monkeypatch.setattr(PointMixture, "log_posterior_of", counting)
    density.sample(500, random_state=0)
    assert not asked
    row = pd.DataFrame({"A": ["a", "a"], "B": [None, None], "C": ["l", "l"], "D": [None, None]})
    density.conditional_sample(row, 300, random_state=0)
    assert sum(asked) == 2


def test_answers_in_blocks_are_those_at_once(monkeypatch, density):
    X = with_gaps(small_table(40))

    def answers():
        return [
            density.sample(100, random_state=0),
            density.conditional_sample(X, 3, random_state=0),
            density.conditional_mean(X),
            density.transform(X),
            density.score_samples(X),
        ]

    expected = answers()
    for module in (_finite, _decoded, _decoded_trees):
        monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 200)
    for one, other in zip(expected, answers(), strict=True):
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, rtol=1e-9)


def test_cells_missing_from_a_wide_tree_are_summed_out_as_by_messages_of_all_cells():
    X = correlated(300, d=25).astype(int) + correlated(300, d=25, seed=1)
    density = ContinuousMixtureDensity(2, "tree", **QUICK | {"max_epochs": 2}).fit(X)
    trees, rng = density._mixture.tables, np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        gaps = np.where(rng.random(X.shape) < share, np.nan, X)
        prepared = trees.prepare(density.schema_.encode(gaps)[0])
        _, expected = trees._messages(prepared.codes[:, None], trees.log_cells)
        actual = trees.log_prob(prepared) - prepared.log_within[:, None]
        np.testing.assert_allclose(actual, expected, atol=1e-10)
        codes, missing = prepared.codes[:20], np.isnan(gaps[:20])
        marginals = trees._marginals_of_gaps(codes, missing)
        for row, (own, of_row) in enumerate(zip(codes, missing, strict=True)):
            of_all = trees._marginals(own, trees.log_cells)
            for j in np.flatnonzero(of_row):
                actual = marginals[j][:, missing[:row, j].sum()]
                np.testing.assert_allclose(actual, of_all[j], atol=1e-12)


@pytest.mark.parametrize("when", ["choose", "refined"])
def test_ctrl_c_in_refinement_keeps_what_a_warm_start_has_trained(monkeypatch, when):
    X = correlated(200)
    params = QUICK | {"warm_start": True, "n_points": 32, "max_epochs": 3}
    density = ContinuousMixtureDensity(2, **params).fit(X)

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_continuous, when, interrupted)
    with pytest.raises(KeyboardInterrupt):
        density.fit(X)
    assert density.n_iter_ == 6
    assert density.alpha_ is None
    assert density.points_.shape == (32, 2)
    tables = density._mixture.tables
    # In double precision, whatever refinement computes in.
    np.testing.assert_allclose(tables.cells.sums(np.exp(tables.log_cells)), 1, rtol=1e-12)
    anew = ContinuousMixtureDensity(2, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        anew.fit(X)
    assert not hasattr(anew, "net_")


def test_points_double_as_long_as_that_serves(monkeypatch):
    X = correlated(1500, d=30)
    params = QUICK | {"max_epochs": 20, "n_points": "auto"}
    monkeypatch.setattr(_refining, "NUMBERS_OF_POINTS", (2, 4, 8, 16, 32, 64, 128))
    density = ContinuousMixtureDensity(1, **params, alpha=None).fit(X)
    assert len(density.points_) in (16, 32, 64)
    # Where rows are too long for more, too few are told of all the same.
    monkeypatch.setattr(_refining, "SCORING_TIME", 0.0)
    with pytest.warns(ConvergenceWarning, match="4 points in place of 2 raise"):
        assert len(ContinuousMixtureDensity(1, **params, alpha=None).fit(X).points_) == 2


def test_a_value_far_out_leaves_the_others_alone():
    X = np.random.default_rng(0).normal(size=(600, 2))
    spoilt = X.copy()
    spoilt[0, 0] = 1e9
    params = QUICK | {"max_epochs": 60}
    scores = [
        ContinuousMixtureDensity(1, **params).fit(table).score_samples(X[1:]).mean()
        for table in (X, spoilt)
    ]
    truth = stats.norm.logpdf(X[1:]).sum(axis=1).mean()
    assert scores[0] > truth - 0.1
    assert scores[1] > truth - 0.5


def test_tables_beside_numbers_are_refined_in_double_precision():
    density = ContinuousMixtureDensity(2, **QUICK).fit(mixed_table())
    decoded = density._decoded(density.net_.module_, 16)
    Z = density.schema_.encode(mixed_table(50))[0]
    assert decoded.log_joint(decoded.prepare(Z)).dtype == np.float64


@pytest.mark.parametrize("component", ["independent", "tree"])
@pytest.mark.parametrize("X", [np.ones((30, 3)), np.array([[0.5, 2.0]])], ids=["constant", "a row"])
def test_what_leaves_nothing_to_decode_is_fitted_without_a_warning(component, X):
    density = ContinuousMixtureDensity(2, component, **QUICK).fit(X)
    assert np.isfinite(density.score_samples(X)).all()


def test_whether_latents_say_something_is_asked_of_rows_from_the_whole_table():
    X = np.vstack([np.zeros((1000, 8), dtype=bool), correlated(1000)])
    params = QUICK | {"max_epochs": 20, "n_points": 256}
    density = ContinuousMixtureDensity(1, **params).fit(X)
    assert np.var(density.transform(X[:1000])) < _continuous.LEAST_VARIANCE
    # Those of no weight say nothing.
    with pytest.warns(ConvergenceWarning, match="all components are alike"):
        density._check_latents(
            density._mixture, density.schema_.encode(X)[0], np.repeat([1.0, 0.0], 1000)
        )


def test_without_a_step_of_refinement_there_is_no_alpha(monkeypatch):
    monkeypatch.setattr(_refining, "LEAST_STEP", np.inf)
    assert ContinuousMixtureDensity(2, **QUICK).fit(small_table()).alpha_ is None


@pytest.mark.parametrize("component", ["independent", "tree"])
def test_weights_in_refinement_are_repeats(component):
    X = with_gaps(mixed_table(120))
    density = ContinuousMixtureDensity(2, component, **QUICK, alpha=None).fit(X)
    decoded, Z = density._mixture, density.schema_.encode(X)[0]
    weight = np.random.default_rng(0).integers(0, 4, len(Z))
    repeated = np.repeat(Z, weight, axis=0)
    after = [
        refined(decoded, Blocks.of(decoded, rows, w), None, 5.0, n_steps=2).mixture
        for rows, w in ((Z, weight.astype(float)), (repeated, np.ones(len(repeated))))
    ]
    np.testing.assert_allclose(*(m.log_prob(Z) for m in after), rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_two_whole_numbers_are_two_categories(dtype):
    rng = np.random.default_rng(0)
    flags = rng.random((300, 4)) < np.where(rng.random((300, 1)) < 0.5, 0.85, 0.1)
    density = ContinuousMixtureDensity(2, **QUICK)
    expected = density.fit(flags).score_samples(flags)
    density.fit(flags.astype(dtype))
    np.testing.assert_allclose(density.score_samples(flags.astype(dtype)), expected)
    assert density.score_samples(np.array([[0, 2, 0, 1]], dtype=dtype)) == -np.inf
