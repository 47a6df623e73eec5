"""Hidden Markov densities beside enumeration, hmmlearn, and counting."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from sklearn_dgm import (
    BayesianNetworkDensity,
    HiddenMarkovDensity,
    MarkovChainDensity,
    MixtureDensity,
)
from sklearn_dgm._state import fitted_state, set_fitted_state
from sklearn_dgm.sequence._chain import Chain
from sklearn_dgm.sequence._step_order import StepOrder

# As hmmlearn learns: no prior, all sequences, and no look at convergence.
PLAIN = {
    "alpha": 0.0,
    "transition_alpha": 0.0,
    "reg_covar": 0.0,
    "early_stopping": False,
    "tol": 0.0,
    "length": "given",
    "random_state": 0,
}


def sequences(seed=0, n=25, d=2):
    """Return sequences of numbers with a mean of 0 and a variance of 1 over all steps, from states that alternate."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, n)
    states = [np.cumsum(rng.random(length) < 0.3) % 2 for length in lengths]
    steps = [rng.normal(3.0 * s[:, None], 1.0, (len(s), d)) for s in states]
    every = np.concatenate(steps)
    return [(x - every.mean(axis=0)) / every.std(axis=0) for x in steps]


def fitted(X, n_iter, n_states=3, emission="gaussian", **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return HiddenMarkovDensity(n_states, emission, max_iter=n_iter, **{**PLAIN, **params}).fit(
            X
        )


def gaussian_peer(hmmlearn, density, covariance_type):
    peer = hmmlearn.hmm.GaussianHMM(
        len(density.states_),
        covariance_type,
        init_params="",
        n_iter=1,
        covars_prior=0.0,
        covars_weight=0.0,
        min_covar=0.0,
        tol=-np.inf,
    )
    # Without a prior a covariance is a mean square, but for diagonal ones, whose prior counts as -1 by default.
    if covariance_type in ("diag", "spherical"):
        peer.covars_weight = 1.0
    peer.startprob_, peer.transmat_ = density.start_probabilities_, density.transition_matrix_
    peer.means_ = density.means_
    covariances = density.covariances_
    peer.covars_ = covariances[:, 0] if covariance_type == "spherical" else covariances
    return peer


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_gaussians_equal_those_of_hmmlearn(covariance_type):
    hmmlearn = pytest.importorskip("hmmlearn")
    pytest.importorskip("hmmlearn.hmm")
    X = sequences()
    stacked, lengths = np.concatenate(X), [len(x) for x in X]
    density = fitted(X, 4, covariance_type=covariance_type)
    peer = gaussian_peer(hmmlearn, density, covariance_type)
    assert density.score(X) == pytest.approx(peer.score(stacked, lengths), rel=1e-8)
    posterior = peer.predict_proba(stacked, lengths)
    np.testing.assert_allclose(np.concatenate(density.predict_proba(X)), posterior, atol=1e-8)
    states = peer.predict(stacked, lengths)
    np.testing.assert_array_equal(np.concatenate(density.predict(X)), states)
    after = fitted(X, 5, covariance_type=covariance_type)
    peer.fit(stacked, lengths)
    np.testing.assert_allclose(after.transition_matrix_, peer.transmat_, rtol=1e-8)
    np.testing.assert_allclose(after.start_probabilities_, peer.startprob_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(after.means_, peer.means_, rtol=1e-8, atol=1e-9)
    if covariance_type in ("full", "tied"):
        covariances = np.broadcast_to(after.covariances_, peer.covars_.shape)
        np.testing.assert_allclose(covariances, peer.covars_, rtol=1e-8, atol=1e-9)


def test_categories_equal_those_of_hmmlearn():
    hmm = pytest.importorskip("hmmlearn.hmm")
    rng = np.random.default_rng(0)
    X = ["".join(rng.choice(list("abcd"), rng.integers(1, 9))) for _ in range(60)]
    density, after = (fitted(X, n, emission="auto") for n in (4, 5))
    codes = np.concatenate([["abcd".index(c) for c in text] for text in X])[:, None]
    lengths = [len(text) for text in X]
    peer = hmm.CategoricalHMM(
        3, init_params="", n_iter=1, startprob_prior=1, transmat_prior=1, tol=-np.inf
    )
    peer.startprob_, peer.transmat_ = density.start_probabilities_, density.transition_matrix_
    peer.emissionprob_ = density.tables_[0]
    assert density.score(X) == pytest.approx(peer.score(codes, lengths), rel=1e-8)
    np.testing.assert_allclose(
        np.concatenate(density.predict_proba(X)), peer.predict_proba(codes, lengths), atol=1e-8
    )
    np.testing.assert_array_equal(np.concatenate(density.predict(X)), peer.predict(codes, lengths))
    peer.fit(codes, lengths)
    np.testing.assert_allclose(after.transition_matrix_, peer.transmat_, rtol=1e-8)
    np.testing.assert_allclose(after.tables_[0], peer.emissionprob_, rtol=1e-8)


def test_steps_do_not_lower_the_objective():
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"size": rng.normal(size=n), "kind": rng.choice(["x", "y"], n)})
        for n in rng.integers(0, 8, 30)
    ]
    for emission in ("auto", "gaussian"):
        density = HiddenMarkovDensity(3, emission, early_stopping=False, tol=0, random_state=0)
        with pytest.warns(ConvergenceWarning, match="raise max_iter"):
            density.set_params(max_iter=20).fit(frames)
        assert (np.diff(density.lower_bounds_) > -1e-10).all()


