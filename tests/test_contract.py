"""The contract beyond tables and exact densities: generators, sequences, kinds of scores, estimates, given columns."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import get_tags

from sklearn_dgm import (
    AutoregressiveDensity,
    BayesianNetworkDensity,
    CalibrationDisplay,
    DensityCodec,
    DensityDisplay,
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
    HistogramDensity,
    TransformedDensity,
    bits_per_dim,
    compare_densities,
    get_density_tags,
    is_density,
    is_generator,
    mean_log_likelihood,
)
from sklearn_dgm._nested.measures import measures_of
from sklearn_dgm.tags import (
    SCORE_KINDS,
    DensityTags,
    common_density_tags,
    require_normalised,
    worst_score_kind,
)
from tests.toys import Bootstrap, Counts, Energy, Flags, Gaussian, Noisy, Regression, WordChains

TEXTS = [["a", "rose"], ["is", "a", "rose", "is", "a", "rose"], [], ["rose"]]


@pytest.fixture
def X():
    return np.random.default_rng(0).normal([10, -3], [5, 0.1], (200, 2))


def test_a_density_of_sequences():
    weight = [1, 2, 1, 0]
    density = WordChains().fit(TEXTS, sample_weight=weight)
    scores = density.score_samples(TEXTS)
    words = [w for row, n in zip(TEXTS, weight, strict=True) for w in row * n]
    stop = 4 / (len(words) + 4)
    expected = [
        np.log(stop) + sum(np.log((1 - stop) * words.count(word) / len(words)) for word in row)
        for row in TEXTS
    ]
    np.testing.assert_allclose(scores, expected)
    assert density.score(TEXTS, sample_weight=weight) == pytest.approx(np.dot(weight, expected))
    assert density.score_samples([["thorn"]]) == -np.inf
    drawn = density.sample(500, random_state=0)
    assert drawn == density.sample(500, random_state=0)
    assert {word for row in drawn for word in row} == {"a", "rose", "is"}
    shared = density.learn_schema(TEXTS)
    assert clone(density).fit(TEXTS[:1], schema=shared).schema_ is shared
    assert pickle.loads(pickle.dumps(density)).sample(500, random_state=0) == drawn
    assert get_density_tags(density).sequences
    with pytest.raises(NotFittedError):
        clone(density).score_samples(TEXTS)
    with pytest.raises(ValueError, match="WordSchema"):
        WordChains().fit(TEXTS, schema=HistogramDensity().learn_schema(np.eye(3)))


def test_lengths_and_words_of_drawn_sequences_follow_the_density():
    density = WordChains().fit(TEXTS)
    drawn = density.sample(4000, random_state=0)
    for row in ([], ["rose"], ["a"], ["is", "a"]):
        share = np.mean([other == row for other in drawn])
        p = np.exp(density.score_samples([row])[0])
        assert abs(share - p) < 4 * np.sqrt(p / len(drawn))


def test_a_generator_has_no_scores(X):
    table = pd.DataFrame(X, columns=["a", "b"]).assign(c=np.where(X[:, 0] > 10, "yes", "no"))
    generator = Bootstrap().fit(table)
    drawn = generator.sample(50, random_state=0)
    assert drawn.dtypes.equals(table.dtypes)
    # The way there and back costs a few last bits.
    assert set(zip(drawn.a.round(9), drawn.c, strict=True)) <= set(
        zip(table.a.round(9), table.c, strict=True)
    )
    assert not hasattr(generator, "score_samples")
    assert not hasattr(generator, "score_kind_")
    assert get_density_tags(generator).score_kind == "none"
    half = Bootstrap().fit(table, sample_weight=np.arange(200) < 100)
    assert set(half.sample(300, random_state=0).a.round(9)) <= set(table.a[:100].round(9))
    with pytest.raises(ValueError, match="positive integer"):
        generator.sample(0)
    with pytest.raises(NotFittedError):
        Bootstrap().sample()


def test_generators_and_densities():
    for estimator in (HistogramDensity(), KernelDensity(), GaussianMixture(), Energy()):
        for wrapped in (
            estimator,
            FrozenEstimator(estimator),
            GridSearchCV(estimator, {}),
            make_pipeline(StandardScaler(), estimator),
        ):
            assert is_density(wrapped)
            assert is_generator(wrapped)
    assert is_generator(Bootstrap())
    assert not is_density(Bootstrap())
    for neither in (StandardScaler(), make_pipeline(StandardScaler(), "passthrough")):
        assert not is_generator(neither)
        assert get_density_tags(neither).score_kind == "none"


NUMBERS, TABLES = ("continuous", "integer"), ("continuous", "integer", "categorical")


def test_tags_of_families_of_rivals_and_of_what_is_built_on_them():
    for estimator, expected in (
        (HistogramDensity(), (TABLES, False, False, "exact")),
        (AutoregressiveDensity(), (TABLES, True, True, "exact")),
        (KernelDensity(), (NUMBERS, False, False, "exact")),
        (GaussianMixture(), (NUMBERS, False, False, "exact")),
        (Energy(), (("continuous",), False, False, "unnormalised")),
        (Bootstrap(), (TABLES, False, False, "none")),
        (TransformedDensity(None, AutoregressiveDensity()), (TABLES, True, True, "exact")),
        (
            TransformedDensity(StandardScaler(), AutoregressiveDensity()),
            (NUMBERS, True, True, "exact"),
        ),
        (GenerativeClassifier(BayesianNetworkDensity()), (TABLES, True, True, "exact")),
        (
            EnsembleDensity([("a", AutoregressiveDensity()), ("b", KernelDensity())]),
            (NUMBERS, False, True, "exact"),
        ),
        (
            EnsembleDensity([("b", KernelDensity()), ("a", Energy())]),
            (("continuous",), False, False, "unnormalised"),
        ),
        (DensityOutlierDetector(), (TABLES, True, False, "none")),
    ):
        for wrapped in (
            estimator,
            FrozenEstimator(estimator),
            GridSearchCV(estimator, {}),
            make_pipeline(StandardScaler(), estimator),
        ):
            tags = get_density_tags(wrapped)
            assert (tags.column_kinds, tags.missing, tags.ties, tags.score_kind) == expected


def test_what_is_no_density_is_refused_by_what_it_is():
    for neither in ("abc", None, 7):
        with pytest.raises(TypeError, match=f"{neither!r} is no estimator"):
            get_density_tags(neither)
        with pytest.raises(TypeError, match=f"{neither!r} is no estimator"):
            require_normalised([neither], "mean")
    with pytest.raises(TypeError, match=r"a list of densities, got KernelDensity\(\) alone"):
        require_normalised(KernelDensity(), "mean")
    with pytest.raises(ValueError, match="mean needs log-densities, but StandardScaler is no dens"):
        require_normalised([KernelDensity(), StandardScaler()], "mean")
    with pytest.raises(ValueError, match="mean needs log-densities, but Bootstrap generates rows"):
        require_normalised([make_pipeline(StandardScaler(), Bootstrap())], "mean")
    ends_in_none = make_pipeline(StandardScaler(), "passthrough")
    assert get_density_tags(ends_in_none).score_kind == "none"


def test_flags_are_columns_that_all_take_if_some_take_any_categories():
    tables = HistogramDensity()
    for first, second, expected in (
        (Flags(), tables, ("binary",)),
        (tables, Flags(), ("binary",)),
        (Flags(), Flags(), ("binary",)),
        (tables, tables, TABLES),
        (Flags(), KernelDensity(), ()),
    ):
        assert common_density_tags([first, second]).column_kinds == expected


def test_what_is_asked_for_is_a_flag():
    X = np.random.default_rng(0).normal(size=(30, 2))
    noisy = Noisy().fit(X)
    nested = TransformedDensity(None, Noisy()).fit(X)
    classes = GenerativeClassifier(Noisy()).fit(X, X[:, 0] > 0)
    for density in (noisy, nested, classes):
        with pytest.raises(ValueError, match="return_std should be True or False, got 'no'"):
            density.score_samples(X, return_std="no")
    network = BayesianNetworkDensity(conditional="table").fit(X)
    for density in (network, TransformedDensity(None, FrozenEstimator(network)).fit(X)):
        with pytest.raises(ValueError, match="return_ess should be True or False, got 'no'"):
            density.conditional_sample(X * [np.nan, 1], return_ess="no")
    for metric in (mean_log_likelihood, bits_per_dim):
        with pytest.raises(ValueError, match="return_std_error should be True or False, got 'no'"):
            metric(noisy, X, return_std_error="no")


def test_tags_of_a_family_are_not_those_of_another_instance():
    get_tags(HistogramDensity()).density_tags.missing = True
    assert not get_density_tags(HistogramDensity()).missing
    assert get_density_tags(TransformedDensity(None, KernelDensity())).warm_start_within
    assert not get_density_tags(KernelDensity()).warm_start_within


@pytest.mark.parametrize(
    ("density", "column", "kind"),
    [
        (Gaussian(), [1, 2, 3], "integer"),
        (Gaussian(), ["a", "b", "a"], "categorical"),
        (Counts(), [0.5, 1.5, 2.0], "continuous"),
        (Flags(), ["a", "b", "c"], "categorical"),
        (Flags(), [1, 2, 1], "integer"),
    ],
)
def test_columns_of_other_kinds_are_refused(density, column, kind):
    with pytest.raises(ValueError, match=f"column 'x' is {kind}, but only .* taken"):
        density.fit(pd.DataFrame({"x": column}))
    assert not hasattr(density, "schema_")


def test_columns_of_kinds_that_are_taken():
    assert np.isfinite(Flags().fit([["a"], ["b"]]).score([["a"]]))
    assert np.isfinite(Counts().fit([[1], [2]]).score([[1]]))
    assert np.isfinite(Gaussian().set_params().fit([[1.0], [2.0]]).score([[1.0]]))


def test_given_columns_have_no_density():
    rng = np.random.default_rng(0)
    x, z = rng.normal(5, 2, (2, 300))
    frame = pd.DataFrame({"x": x, "y": 3 * x - z + rng.normal(0, 0.5, 300), "z": z})
    density = Regression(given=["x", "z"]).fit(frame)
    inputs = np.column_stack([np.ones(300), x, z])
    coef = np.linalg.lstsq(inputs, frame.y, rcond=None)[0]
    error = (frame.y - inputs @ coef).to_numpy()
    # In the units of y, whatever those of x and z.
    expected = stats.norm(0, error.std()).logpdf(error)
    np.testing.assert_allclose(density.score_samples(frame), expected, rtol=1e-6)
    np.testing.assert_allclose(
        Regression([0, 2]).fit(frame.to_numpy()).score_samples(frame.to_numpy()),
        expected,
        rtol=1e-6,
    )
    gaps = frame.head(2).assign(y=np.nan)
    drawn = density.conditional_sample(gaps, 4000, random_state=0)
    pd.testing.assert_series_equal(drawn.x, gaps.x.repeat(4000))
    residual = (drawn.y - np.column_stack([np.ones(8000), drawn.x, drawn.z]) @ coef) / error.std()
    for part in (residual[:4000], residual[4000:]):
        assert stats.kstest(part, stats.norm.cdf).pvalue > 1e-4
    pd.testing.assert_frame_equal(drawn, density.conditional_sample(gaps, 4000, random_state=0))


def test_what_has_to_be_given_and_what_not():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, 2)), columns=["x", "y"])
    density = Regression(given="x").fit(frame)
    with pytest.raises(ValueError, match="column 'x' has to be given, but is missing in row 1"):
        density.conditional_sample(pd.DataFrame({"x": [0.0, np.nan], "y": np.nan}))
    with pytest.raises(ValueError, match="column 'y' is to be drawn.*row 0"):
        density.conditional_sample(frame)
    with pytest.raises(ValueError, match="given names .w., which is not a column"):
        Regression(given="w").fit(frame)
    joint = Regression().fit(frame)
    assert joint.sample(3).shape == (3, 2)
    assert get_density_tags(density).conditional
    assert not get_density_tags(joint).conditional
    # What is given may be of any kind.
    frame["x"] = rng.integers(0, 3, 50)
    assert Regression(given="x").fit(frame).schema_.kinds_.tolist() == ["integer", "continuous"]
    with pytest.raises(ValueError, match="'x' is integer"):
        Regression(given="y").fit(frame)


def test_conditional_densities_integrate_to_one_given_any_value():
    rng = np.random.default_rng(0)
    X = rng.normal(2, 3, (100, 2))
    density = Regression(given=[0]).fit(X)
    y = np.linspace(-40, 40, 20_001)
    for x in (-3.0, 2.0, 9.0):
        p = np.exp(density.score_samples(np.column_stack([np.full_like(y, x), y])))
        assert np.sum(p) * (y[1] - y[0]) == pytest.approx(1)


def committee(density):
    return DensityOutlierDetector([("kernel", KernelDensity()), ("energy", density)])


def pair(first, second):
    return [("first", first), ("second", second)]


COMPARISONS = {
    "an ensemble": lambda densities, X: EnsembleDensity(densities, cv=2).fit(X),
    "an ensemble of equal weights": lambda densities, X: EnsembleDensity(
        densities, weights="equal"
    ).fit(X),
    "a comparison": lambda densities, X: compare_densities(dict(densities), X, cv=2),
}


@pytest.mark.parametrize("compare", COMPARISONS.values(), ids=COMPARISONS)
def test_densities_given_other_columns_are_neither_averaged_nor_compared(compare, X):
    given = Regression(given=[0])
    for other in (Gaussian(), Regression(), KernelDensity(), HistogramDensity(alpha=0.5)):
        with pytest.raises(ValueError, match="column 0 is given for 'first' and continuous for"):
            compare(pair(given, other), X)
    with pytest.raises(ValueError, match="continuous for 'second'.* let given of one of them say"):
        compare(pair(TransformedDensity(None, given), Regression()), X)
    with pytest.raises(ValueError, match="column 0 is given for 'first' and continuous for 'seco"):
        compare(pair(given, Regression(given=[1])), X)
    compare(pair(given, TransformedDensity(None, given)), X)


def test_an_ensemble_of_conditional_densities_is_one(X):
    ensemble = EnsembleDensity(pair(Regression([0]), Regression([True, False])), cv=2).fit(X)
    np.testing.assert_allclose(
        ensemble.score_samples(X), Regression([0]).fit(X).score_samples(X), rtol=1e-9
    )


def test_counts_are_counted_whatever_else_is_taken():
    X = np.random.default_rng(0).integers(0, 4, (50, 2))
    assert measures_of(Counts().fit(X)) == ["counted", "counted"]


def test_columns_that_are_given_take_no_bits(X):
    density = Regression(given=[0]).fit(X)
    expected = -density.score_samples(X).mean() / np.log(2)
    assert bits_per_dim(density, X) == pytest.approx(expected)
    assert bits_per_dim(TransformedDensity(None, Regression([0])).fit(X), X) == pytest.approx(
        expected
    )


def test_there_is_the_method_that_draws_what_is_to_be_drawn(X):
    nothing = (None, [], (), np.array([]), [False, False], np.zeros(2, dtype=bool))
    something = ([0], (1,), np.array([1]), [True, False], np.array([False, True]))
    for given in (*nothing, *something):
        is_joint = any(given is of for of in nothing)
        for density in (Regression(given), Regression(given).fit(X)):
            assert hasattr(density, "sample") == is_joint
            assert hasattr(density, "conditional_sample") != is_joint
            assert get_density_tags(density).conditional != is_joint
            assert is_density(density)
            for wrapped in (density, TransformedDensity(None, density)):
                assert is_generator(wrapped) == is_joint
        ensemble = EnsembleDensity(pair(Regression(given), Regression(given)), weights="equal")
        assert is_generator(ensemble) == is_generator(ensemble.fit(X)) == is_joint
    with pytest.raises(AttributeError) as error:
        Regression([0]).fit(X).sample()
    assert "draw the others with conditional_sample" in str(error.value.__cause__)
    # Parameters that are set after a fit are of the next one.
    assert not hasattr(Regression([0]).fit(X).set_params(given=None), "sample")


NEED_ALL_COLUMNS = {
    "GenerativeClassifier": lambda d, X: GenerativeClassifier(d).fit(X, X[:, 0] > 10),
    "DensityDisplay": lambda d, X: DensityDisplay.from_estimator(d.fit(X), X),
    "CalibrationDisplay": lambda d, X: CalibrationDisplay.from_estimator(d.fit(X), X),
}


class FailsToFit(Regression):
    def _fit(self, Z, sample_weight):
        raise AssertionError("it is fitted")


@pytest.mark.parametrize("user", NEED_ALL_COLUMNS)
def test_who_needs_a_density_of_all_columns_takes_none_of_some(user, X):
    for density in (Regression([0]), TransformedDensity(StandardScaler(), Regression([0]))):
        name = type(density).__name__
        for wrapped in (density, GridSearchCV(density, {}, cv=2)):
            with pytest.raises(
                ValueError, match=f"{user} needs .* all columns, but {name} has one"
            ):
                NEED_ALL_COLUMNS[user](wrapped, X)


def test_the_over_sampler_draws_from_no_density_of_some_columns(X):
    pytest.importorskip("imblearn")
    with pytest.raises(ValueError, match="GenerativeOverSampler needs a density of all columns"):
        GenerativeOverSampler(FailsToFit([0])).fit_resample(X, np.arange(200) < 30)


def test_the_codec_takes_no_density_of_some_columns(X):
    pytest.importorskip("constriction")

    class Factors(FailsToFit):
        def _factors(self):  # there are some, which nobody is to ask for
            raise NotImplementedError

    with pytest.raises(
        ValueError, match="DensityCodec needs a density of all columns, but Factors"
    ):
        DensityCodec(Factors([0])).fit(X)


def test_the_imputer_refuses_before_the_fit_what_cannot_fill_in(X):
    for density, strategy, message in (
        (FailsToFit(), "draw", "has conditional_sample, .* FailsToFit has none"),
        (FailsToFit([0]), "draw", "takes missing cells, .* FailsToFit does not"),
        (FailsToFit([0]), "mean", "has conditional_mean, .* FailsToFit has none"),
        (
            TransformedDensity(None, AutoregressiveDensity()),
            "mode",
            "has conditional_mode, .* TransformedDensity has none",
        ),
    ):
        with pytest.raises(TypeError, match=message):
            DensityImputer(density, strategy=strategy).fit(X)


def test_conditional_draws_behind_transformers(X):
    frame = pd.DataFrame(X, columns=["x", "y"])
    plain = Regression(["x"]).fit(frame)
    # A DataFrame stays one.
    scaler = StandardScaler().set_output(transform="pandas")
    density = TransformedDensity(scaler, Regression([0])).fit(frame)
    rows = frame.iloc[:3].assign(y=np.nan)
    expected = plain.conditional_sample(rows, 1000, random_state=0)
    drawn, ess = density.conditional_sample(rows, 1000, random_state=0, return_ess=True)
    pd.testing.assert_series_equal(drawn.x, rows.x.repeat(1000))
    np.testing.assert_allclose(drawn.y, expected.y)
    assert np.isposinf(ess).all()
    assert ess.shape == (3,)
    with pytest.raises(ValueError, match=r"'?y'? is to be drawn"):
        density.conditional_sample(frame)


def test_no_draws_behind_a_transformer_that_takes_no_missing_cells(X):
    positive = np.exp(X / 10)
    for validate in (False, True):
        log = FunctionTransformer(np.log, np.exp, validate=validate)
        density = TransformedDensity(log, Regression([0])).fit(positive)
        assert hasattr(density, "conditional_sample") != validate


def test_given_cells_that_fit_cannot_have_seen():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"city": rng.choice(["Oslo", "Rome"], 60), "n": rng.integers(0, 5, 60), "one": 1}
    ).assign(y=rng.normal(size=60))
    density = HandlesTies(given=["city", "n", "one"]).fit(frame)
    rows = frame.head(3).assign(y=np.nan)
    assert density.conditional_sample(rows, random_state=0).y.notna().all()
    for column, value, message in (
        ("city", "zz", "column 'city' holds a category that fit has not seen in row 1"),
        ("n", 2.5, "column 'n' holds no whole number in row 1"),
        ("one", 2, "column 'one' holds a category that fit has not seen in row 1"),
    ):
        changed = rows.astype({column: object})
        changed.loc[1, column] = value
        with pytest.raises(ValueError, match=message):
            density.conditional_sample(changed)


class HandlesTies(Regression):
    _density_tags = DensityTags(column_kinds=("continuous",), ties=True)


USERS = {
    "mean_log_likelihood": lambda d, X: mean_log_likelihood(d.fit(X), X),
    "bits_per_dim": lambda d, X: bits_per_dim(make_pipeline(StandardScaler(), d).fit(X), X),
    "compare_densities": lambda d, X: compare_densities({"k": KernelDensity(), "e": d}, X),
    "EnsembleDensity": lambda d, X: EnsembleDensity([("k", KernelDensity()), ("e", d)]).fit(X),
    "GenerativeClassifier": lambda d, X: GenerativeClassifier(d).fit(X, X[:, 0] > 10),
    "TransformedDensity": lambda d, X: TransformedDensity(StandardScaler(), d).fit(X),
    "A committee of DensityOutlierDetector": lambda d, X: committee(d).fit(X),
    "[A-Za-z]*.score": lambda d, X: d.fit(X).score(X),
}


class FoundOutInFit(Energy):
    """It knows that its scores are unnormalised when it has seen the rows."""

    _density_tags = DensityTags(column_kinds=("continuous",))

    def _fit(self, Z, sample_weight):
        super()._fit(Z, sample_weight)
        self.score_kind_ = "unnormalised"


@pytest.mark.parametrize("density", [Energy(), FoundOutInFit()], ids=lambda d: type(d).__name__)
@pytest.mark.parametrize("user", USERS)
def test_unnormalised_scores_are_neither_averaged_nor_compared(user, density, X):
    name = type(density).__name__
    with pytest.raises(ValueError, match=f"^{user} needs log-densities, but the scores of {name} "):
        USERS[user](density, X)


def test_the_codec_takes_no_unnormalised_scores(X):
    pytest.importorskip("constriction")

    class Factors(Energy):
        def _factors(self):
            raise NotImplementedError

    with pytest.raises(ValueError, match="DensityCodec needs log-densities, .* of Factors are unn"):
        DensityCodec(Factors()).fit(X)


def test_ranks_of_unnormalised_scores_are_enough_for_a_detector_alone(X):
    exact, energy = (DensityOutlierDetector(d(), random_state=0).fit(X) for d in (Gaussian, Energy))
    np.testing.assert_array_equal(exact.predict(X), energy.predict(X))


def test_who_needs_rows_alone_takes_generators(X):
    pytest.importorskip("imblearn")
    y = np.arange(200) < 30
    more, classes = GenerativeOverSampler(Bootstrap(), random_state=0).fit_resample(X, y)
    assert classes.sum() == 170
    assert set(more[200:, 0].round(9)) <= set(X[y, 0].round(9))
    with pytest.raises(TypeError, match="estimator should be a density, which Bootstrap is not"):
        GenerativeClassifier(Bootstrap()).fit(X, y)
    for estimator in (Bootstrap(), Energy()):
        display = DensityDisplay.from_estimator(estimator.fit(X), X)
        assert display.density is None
        assert display.sampled is not None


def test_comparisons_say_what_their_numbers_are(X):
    rng = np.random.default_rng(0)
    holes = X.copy()
    holes[rng.random(X.shape) < 0.3] = np.nan
    network = AutoregressiveDensity((), max_epochs=1, early_stopping=False, n_orders=1)
    densities = {"network": network, "tables": BayesianNetworkDensity(conditional="table")}
    kinds = compare_densities(densities, holes, cv=2, random_state=0).score_kind
    assert kinds.to_dict() == {"network": "estimate", "tables": "exact"}
    assert set(compare_densities({"k": KernelDensity(), "n": network}, X, cv=2).score_kind) == {
        "exact"
    }


def test_every_pair_of_kinds_of_scores_is_ranked():
    class Says(Gaussian):
        def __init__(self, score_kind_="exact"):
            self.score_kind_ = score_kind_

    for a, b in itertools.product(SCORE_KINDS, repeat=2):
        expected = SCORE_KINDS[max(SCORE_KINDS.index(a), SCORE_KINDS.index(b))]
        assert worst_score_kind([Says(a), Says(b)]) == expected
