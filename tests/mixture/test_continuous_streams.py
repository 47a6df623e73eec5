"""Continuous mixtures of tables that are read a chunk at a time, and of further rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import sklearn_dgm
from sklearn_dgm import ContinuousMixtureDensity
from sklearn_dgm.mixture._refining import MAX_STEPS, Blocks, refined
from tests._training.interrupted import Interrupted
from tests.chunks.tables import Parts, let_samples_be_small

N = 300
SMALL = {"hidden_layer_sizes": (16,), "n_points": 64, "n_points_fit": 64, "max_epochs": 30}
SMALL |= {"lr": 0.02, "random_state": 0}
COMPONENTS = pytest.mark.parametrize("component", ["independent", "tree"])


@pytest.fixture
def _small(monkeypatch):
    """Let small tables be larger than a sample."""
    let_samples_be_small(monkeypatch, 400, 500, 300)


def table(n_rows=N, seed=0):
    """Rows of flags, a category and a number, whose chances depend on where a row lies on a line."""
    rng = np.random.default_rng(seed)
    place = rng.random((n_rows, 1))
    flags = rng.random((n_rows, 6)) < 1 / (1 + np.exp(12 * (np.linspace(0, 1, 6) - place)))
    X = pd.DataFrame(flags.astype(int)).add_prefix("flag ")
    X["kind"] = np.where(rng.random(n_rows) < place[:, 0], "a", "b")
    X["number"] = place[:, 0] + 0.1 * rng.normal(size=n_rows)
    return X


def per_row(density, X):
    return density.score(X) / len(X)


@COMPONENTS
@pytest.mark.usefixtures("_small")
def test_as_good_as_from_memory(component):
    X, held_out = table(3000), table(1000, seed=1)
    density = ContinuousMixtureDensity(2, component, alpha=10.0, early_stopping=False, **SMALL)
    whole, few = (per_row(clone(density).fit(of), held_out) for of in (X, X[:400]))
    streamed = per_row(density.fit(Parts(X, 700)), held_out)
    assert few < streamed
    assert abs(streamed - whole) < 0.1  # the tree is that of the sample
    assert not hasattr(density, "_streamed")


@COMPONENTS
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.usefixtures("_small")
def test_components_are_fitted_to_all_rows(component, is_weighted):
    X = table(2000)
    X["kind"] = X["kind"].mask(np.random.default_rng(0).random(2000) < 0.1)
    weight = np.random.default_rng(1).integers(0, 4, 2000) * 1.0 if is_weighted else None
    density = ContinuousMixtureDensity(
        2, component, alpha=5.0, early_stopping=False, **SMALL | {"max_epochs": 3}
    )
    density.fit(Parts(X, 700), sample_weight=weight)
    decoded = density._decoded(density.net_.module_, 64)
    counted = slice(None) if weight is None else weight > 0
    of_rows = np.ones(2000) if weight is None else weight[counted]
    rows = Blocks.of(decoded, density.schema_.encode(X)[0][counted], of_rows)
    expected = refined(decoded, rows, None, 5.0, MAX_STEPS).mixture
    np.testing.assert_allclose(density.weights_, expected.weights, rtol=1e-4)
    np.testing.assert_allclose(
        density._mixture.tables.log_cells, expected.tables.log_cells, atol=1e-3
    )
    assert density._mixture.counts.weight.sum() == pytest.approx(of_rows.sum(), rel=1e-5)


@pytest.mark.usefixtures("_small")
def test_the_same_seed_gives_the_same_bits_and_a_small_table_the_fit_in_memory():
    density = ContinuousMixtureDensity(2, **SMALL | {"max_epochs": 3})
    X = table(1000)
    scores = [clone(density).fit(Parts(X, 150)).score_samples(X) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    few = table(400)
    pair = [clone(density).fit(of).score_samples(few) for of in (Parts(few, 90), few)]
    np.testing.assert_array_equal(*pair)


@COMPONENTS
@pytest.mark.parametrize("alpha", ["auto", None])
def test_further_rows_are_learnt_from(component, alpha):
    parts, held_out = [table(seed=seed) for seed in range(4)], table(2000, seed=9)
    density = ContinuousMixtureDensity(2, component, alpha=alpha, **SMALL)
    scores = [per_row(density.partial_fit(part), held_out) for part in parts]
    assert scores[-1] > scores[0]
    if density.alpha_ is not None:
        # What was expected of the first rows counts, too.
        assert density._mixture.counts.weight.sum() == pytest.approx(4 * N, rel=1e-5)
        whole = per_row(clone(density).fit(pd.concat(parts)), held_out)
        assert scores[-1] > scores[0] + 0.3 * (whole - scores[0])


def test_the_points_are_those_of_the_first_call():
    density = ContinuousMixtureDensity(2, alpha=5.0, **SMALL).partial_fit(table())
    points = density.points_
    density.partial_fit(table(seed=1))
    np.testing.assert_array_equal(density.points_, points)
    assert density.alpha_ == 5.0


def test_a_model_of_a_file_learns_the_same(tmp_path):
    density = ContinuousMixtureDensity(2, alpha=5.0, **SMALL).partial_fit(table())
    density.save(tmp_path / "model.dgm")
    loaded, further = sklearn_dgm.load(tmp_path / "model.dgm"), table(seed=1)
    scores = [one.partial_fit(further).score_samples(further) for one in (density, loaded)]
    np.testing.assert_array_equal(*scores)


def test_unknown_categories_are_as_missing_ones():
    first, further = table(), table(seed=1)
    gaps = further.assign(kind=further["kind"].where(further["number"] < 0.8))
    new = gaps.assign(kind=gaps["kind"].fillna("new"))
    density = ContinuousMixtureDensity(2, alpha=5.0, **SMALL | {"max_epochs": 3})
    scores = [
        clone(density).partial_fit(first).partial_fit(part).score_samples(first)
        for part in (gaps, new)
    ]
    np.testing.assert_array_equal(*scores)


def test_ctrl_c_in_further_rows_keeps_what_was_counted(monkeypatch):
    density = ContinuousMixtureDensity(2, alpha=10.0, warm_start=True, **SMALL).fit(table())
    alpha, points = density.alpha_, density.points_
    density.set_params(net_params={"optimizer": Interrupted})
    monkeypatch.setattr(Interrupted, "steps", 0)
    monkeypatch.setattr(Interrupted, "at", 40)
    with pytest.raises(KeyboardInterrupt):
        density.partial_fit(table(seed=1))
    assert (density.alpha_, density.points_.tolist()) == (alpha, points.tolist())
    held_out = table(1000, seed=2)
    before = per_row(density, held_out)
    density.set_params(net_params=None).partial_fit(table(seed=1))
    assert density.alpha_ == alpha
    assert per_row(density, held_out) > before