def test_all_sequences_sum_to_one_and_draws_agree():
    X = ["ab", "abba", "b", "", "aab", "ba", "b"]
    density = HiddenMarkovDensity(2, alpha=0.5, transition_alpha=0.5, random_state=0).fit(X)
    texts = ["".join(t) for n in range(11) for t in itertools.product("ab", repeat=n)]
    p = np.exp(density.score_samples(texts))
    assert 0.97 < p.sum() < 1
    stop, onward = density.stop_probabilities_, density.transition_matrix_
    alive = (1 - density.empty_probability_) * density.start_probabilities_
    for _ in range(10):
        alive = ((1 - stop) * alive) @ onward
    assert p.sum() + alive.sum() == pytest.approx(1, abs=1e-12)
    drawn = pd.Series(density.sample(20_000, random_state=0)).value_counts()
    shares = drawn.reindex(texts, fill_value=0).to_numpy() / 20_000
    assert np.abs(shares - p).sum() < 0.1
    steps = density.score_steps(texts[:20])
    np.testing.assert_allclose([of.sum() for of in steps], np.log(p[:20]))


def test_missing_cells_are_summed_out_and_ends_of_tables_are_ends():
    rng = np.random.default_rng(0)
    X = rng.choice(["a", "b"], (40, 4)).astype(object)
    density = HiddenMarkovDensity(2, random_state=0).fit(X)
    row = np.array([["a", None, "b", None]], dtype=object)
    filled = [["a", x, "b", y] for x in "ab" for y in "ab"]
    p = np.exp(density.score_samples(np.array(filled, dtype=object)))
    assert np.exp(density.score_samples(row)[0]) == pytest.approx(p.sum())
    drawn = density.conditional_sample(np.repeat(row, 20_000, axis=0), random_state=0)
    assert (drawn[:, [0, 2]] == ["a", "b"]).all()
    shares = [(drawn == np.array(of, dtype=object)).all(axis=1).mean() for of in filled]
    np.testing.assert_allclose(shares, p / p.sum(), atol=0.02)
    numbers = rng.normal(size=(30, 5))
    numbers[:10, 3:] = np.nan
    ragged = [row[~np.isnan(row)].tolist() for row in numbers]
    of_lists = HiddenMarkovDensity(3, length="given", random_state=0).fit(ragged)
    np.testing.assert_allclose(of_lists.score_samples(numbers), of_lists.score_samples(ragged))
    assert np.isfinite(HiddenMarkovDensity(3, random_state=0).fit(numbers).means_).all()


def test_completed_sequences_keep_their_container_and_observed_cells():
    frame = pd.DataFrame({"u": [1.0, np.nan, 0.1], "v": [np.nan, 2.0, 1 / 3]}, index=list("xyz"))
    density = HiddenMarkovDensity(2, random_state=0).fit(frame)
    drawn = density.conditional_sample(frame, n_samples=2, random_state=0)
    assert drawn.index.tolist() == list("xxyyzz")
    assert list(drawn.columns) == ["u", "v"]
    assert not drawn.isna().any(axis=None)
    repeated = frame.loc[list("xxyyzz")]
    assert (drawn.where(repeated.notna()).fillna(0) == repeated.fillna(0)).all(axis=None)
    lists = [[(1.0, "a"), (np.nan, "b")], [(2.0, None)]]
    frames = [pd.DataFrame(rows, columns=["size", "kind"]) for rows in lists]
    of_frames = HiddenMarkovDensity(2, random_state=0).fit(frames)
    first, second = of_frames.conditional_sample(frames, random_state=0)
    assert first["size"][0] == 1.0
    assert first["kind"].tolist() == ["a", "b"]
    assert second["size"].tolist() == [2.0]
    assert second["kind"][0] in ("a", "b")


