"""What is built on densities, where their rows are sequences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp, softmax
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils import _safe_indexing as rows_of

from sklearn_dgm import (
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
    HistogramDensity,
    MarkovChainDensity,
    MixtureDensity,
    TransformedDensity,
    get_density_tags,
    mean_log_likelihood,
)
from sklearn_dgm.columns import stacked
from sklearn_dgm.metrics import bits_per_dim, compare_densities
from tests.sequence.test_rows import assert_same
from tests.sequence.toys import CONTAINERS, IndependentSteps
from tests.toys import WordChains

TEXTS = ["aab", "a", "aaba", "", "bbb", "bab", "bb", "abb"]
LABELS = ["x", "x", "x", "x", "y", "y", "y", "y"]
WORDS = [["a", "rose"], ["a"], ["rose", "a", "rose"], [], ["is"], ["is", "is"], ["rose", "is"]]


def log_prob_of(texts, among, alphabet="ab"):
    """Shares of letters and a geometric length, as counted in some of the sequences."""
    n, letters = len(among), [letter for text in among for letter in text]
    stop = n / (n + len(letters))
    with np.errstate(divide="ignore"):
        log_p = {a: np.log((1 - stop) * letters.count(a) / max(len(letters), 1)) for a in alphabet}
    return np.array([sum(log_p[a] for a in text) + np.log(stop) for text in texts])


@pytest.mark.parametrize(
    ("density", "X", "alphabet"),
    [(IndependentSteps(), TEXTS, "ab"), (WordChains(), WORDS, ["a", "rose", "is"])],
    ids=["strings", "words"],
)
def test_bayes_rule(density, X, alphabet):
    y = np.array(LABELS[: len(X)])
    model = GenerativeClassifier(density).fit(X, y)
    joint = np.stack(
        [
            log_prob_of(X, [x for x, of in zip(X, y, strict=True) if of == label], alphabet)
            + np.log(np.mean(y == label))
            for label in ("x", "y")
        ],
        axis=1,
    )
    np.testing.assert_allclose(model.predict_joint_log_proba(X), joint)
    np.testing.assert_allclose(model.predict_proba(X), softmax(joint, axis=1))
    np.testing.assert_allclose(model.score_samples(X), logsumexp(joint, axis=1))
    expected = np.where(joint[:, 0] > joint[:, 1], "x", "y")
    np.testing.assert_array_equal(model.predict(X), expected)
    assert model.score(X, y) == np.mean(expected == y)
    assert get_density_tags(model).sequences
    drawn = model.sample(200, y="y", random_state=0)
    assert type(drawn) is list
    of_y = {step for x, label in zip(X, y, strict=True) if label == "y" for step in x}
    assert {step for x in drawn for step in x} == of_y
    assert not hasattr(model, "n_features_in_")


def test_unlabelled_sequences_help():
    rng = np.random.default_rng(0)
    X = [
        "".join(rng.choice(list("ab"), 12, p=p)) for p in ([0.8, 0.2], [0.2, 0.8]) for _ in "x" * 60
    ]
    y = np.repeat([0, 1], 60)
    few = np.where(np.arange(120) % 60 < 2, y, -1)
    model = GenerativeClassifier(IndependentSteps()).fit(X, few)
    assert model.n_iter_ > 1
    assert model.score(X, y) > 0.95


def test_classes_share_one_alphabet():
    model = GenerativeClassifier(MarkovChainDensity(2)).fit(["aa", "ab", "cc", "ca"], [0, 0, 1, 1])
    # No class has seen a step from b to c, and both know the letters.
    assert np.isfinite(model.predict_joint_log_proba(["abcb"])).all()
    assert model.schema_.columns_[0].categories.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_taken_and_drawn(name):
    X = CONTAINERS[name]
    X = rows_of(X, np.arange(20) % len(X))
    classifier = GenerativeClassifier(IndependentSteps()).fit(X, np.arange(20) % 2)
    members = [("a", IndependentSteps()), ("b", IndependentSteps())]
    ensemble = EnsembleDensity(members, random_state=0).fit(X)
    is_table = (
        isinstance(X, pd.DataFrame)
        or getattr(X, "ndim", len(X.shape) if hasattr(X, "shape") else 1) == 2
    )
    for model in (classifier, ensemble):
        drawn = model.sample(9, random_state=0)
        assert type(drawn) is type(X)
        assert len(drawn) == 9
        assert np.isfinite(model.score_samples(drawn)).all()
        assert hasattr(model, "n_features_in_") == is_table
        assert_same(model.sample(9, random_state=0), drawn)
    comparison = compare_densities(dict(members), X, cv=2, random_state=0)
    assert comparison.difference.tolist() == [0, 0]
    steps = DensityOutlierDetector(IndependentSteps()).fit(X).explain(X)
    assert len(steps) == 20


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_stacked(name):
    X = CONTAINERS[name]
    order = np.array([len(X), 0, 1])
    expected = rows_of(X, [0, 0, 1])
    if isinstance(X, pd.DataFrame | pd.Series):
        expected = expected.reset_index(drop=True)
    assert_same(stacked([X, X], order), expected)


def test_an_ensemble_is_the_weighted_mean_of_its_members():
    members = [("letters", MarkovChainDensity(1)), ("pairs", MarkovChainDensity(2))]
    X = TEXTS * 3
    ensemble = EnsembleDensity(members, weights=[1, 3]).fit(X)
    of_members = [density.fit(X).score_samples(TEXTS) for _, density in members]
    expected = np.log(np.exp(of_members).T @ [0.25, 0.75])
    np.testing.assert_allclose(ensemble.score_samples(TEXTS), expected)
    chains = EnsembleDensity([("a", WordChains()), ("b", WordChains())], weights="equal").fit(WORDS)
    np.testing.assert_allclose(
        chains.score_samples(WORDS), log_prob_of(WORDS, WORDS, ["a", "rose", "is"])
    )


def test_stacking_finds_the_member_that_knows_the_order():
    rng = np.random.default_rng(0)
    X = ["ab" * rng.integers(1, 5) for _ in range(200)]
    members = [("letters", IndependentSteps()), ("pairs", MarkovChainDensity(2))]
    ensemble = EnsembleDensity(members, random_state=0).fit(X)
    assert ensemble.weights_[1] > 0.95
    folds = KFold(5, shuffle=True, random_state=0).split(X)
    held_out = EnsembleDensity(members, cv=list(folds)).fit(X).cv_log_likelihood_
    expected = []
    for train, test in KFold(5, shuffle=True, random_state=0).split(X):
        density = MarkovChainDensity(2).fit(rows_of(X, train))
        expected.extend(density.score_samples(rows_of(X, test)))
    assert held_out[1] == pytest.approx(np.mean(expected))
    comparison = compare_densities(dict(members), X, random_state=0)
    assert comparison.index[0] == "pairs"
    assert comparison.difference["letters"] < -1
    nested = GenerativeClassifier(EnsembleDensity(members, weights="equal")).fit(
        [*X, *(x[::-1] for x in X)], np.repeat([0, 1], 200)
    )
    assert nested.score(["abab", "baba"], [0, 1]) == 1


def test_densities_are_on_one_measure_if_steps_and_lengths_are():
    stop, given = IndependentSteps(), IndependentSteps(length="given")
    numbers = [[1.0, 2.0], [3.0], [2.0, 2.0, 1.0]] * 5
    for compare in (
        lambda a, b, X: EnsembleDensity([("a", a), ("b", b)], random_state=0).fit(X),
        lambda a, b, X: compare_densities({"a": a, "b": b}, X),
    ):
        with pytest.raises(
            ValueError,
            match="the length of a sequence is counted for 'a' and given for 'b'.*let length of",
        ):
            compare(stop, given, TEXTS)
        whole = IndependentSteps(integer_features=[0])
        with pytest.raises(
            ValueError, match="column 0 of a step is continuous for 'a' and counted for 'b'"
        ):
            compare(stop, whole, numbers)
        compare(stop, IndependentSteps(), numbers)
        # The columns of a table are steps to one, and columns to the other.
        table = np.random.default_rng(0).normal(size=(40, 3))
        compare(given, HistogramDensity(3, alpha=0.1), table)
        counts = pd.DataFrame(np.arange(40).reshape(20, 2) % 3, columns=["u", "v"])
        with pytest.raises(
            ValueError, match="column 'u' is continuous for 'a' and counted for 'b'"
        ):
            compare(stop, HistogramDensity(alpha=0.1), counts)


def test_likelihoods_are_of_sequences_and_bits_of_their_steps():
    density = IndependentSteps().fit(TEXTS)
    log_p = log_prob_of(TEXTS, TEXTS)
    assert mean_log_likelihood(density, TEXTS) == pytest.approx(log_p.mean())
    n_steps = np.array([len(text) for text in TEXTS])
    bits, error = bits_per_dim(density, TEXTS, return_std_error=True)
    n_cells = (n_steps + 1).sum()
    assert bits == pytest.approx(-log_p.sum() / np.log(2) / n_cells)
    jackknife = [
        -np.delete(log_p, i).sum() / np.log(2) / (n_cells - n - 1) for i, n in enumerate(n_steps)
    ]
    assert error == pytest.approx(np.std(jackknife) * np.sqrt(len(TEXTS) - 1), rel=0.1)
    weight = np.arange(8.0)
    assert bits_per_dim(density, TEXTS, sample_weight=weight) == pytest.approx(
        -weight @ log_p / np.log(2) / (weight @ (n_steps + 1))
    )
    given = IndependentSteps(length="given").fit(TEXTS)
    assert bits_per_dim(given, TEXTS) == pytest.approx(
        -given.score(TEXTS) / np.log(2) / n_steps.sum()
    )
    pairs = [np.array([[1.5, 2.0], [2.5, 1.0]]), np.array([[3.0, 4.0]])]
    density = IndependentSteps().fit(pairs)
    assert bits_per_dim(density, pairs) == pytest.approx(-density.score(pairs) / np.log(2) / 8)
    table = np.random.default_rng(0).normal(size=(30, 4))
    density = IndependentSteps().fit(table)
    assert bits_per_dim(density, table) == pytest.approx(-density.score(table) / np.log(2) / 120)
    with pytest.raises(ValueError, match="WordChains does not say what a step"):
        bits_per_dim(WordChains().fit(WORDS), WORDS)


def test_scikit_learns_tools():
    X = TEXTS * 5
    y = np.array(LABELS * 5)
    scores = cross_val_score(GenerativeClassifier(IndependentSteps()), X, y, cv=3)
    assert scores.mean() > 0.7
    members = [("a", IndependentSteps())]
    search = GridSearchCV(
        EnsembleDensity(members), {"a__length": ["stop", "given"]}, scoring=mean_log_likelihood
    )
    assert search.fit(X).best_params_ == {"a__length": "given"}
    in_classes = GenerativeClassifier(GridSearchCV(MarkovChainDensity(), {"order": [1, 2]}, cv=2))
    assert in_classes.fit(X, y).score(X, y) > 0.7


@pytest.fixture(scope="module")
def passwords():
    rng = np.random.default_rng(0)
    return ["abc" * rng.integers(1, 6) for _ in range(200)]


def test_an_odd_sequence_is_found_and_its_odd_step(passwords):
    detector = DensityOutlierDetector(MarkovChainDensity(2), calibration="holdout", random_state=0)
    detector.fit([*passwords, "abcabca"])
    assert detector.predict(["abcabc", "abcaac", "cba"]).tolist() == [1, -1, -1]
    assert detector.p_values(["abcaac"])[0] < 0.05
    odd = ["abcaac", "abxabc", "abcab"]
    steps = detector.explain(odd)
    assert [part.argmin() for part in steps] == [
        4,
        2,
        5,
    ]  # the last one is an end that comes too early
    assert [len(part) for part in steps] == [7, 7, 6]
    np.testing.assert_allclose([part.sum() for part in steps], detector.score_samples(odd))
    np.testing.assert_array_equal(steps[0], detector.estimator_.score_steps(odd)[0])


def test_steps_of_a_table_are_explained_in_its_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100, 4)), columns=list("abcd"), index=range(5, 105))
    frame.loc[30, "c"] = 9.0
    detector = DensityOutlierDetector(IndependentSteps()).fit(frame)
    shares = detector.explain(frame)
    assert shares.index.equals(frame.index)
    assert shares.loc[30].idxmin() == "c"
    np.testing.assert_allclose(shares.sum(axis=1), detector.score_samples(frame))
    assert detector.n_features_in_ == 4
    mean, std = frame.to_numpy().mean(), frame.to_numpy().std()
    np.testing.assert_allclose(shares, stats.norm.logpdf(frame, mean, std), atol=1e-4)


def test_long_sequences_score_low_and_length_alone_does_not(passwords):
    X = [*passwords, "abc" * 30]
    detector = DensityOutlierDetector(MarkovChainDensity(2)).fit(X)
    assert detector.score_samples(X).argmin() == len(passwords)
    means = [part.mean() for part in detector.explain(X)]
    assert np.argmin(means) != len(passwords)


def test_a_committee_of_densities_of_sequences(passwords):
    members = [("letters", MarkovChainDensity(1)), ("pairs", MarkovChainDensity(3))]
    detector = DensityOutlierDetector(members, random_state=0).fit(passwords)
    X = ["abcabc", "aaaccb"]
    np.testing.assert_allclose(detector.score_samples(X), detector.score_members(X).mean(axis=1))
    assert detector.predict(X).tolist() == [1, -1]
    assert not hasattr(detector, "explain")
    typical = DensityOutlierDetector(MarkovChainDensity(3), score_type="typicality", random_state=0)
    assert not hasattr(typical.fit(passwords), "explain")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DensityOutlierDetector(IndependentSteps(), trim=0.1), "set trim=None"),
        (lambda: DensityOutlierDetector(IndependentSteps(), smoothing=0.5), "leave it at 'auto'"),
        (lambda: DensityOutlierDetector(), "take a density of sequences"),
        (lambda: EnsembleDensity(), "take a density of sequences"),
        (
            lambda: EnsembleDensity([("a", IndependentSteps()), ("b", HistogramDensity())]),
            "2D array",
        ),
        (lambda: HistogramDensity(), "take a density of sequences"),
        (lambda: TransformedDensity(None, IndependentSteps()), "2D array"),
        (lambda: MixtureDensity(2, component=IndependentSteps()), "2D array"),
    ],
)
def test_what_takes_tables_alone_says_so(make, message):
    with pytest.raises(ValueError, match=message):
        make().fit(TEXTS)


def test_rows_of_different_lengths_are_no_table():
    with pytest.raises(ValueError, match="rows of X have 1 to 2 values.*density of sequences"):
        HistogramDensity().fit([np.zeros(2), np.zeros(1)])
    with pytest.raises(ValueError, match="rows of X have 1 to 3 values.*density of sequences"):
        HistogramDensity().fit([[1.0, 2.0, 3.0], [4.0]])
    with pytest.raises(ValueError, match="0 sequence"):
        EnsembleDensity([("a", IndependentSteps())]).fit(np.array([], dtype=object))


class Fills(IndependentSteps):
    """Fills in missing steps by the first category."""

    def conditional_sample(self, X, random_state=None):
        return X.fillna("a")


def test_missing_steps_are_imputed_in_tables():
    table = pd.DataFrame({"first": ["a", "b", None], "second": ["b", None, "b"]}, dtype=object)
    imputer = DensityImputer(Fills()).fit(table)
    assert imputer.transform(table).to_numpy().tolist() == [["a", "b"], ["b", "a"], ["a", "b"]]
    with pytest.raises(ValueError, match="fills in the cells of a table"):
        DensityImputer(Fills()).fit(TEXTS)


def test_rare_classes_get_new_sequences():
    pytest.importorskip("imblearn")
    from sklearn_dgm import GenerativeOverSampler

    sampler = GenerativeOverSampler(MarkovChainDensity(2), random_state=0)
    X, y = sampler.fit_resample([*TEXTS[:4] * 3, *TEXTS[4:]], [0] * 12 + [1] * 4)
    assert len(X) == 24
    assert sum(y) == 12
    assert X[:12] == TEXTS[:4] * 3
    assert all(isinstance(x, str) and set(x) <= {"a", "b"} for x in X)
    objects = sampler.fit_resample(np.array(TEXTS[:5], dtype=object), [0, 0, 0, 1, 1])[0]
    assert isinstance(objects, np.ndarray)


def test_a_refit_on_sequences_forgets_the_columns_of_a_table():
    ensemble = EnsembleDensity([("a", IndependentSteps())], random_state=0)
    ensemble.fit(pd.DataFrame(np.eye(3), columns=list("abc")).loc[[0, 1, 2] * 4])
    assert list(ensemble.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        ensemble.score_samples(pd.DataFrame({"a": [0.0]}))
    ensemble.fit(TEXTS)
    assert not hasattr(ensemble, "feature_names_in_")