def test_weights_are_repeats_and_order_does_not_matter():
    X = sequences(n=60)
    weight = np.random.default_rng(1).integers(0, 3, 60)
    repeated = [x for x, n in zip(X, weight, strict=True) for _ in range(n)]
    params = {"random_state": 0, "max_iter": 30, "tol": 1e-3}
    weighted = HiddenMarkovDensity(3, **params).fit(X, sample_weight=weight)
    assert weighted.validation_scores_ is None or len(weighted.validation_scores_)
    for other in (repeated, repeated[::-1]):
        density = HiddenMarkovDensity(3, **params).fit(other)
        np.testing.assert_allclose(density.score_samples(X), weighted.score_samples(X), rtol=1e-6)


def test_with_all_labels_a_fit_is_counting():
    X = [["a", "b", "a"], ["b"], ["a", "a"]]
    y = [["v", "n", "v"], np.array(["n"]), ("v", "n")]
    density = HiddenMarkovDensity(alpha=0.0, transition_alpha=0.0).fit(X, y)
    assert density.states_.tolist() == ["n", "v"]
    np.testing.assert_allclose(density.start_probabilities_, [1 / 3, 2 / 3])
    np.testing.assert_allclose(density.transition_matrix_, [[0, 1], [1, 0]])
    np.testing.assert_allclose(density.stop_probabilities_, [2 / 3, 1 / 3])
    np.testing.assert_allclose(density.tables_[0], [[1 / 3, 2 / 3], [1, 0]])
    assert density.predict([["b", "a"]])[0].tolist() == ["n", "v"]
    assert density.converged_


def test_some_labels_are_summed_over_like_the_others():
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.random(30) < 0.2) % 2 for _ in range(20)]
    X = [rng.normal(4.0 * s) for s in states]
    y = [None] * 20
    y[0] = np.where(np.arange(30) < 10, np.array(["low", "high"])[states[0]], None)
    density = HiddenMarkovDensity(2, random_state=0).fit(X, y)
    predicted = np.concatenate(density.predict(X, algorithm="posterior"))
    true = np.array(["low", "high"])[np.concatenate(states)]
    assert np.mean(predicted == true) > 0.95
    table = np.stack(X)
    labels = np.full(table.shape, -1)
    labels[0] = states[0]
    of_table = HiddenMarkovDensity(random_state=0).fit(table, labels)
    assert of_table.states_.tolist() == [0, 1]
    assert np.mean(of_table.predict(table) == np.stack(states)) > 0.95


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([["a"], ["a"]], r"y has 1 label\(s\) of sequence 0, which has 2 step"),
        ([["a", "b"]], r"y has 1 entries, X has 2 sequence"),
        ([["a", 3], [None]], "one type"),
    ],
)
def test_labels_that_fit_no_sequences_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        HiddenMarkovDensity().fit([[1.0, 2.0], [3.0]], y)


@pytest.mark.parametrize(
    "y", [None, [0, 1], np.array(["x", "y"]), [None, [None]], [[-1, -1], None]]
)
def test_what_labels_no_state_is_ignored(y):
    X = [[1.0, 2.0], [3.0]]
    density = HiddenMarkovDensity(2, random_state=0).fit(X, y)
    assert density.states_.tolist() == [0, 1]
    assert density.score(X) == HiddenMarkovDensity(2, random_state=0).fit(X).score(X)


@pytest.mark.parametrize(
    "emission",
    [
        MixtureDensity(2),
        BayesianNetworkDensity("chow-liu", conditional="table"),
        KernelDensity(bandwidth=0.3),
    ],
    ids=lambda d: type(d).__name__,
)
def test_states_emit_any_density(emission):
    X = sequences()
    density = fitted(X, 5, 2, emission, random_state=1)
    assert len(density.estimators_) == 2
    log_b = np.concatenate(X)
    own = density.schema_.encode(X)[0].steps
    of_states = density._mixture.log_conditional(own)
    start, transition = density.start_probabilities_, density.transition_matrix_
    expected, i = [], 0
    for x in X:
        alpha = start * np.exp(of_states[i])
        for t in range(1, len(x)):
            alpha = alpha @ transition * np.exp(of_states[i + t])
        expected.append(np.log(alpha.sum()) + len(x) * density.schema_.log_det_.sum())
        i += len(x)
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=1e-10)
    assert np.concatenate(density.sample(50, random_state=0)).shape[1] == log_b.shape[1]
    with pytest.raises(AttributeError, match="no column is normal"):
        _ = density.means_


def test_emissions_that_are_none_are_refused():
    X = [[1.0, 2.0], [3.0]]
    with pytest.raises(ValueError, match="takes no sample_weight, which a state needs"):
        HiddenMarkovDensity(2, GaussianMixture()).fit(X)
    with pytest.raises(TypeError, match="emission is the class"):
        HiddenMarkovDensity(2, MixtureDensity).fit(X)
    with pytest.raises(ValueError, match="integer_features should stay"):
        HiddenMarkovDensity(2, MixtureDensity(2), integer_features=None).fit(X)
    with pytest.raises(ValueError, match="early_stopping=True needs 2 sequences"):
        HiddenMarkovDensity(2, early_stopping=True).fit([[1.0, 2.0], []])
    density = HiddenMarkovDensity(2, length="given").fit(X)
    with pytest.raises(ValueError, match="algorithm should be"):
        density.predict(X, algorithm="best")
    with pytest.raises(AttributeError, match="no stop_probabilities_"):
        _ = density.stop_probabilities_
    with pytest.raises(ValueError, match="density 0"):
        HiddenMarkovDensity(2).fit(["ab", "b"]).conditional_sample(["c"])


def test_criteria_count_parameters_and_searches_choose():
    X = sequences()
    density = fitted(X, 3, 2)
    n_parameters = 1 + 2 + 2 * (2 + 3)
    assert density.n_parameters_ == n_parameters
    n_steps = sum(map(len, X))
    log_p = density.score(X)
    assert density.bic(X) == pytest.approx(n_parameters * np.log(n_steps) - 2 * log_p)
    assert density.aic(X) == pytest.approx(2 * n_parameters - 2 * log_p)
    search = GridSearchCV(HiddenMarkovDensity(random_state=0), {"n_states": [1, 2]}, cv=3).fit(X)
    assert search.best_params_ == {"n_states": 2}


def test_a_model_of_many_states_stops_before_it_knows_sequences_by_heart():
    X = sequences(n=80)
    stopped = HiddenMarkovDensity(20, "gaussian", reg_covar=1e-3, random_state=0).fit(X)
    assert stopped.n_iter_ == np.argmax(stopped.validation_scores_)
    assert len(stopped.lower_bounds_) == stopped.n_iter_ + 1
    to_the_end = HiddenMarkovDensity(
        20, "gaussian", reg_covar=1e-3, early_stopping=False, random_state=0
    ).fit(X)
    others = sequences(1, n=200)
    assert stopped.score(others) > to_the_end.score(others)


def test_of_several_starts_the_best_is_kept():
    X = sequences()
    params = {"early_stopping": False, "random_state": 0, "init": "random"}
    one, many = (HiddenMarkovDensity(3, n_init=n, **params).fit(X) for n in (1, 4))
    assert many.lower_bounds_[-1] >= one.lower_bounds_[-1]


def test_one_state_is_independent_steps():
    X = sequences(d=1)
    density = fitted(X, 2, 1)
    steps = np.concatenate(X)[:, 0]
    expected = stats.norm.logpdf(steps, steps.mean(), steps.std()).sum()
    assert density.score(X) == pytest.approx(expected)


def test_labels_of_sequences_without_weight_make_no_states():
    X = [np.array([0.0, 1.0, 0.2, 1.1]) + 0.01 * i for i in range(20)]
    y = [["u", "v", "u", "v"]] * 19 + [["w"] * 4]
    weight = np.arange(20) < 19
    all_of_them = HiddenMarkovDensity(random_state=0).fit(X, y, sample_weight=weight)
    others = HiddenMarkovDensity(random_state=0).fit(X[:19], y[:19])
    assert all_of_them.states_.tolist() == ["u", "v"]
    np.testing.assert_allclose(all_of_them.score_samples(X), others.score_samples(X))


def test_lengths_in_place_of_labels_are_refused():
    X = np.random.default_rng(0).normal(size=(30, 1))
    with pytest.raises(ValueError, match="Lengths are not taken: hand in a list"):
        HiddenMarkovDensity(2).fit(X, [10, 20])
    with pytest.raises(ValueError, match="1D array instead: X holds numbers, which are one seq"):
        HiddenMarkovDensity(2).fit(X[:, 0])


def test_unknown_labels_are_those_of_any_library():
    words = ["abba", "ab", "ba", "bab"]
    y = [pd.Series([pd.NA, 1, 0, 1], dtype="Int64"), float("nan"), None, [0, None, 1]]
    assert HiddenMarkovDensity(random_state=0).fit(words, y).states_.tolist() == [0, 1]
    with pytest.raises(ValueError, match="early_stopping=True needs 2 sequences"):
        HiddenMarkovDensity(2, early_stopping=True).fit(words, [[0] * len(w) for w in words])


def test_pieces_keep_a_path_that_small_numbers_lead_to():
    chain = Chain(2, None)
    chain.transition = np.eye(2)
    log_b = np.zeros((3000, 2))
    log_b[10, 0] = -690
    log_b[[100, 200], 1] = -500
    ends = []
    for cut in (2, None):
        steps = StepOrder(np.array([3000]), cut)
        ends.append(steps.back(chain.forward(steps, log_b, steps.order).filtered)[-1])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-6)


def test_missing_steps_are_told_who_takes_them():
    with pytest.raises(ValueError, match="HiddenMarkovDensity takes them"):
        MarkovChainDensity().fit([["a", None], ["b"]])


def test_the_step_of_a_network_is_up_the_gradient_of_the_forward_pass():
    torch = pytest.importorskip("torch")
    from sklearn_dgm.mixture._rows import WeightedRows
    from sklearn_dgm.sequence._chain import Chain
    from sklearn_dgm.sequence._network_emissions import NetworkLearner
    from sklearn_dgm.sequence._step_order import StepOrder

    rng = np.random.default_rng(0)
    X = [pd.DataFrame({"size": rng.normal(size=4), "kind": list("xyxz")}) for _ in range(2)]
    X[0].loc[1, "size"] = X[1].loc[2, "kind"] = None
    schema = HiddenMarkovDensity().learn_schema(X)
    Z = schema.encode(X)[0]
    rows = WeightedRows.of(Z.steps, None)
    learner = NetworkLearner(schema.columns_, rows, 3, 0.0, 0.0, rng)
    chain = Chain(3, None)
    chain.start, chain.transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    steps = StepOrder(Z.lengths, 3)
    passed = chain.forward(steps, learner.log_conditional(), rows.place[steps.order])
    posterior = steps.back(chain.backward(steps, passed)[0])
    shares = np.stack([posterior[rows.place == i].sum(axis=0) for i in range(len(rows.Z))])
    decoder = learner.decoder
    decoder.embeddings.requires_grad_()
    parameters = [decoder.embeddings, *decoder.module.parameters()]
    by_counts = torch.autograd.grad(
        decoder.loss(learner.emissions.count(learner._prepared, shares)), parameters
    )
    # The same by the recursion itself.
    inputs = torch.from_numpy(decoder.layout.rows(Z.steps))
    start, onward = torch.from_numpy(chain.start), torch.from_numpy(chain.transition)
    log_b = decoder.module.log_joint(inputs, decoder.embeddings)
    total = 0.0
    for of_sequence in log_b.split(Z.lengths.tolist()):
        log_p = start.log() + of_sequence[0]
        for b in of_sequence[1:]:
            log_p = (log_p[:, None] + onward.log()).logsumexp(dim=0) + b
        total = total + log_p.logsumexp(dim=0)
    by_recursion = torch.autograd.grad(-total, parameters)
    for got, expected in zip(by_counts, by_recursion, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)


@pytest.fixture(scope="module")
def of_network():
    """Return steps of two states, the states, and a density whose states one network describes."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.random(20) < 0.2) % 2 for _ in range(20)]
    X = [
        pd.DataFrame({"size": rng.normal(6.0 * s), "kind": np.array(["a", "b"])[s]}) for s in states
    ]
    for x in X[:5]:
        x.loc[3, "size"], x.loc[5, "kind"] = np.nan, None
    return X, states, HiddenMarkovDensity(2, "network", random_state=0).fit(X)


def test_a_network_learns_states_that_are_far_apart(of_network):
    X, states, density = of_network
    predicted = np.concatenate(density.predict(X))
    agree = np.mean(predicted == np.concatenate(states))
    assert max(agree, 1 - agree) > 0.98
    np.testing.assert_allclose(np.sort(density.means_[:, 0]), [0, 6], atol=0.4)
    closed = HiddenMarkovDensity(2, random_state=0).fit(X)
    assert density.score(X) > closed.score(X) - 0.02 * sum(map(len, X))
    drawn = pd.concat(density.sample(200, random_state=0))
    assert drawn["size"].std() == pytest.approx(pd.concat(X)["size"].std(), rel=0.1)
    with pytest.raises(AttributeError, match="does not count its parameters"):
        _ = density.n_parameters_


@pytest.mark.parametrize("scale", [0.01, 0.0001])
def test_steps_of_a_network_do_not_lower_the_objective(scale):
    """Nor do states of small variances stop far from what each learns alone."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = [rng.normal(np.cumsum(rng.random(20) < 0.2) % 2, scale) for _ in range(40)]
    fits = [
        HiddenMarkovDensity(2, emission, early_stopping=False, random_state=0).fit(X)
        for emission in ("network", "auto")
    ]
    assert np.diff(fits[0].lower_bounds_).min() > -1e-9
    assert fits[0].score(X) > fits[1].score(X) - 0.01 * 800


def test_a_network_learns_a_rare_state_far_out():
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    labels = [rng.random(30) < 0.05 for _ in range(40)]
    X = [rng.normal(20_000.0 * of_steps) for of_steps in labels]
    density = HiddenMarkovDensity(2, "network", random_state=0).fit(X)
    np.testing.assert_allclose(np.sort(density.means_[:, 0]), [0, 20_000], atol=1)
    assert density.score(X) > -2.5 * 1200


def test_a_network_takes_counts_of_many_values_for_numbers():
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = [rng.poisson(np.where(np.cumsum(rng.random(30) < 0.2) % 2, 500, 100)) for _ in range(20)]
    network, auto = (
        HiddenMarkovDensity(2, emission, random_state=0, integer_features=[0]).fit(X)
        for emission in ("network", "auto")
    )
    assert network.gaussian_features_.tolist() == auto.gaussian_features_.tolist() == [0]
    between = [[100], [300], [500]]
    np.testing.assert_allclose(
        network.score_samples(between), auto.score_samples(between), rtol=0.1
    )


def test_posteriors_sum_to_one_where_states_underflow():
    rng = np.random.default_rng(0)
    X = [rng.normal(mean, 0.3, 8) for mean in (0, 5) for _ in range(10)]
    labels = [[mean] * 8 for mean in ("calm", "wild") for _ in range(10)]
    density = HiddenMarkovDensity(2, transition_alpha=0, length="given").fit(X, labels)
    (proba,) = density.predict_proba([[20.0, *np.zeros(12)]])
    np.testing.assert_allclose(proba, [[1, 0]] * 13, atol=1e-12)


def test_missing_cells_of_a_network_are_summed_out_and_drawn(of_network):
    X, _, density = of_network
    given = X[6].head(3).copy()
    given.loc[1, "kind"] = None
    both = [given.assign(kind=[*given["kind"][:1], kind, *given["kind"][2:]]) for kind in "ab"]
    p = np.exp(density.score_samples(both))
    assert np.exp(density.score_samples([given])[0]) == pytest.approx(p.sum())
    (completed,) = density.conditional_sample([given], random_state=0)
    assert completed["kind"][1] in ("a", "b")
    assert (completed["size"] == given["size"]).all()


def test_a_network_is_seeded_and_kept(of_network):
    import torch

    X, _, density = of_network
    torch.manual_seed(0)
    before, n_threads = torch.get_rng_state(), torch.get_num_threads()
    again = HiddenMarkovDensity(2, "network", random_state=0).fit(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == n_threads
    scores = density.score_samples(X)
    np.testing.assert_array_equal(again.score_samples(X), scores)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(density)).score_samples(X), scores)
    other = set_fitted_state(HiddenMarkovDensity(2, "network"), fitted_state(density))
    np.testing.assert_array_equal(other.score_samples(X), scores)


def test_strings_of_a_network_sum_to_one():
    pytest.importorskip("torch")
    X = ["ab", "abba", "b", "", "aab", "ba", "b"]
    density = HiddenMarkovDensity(3, "network", random_state=0, max_iter=5, tol=1.0).fit(X)
    texts = ["".join(t) for n in range(4) for t in itertools.product("ab", repeat=n)]
    of_short = np.exp(density.score_samples(texts)).sum()
    stop, onward = density.stop_probabilities_, density.transition_matrix_
    alive = (1 - density.empty_probability_) * density.start_probabilities_
    for _ in range(3):
        alive = ((1 - stop) * alive) @ onward
    assert of_short + alive.sum() == pytest.approx(1, abs=1e-12)
