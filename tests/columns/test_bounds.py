"""Where numbers can lie: what the fitted rows say, what `bounds` says, and that densities and draws keep to it."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from sklearn_dgm import (
    AutoregressiveDensity,
    AveragedOneDependenceClassifier,
    BayesianNetworkDensity,
    DensityCodec,
    NaiveBayesClassifier,
    TreeAugmentedNaiveBayesClassifier,
)
from sklearn_dgm.columns import ColumnSchema

QUICK = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
DENSITIES = {
    "autoregressive": AutoregressiveDensity(n_orders=2, **QUICK),
    "normals": AutoregressiveDensity(conditional="gaussian-mixture", order="given", **QUICK),
    "any order": AutoregressiveDensity(order="any", **QUICK),
    "network": BayesianNetworkDensity("chow-liu", conditional="network", **QUICK),
    "tables": BayesianNetworkDensity("chow-liu", conditional="table"),
    "naive Bayes": NaiveBayesClassifier(),
    "tree": TreeAugmentedNaiveBayesClassifier(),
    "one-dependence": AveragedOneDependenceClassifier(),
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(name, X, **params):
    density = DENSITIES[name]
    labels = {"y": np.arange(len(X)) % 2} if hasattr(density, "predict") else {}
    return type(density)(**{**density.get_params(), **params}).fit(X, **labels)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 300
    flag = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            "flag": flag,
            "size": rng.choice([2, 7], n),
            "visits": rng.poisson(2 + 2 * flag),
            "price": (rng.lognormal(4, 1.5, n) * 10).astype(int),
            "fare": rng.exponential(30, n) * (rng.random(n) < 0.9),
            "share": rng.beta(0.5, 0.5, n),
            "age": rng.gamma(2, 15, n).round(1),
            "balance": rng.normal(size=n),
        }
    )


@pytest.mark.parametrize("name", DENSITIES)
def test_draws_are_possible(name, table):
    density = fitted(name, table)
    drawn = density.sample(3000, random_state=0)
    assert set(drawn["flag"]) == {0, 1}
    assert set(drawn["size"]) == {2, 7}
    assert (drawn.drop(columns="balance").min() >= 0).all()
    assert (drawn["balance"] < 0).any()
    assert np.isfinite(density.score_samples(drawn)).all()
    for column in ("visits", "price", "age"):
        # By hand: the values seen once, and half a row more.
        counts = table[column].value_counts()
        share = (np.sum(counts == 1) + 0.5) / (len(table) + 1)
        beyond = ~drawn[column].between(table[column].min(), table[column].max())
        assert beyond.mean() <= share + 3 * np.sqrt(share / len(drawn))
    impossible = table.head(6).copy()
    impossible.iloc[0, 0], impossible.iloc[1, 1], impossible.iloc[2, 2] = 2, 5, -1
    impossible.iloc[3, 4], impossible.iloc[4, 6] = -1e-3, -0.1
    scores = density.score_samples(impossible)
    assert np.isneginf(scores[:5]).all()
    assert np.isfinite(scores[5])


@pytest.mark.parametrize("name", DENSITIES)
def test_new_whole_numbers_are_possible_and_have_their_share(name):
    rng = np.random.default_rng(1)
    x = rng.integers(3, 9, 400)
    x[:3] = [1, 2, 12]
    density = fitted(name, x[:, None])
    points = np.arange(-200, 3000)[:, None]
    p = np.exp(density.score_samples(points))
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert (p[points[:, 0] < 0] == 0).all()
    beyond = p[(points[:, 0] < 1) | (points[:, 0] > 12)].sum()
    assert 0 < beyond <= 3.5 / 401 + 1e-9
    assert np.isfinite(density.score_samples([[0], [13]])).all()


@pytest.mark.parametrize("name", ["autoregressive", "normals", "tables", "naive Bayes"])
@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("plain", None),
        ("plain", {0: (-1.0, 9.0)}),
        ("plain", {0: (-np.inf, 50)}),
        ("with an atom", "observed"),
        ("with an atom", None),
        ("rounded", None),
        ("rounded", {0: (-1.0, 9.0)}),
    ],
)
def test_all_of_a_density_lies_between_its_bounds(name, kind, bounds):
    rng = np.random.default_rng(2)
    x = rng.exponential(1.5, 200).clip(0.01, 8.5)
    if kind == "with an atom":
        x[:60] = 0.0
    if kind == "rounded":
        x = x.round(1)
    low, high = x.min(), x.max()
    lower, upper = {
        "None": (0, np.inf),
        "observed": (low, high),
    }.get(str(bounds)) or bounds[0]
    density = fitted(name, x[:, None], bounds=bounds)
    first, last = max(lower, -300.0), min(upper, 400.0)
    if kind == "rounded":
        points = np.arange(np.ceil(first * 10 - 1e-6), np.floor(last * 10 + 1e-6) + 1) / 10
        total = np.exp(density.score_samples(points[:, None])).sum() / 10
        assert total == pytest.approx(1, abs=1e-3)
    else:
        # Piece by piece, for a table makes steps.
        far = np.geomspace(1e-3, 400, 100)
        edges = np.concatenate([[first, last], np.linspace(low, high, 400), far, -far])
        edges = np.unique(edges.clip(first, last))
        nodes, weights = np.polynomial.legendre.leggauss(24)
        half = np.diff(edges)[:, None] / 2
        points = edges[:-1, None] + half * (1 + nodes)
        p = np.exp(density.score_samples(points.reshape(-1, 1))).reshape(points.shape)
        total = (p * weights * half).sum()
        if kind == "with an atom":
            total += np.exp(density.score_samples([[0.0]]))[0]
        assert total == pytest.approx(1, abs=5e-3)
    beyond = np.array([first - 1, last + 1])[[np.isfinite(lower), np.isfinite(upper)]]
    assert np.isneginf(density.score_samples(beyond[:, None])).all()
    drawn = density.sample(1000, random_state=0)
    assert drawn.min() >= lower
    assert drawn.max() <= upper
    assert np.isfinite(density.score_samples(drawn)).all()


def schema_of(X, bounds=None, **kinds):
    schema = ColumnSchema(detect_ties=True, missing=True, bounds=bounds, column_kinds=kinds or None)
    return schema.fit(X if isinstance(X, pd.DataFrame) else np.asarray(X)[:, None])


def limits(X, bounds=None):
    (column,) = schema_of(X, bounds).columns_
    return column.lower, column.upper


def test_what_rows_speak_for():
    rng = np.random.default_rng(0)
    positive = rng.exponential(size=200)
    assert limits(positive) == (0, np.inf)
    assert limits(positive - 1) == (-np.inf, np.inf)
    assert limits(np.append(positive, [0.0, 0.0])) == (0, np.inf)
    assert limits(positive - positive.min()) == (-np.inf, np.inf)  # where zero is, a scaler said
    assert limits(positive.round(1) - positive.round(1).min()) == (0, np.inf)
    assert limits([3, 4, 4, 3]) == (3, 4)
    column = schema_of(pd.DataFrame({"a": [3.0, 4.0] * 50, "b": positive[:100]})).columns_[0]
    assert (column.lower, column.upper) == (3, 4)
    assert limits([-3, 4, 1]) == (-np.inf, np.inf)
    assert limits([3, np.nan, 4, np.nan] * 30) == (3, 4)
    dates = pd.DataFrame({"day": pd.date_range("2020-01-01", periods=60)})
    assert limits(dates) == (-np.inf, np.inf)
    assert limits(dates - pd.Timestamp("2019-12-31")) == (0, np.inf)


def test_what_a_dict_says():
    X = [3, 4, 4, 3]
    assert limits(X, {0: (-np.inf, np.inf)}) == (-np.inf, np.inf)
    assert limits(X, {0: (None, 10)}) == (3, 10)
    assert limits([1, 2, 5], {0: (None, 10)}) == (0, 10)
    assert limits([1, 2, 5], {0: "observed"}) == (1, 5)
    assert limits([1, 2, 5], {}) == (0, np.inf)
    frame = pd.DataFrame({"day": pd.to_datetime(["2020-01-03", "2020-01-05", "2020-01-04"])})
    start, stop = pd.Timestamp("2020-01-01"), datetime.datetime(2020, 1, 31)
    column = schema_of(frame, {"day": (start, stop)}).columns_[0]
    ends = column.clock.times(np.array([column.lower, column.upper]))
    assert ends.astype("M8[D]").tolist() == [start.date(), stop.date()]
    # The nearest of what single precision holds is what the table holds.
    tenth = np.array([0.1, 0.05, -1], dtype=np.float32)
    assert limits(tenth, {0: (None, 0.1)})[1] == np.float32(0.1)
    for dtype in ("float32", "Float32", "float32[pyarrow]"):
        frame = pd.DataFrame({"x": pd.Series(tenth.astype(float), dtype=dtype)})
        assert schema_of(frame, {"x": (None, 0.1)}).columns_[0].upper == np.float32(0.1)
    assert limits([1, 2, 5], {0: (Decimal("0.5"), None)}) == (0.5, np.inf)


NAIVE = pd.date_range("2020-01-03", periods=5, freq="D")
START = pd.Timestamp("2020-01-01")


@pytest.mark.parametrize(
    ("of", "bound"),
    [
        *((NAIVE, b) for b in (START, START.date(), START.to_datetime64(), "2020-01-01")),
        *(
            (NAIVE.tz_localize("Asia/Tokyo"), b)
            for b in (START.tz_localize("UTC"), "2020-01-01T00:00:00Z", "2020-01-01T09:00:00+09:00")
        ),
    ],
)
def test_bounds_of_times_are_the_times_that_they_are(of, bound):
    frame = pd.DataFrame({"when": of})
    column = schema_of(frame, {"when": (bound, None)}).columns_[0]
    assert column.clock.times(np.array([column.lower]))[0] == START.to_datetime64()
    other = START.tz_localize("UTC") if of.tz is None else START
    with pytest.raises(ValueError, match="'when'; expected .* a pair of times with"):
        schema_of(frame, {"when": (other, None)})


def test_bounds_of_times_may_be_beyond_the_reach_of_nanoseconds():
    last = datetime.datetime(9999, 12, 31)
    column = schema_of(pd.DataFrame({"when": NAIVE}), {"when": (None, last)}).columns_[0]
    assert column.clock.times(np.array([column.upper]))[0].astype("M8[us]").item() == last


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"b": (0, 1)}, "bounds names 'b'"),
        ({"a": (2, 1)}, "column 'a', which leaves it no room"),
        ({"a": (2, 9)}, "column 'a' holds 1, beyond its bounds"),
        ({"a": (0, 4)}, "column 'a' holds 5, beyond its bounds"),
        ({"a": (0, np.nan)}, "expected 'observed' or a pair of numbers"),
        ({"a": (np.timedelta64(0, "s"), 9)}, "expected 'observed' or a pair of numbers"),
        ({"a": 3}, "expected 'observed' or a pair of numbers"),
        ({"a": {0, 9}}, "expected 'observed' or a pair of numbers"),
        ({"a": ("0", 9)}, "expected 'observed' or a pair of numbers"),
        ({"c": (0, 9)}, "column 'c', which is categorical"),
    ],
)
def test_bounds_that_make_no_sense(bounds, message):
    frame = pd.DataFrame({"a": [1, 2, 5], "c": list("xyz")})
    with pytest.raises(ValueError, match=message):
        NaiveBayesClassifier(bounds=bounds).fit(frame, [0, 1, 0])


def test_bounds_of_columns_that_happen_to_be_constant():
    """In some part of a table, as a fold, a column may have one value, or none."""
    frame = pd.DataFrame({"a": [7] * 60, "b": np.nan, "c": np.arange(60.0)})
    days = frame.assign(b=pd.Timestamp("2020-01-05"))
    for X, bounds in (
        (frame, {"a": (0, 10), "b": (0, 1)}),
        (frame, {"a": (7, 7)}),
        (days, {"a": (None, None), "b": (pd.Timestamp("2020-01-01"), None)}),
    ):
        density = fitted("tables", X, bounds=bounds)
        assert (density.sample(50, random_state=0)["a"] == 7).all()
    for bounds, message in (
        ({"a": (8, 10)}, "column 'a' holds 7, beyond its bounds"),
        ({"b": (None, pd.Timestamp("2020-01-01"))}, "column 'b' holds 2020-01-05"),
        ({"a": 7}, "expected 'observed' or a pair of numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted("tables", days, bounds=bounds)


@pytest.mark.parametrize("name", ["autoregressive", "tables"])
def test_two_values_leave_others_to_bounds_that_say_so(name):
    X = np.repeat([0, 255, 0], 60)[:, None]
    every = np.arange(-1, 257)[:, None]
    p = np.exp(fitted(name, X, bounds={0: (0, 255)}).score_samples(every))[:, None]
    assert (p[[0, -1]] == 0).all()
    assert (p[1:-1] > 0).all()
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-6)
    for bounds in (None, "observed", {0: (None, None)}, {0: "observed"}):
        p = np.exp(fitted(name, X, bounds=bounds).score_samples(every))
        np.testing.assert_array_equal(every[p > 0, 0], [0, 255])


def test_times_take_times_for_bounds():
    frame = pd.DataFrame({"day": pd.date_range("2020-01-03", periods=60, freq="D")})
    with pytest.raises(ValueError, match="a pair of times without a zone"):
        NaiveBayesClassifier(bounds={"day": (0, 5)}).fit(frame, np.arange(60) % 2)
    bounds = {"day": (pd.Timestamp("2020-01-01"), pd.Timestamp("2020-03-31"))}
    drawn = fitted("tables", frame, bounds=bounds).sample(2000, random_state=0)["day"]
    assert drawn.min() >= bounds["day"][0]
    assert drawn.max() <= bounds["day"][1]


def test_two_values_are_two_categories():
    """A flag has the likelihood of the same column as a category, whatever its dtype."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (200, 3))
    x[:, 2] = np.where(rng.random(200) < 0.9, x[:, 0], x[:, 1])
    params = {"order": "given", "dropout": 0.0, **QUICK}
    scores = [
        AutoregressiveDensity(**params).fit(X).score_samples(X)
        for X in (x, x.astype(bool), 3 * x + 4)
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-5)


@pytest.mark.parametrize("name", ["autoregressive", "network", "tables"])
def test_questions_keep_to_the_bounds(name, table):
    table = table[["flag", "visits", "fare", "share"]]
    density = fitted(name, table, bounds={"share": (0, 1)})
    gaps = table.head(4).astype({"flag": float, "visits": float})
    gaps.loc[:, ["visits", "share"]] = np.nan
    drawn = density.conditional_sample(gaps, n_samples=10, random_state=0)
    assert drawn["visits"].min() >= 0
    assert drawn["share"].between(0, 1).all()
    prediction = density.predict_column(table.head(5), "share")
    values = prediction.ppf(np.array([1e-6, 1 - 1e-6])) if hasattr(prediction, "ppf") else None
    assert values is None or ((values >= 0) & (values <= 1)).all()
    flags = density.predict_column(table.head(5), "flag")
    np.testing.assert_allclose(flags.probabilities.sum(axis=1), 1)
    missing = table.head(5).astype({"flag": float})
    missing["flag"] = np.nan
    if name == "tables":
        both = [
            np.exp(density.score_samples(missing.assign(flag=v).astype({"flag": int})))
            for v in (0, 1)
        ]
        np.testing.assert_allclose(np.exp(density.score_samples(missing)), sum(both))


@pytest.mark.parametrize("name", ["autoregressive", "tables"])
def test_the_codec_keeps_what_is_beyond(name):
    pytest.importorskip("constriction")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.choice([2, 7], 200), "fare": rng.exponential(size=200).round(2)})
    codec = DensityCodec(DENSITIES[name]).fit(X)
    beyond = pd.DataFrame({"size": [2, 7, 3, 100], "fare": [0.5, -1.25, 3.0, 1.0]})
    pd.testing.assert_frame_equal(codec.decode(codec.encode(beyond)), beyond)


def test_later_rows_beyond_the_bounds_are_refused():
    x, y = np.array([[0], [1], [1], [0]]), [0, 0, 1, 1]
    model = NaiveBayesClassifier().partial_fit(x, y)
    before = model.predict_joint_log_proba([[1]])
    with pytest.raises(
        ValueError, match="Row 0 is impossible .* column 0 holds a number beyond its bounds"
    ):
        model.partial_fit([[7]], [0])
    np.testing.assert_array_equal(model.predict_joint_log_proba([[1]]), before)


def test_normal_scores_end_with_the_bounds():
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(200, 2))
    density = AutoregressiveDensity(order="given", **QUICK).fit(X)
    scores = density.normal_scores(X)
    np.testing.assert_allclose(density.from_normal_scores(scores), X, atol=1e-7)
    lowest = density.from_normal_scores(np.full((1, 2), -8.0))
    assert (lowest >= 0).all()
    assert (lowest < 1e-6).all()


def test_a_warm_start_keeps_the_bounds():
    X = np.random.default_rng(0).exponential(size=(100, 2))
    density = AutoregressiveDensity(order="given", warm_start=True, **QUICK).fit(X)
    with pytest.raises(ValueError, match="Row 0 is impossible .* beyond its bounds"):
        density.fit(-X)


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("kind", ["plain", "whole", "constant"])
def test_what_is_beyond_a_bound_is_no_rare_value(name, kind):
    rng = np.random.default_rng(0)
    x = {
        "plain": rng.gamma(2, 2, 200).clip(0.1, 9),
        "whole": rng.integers(1, 9, 200).astype(float),
        "constant": np.full(200, 5.0),
    }[kind]
    X, new = np.column_stack([x, rng.normal(size=200)]), np.array([[7.0, 0], [-1, 0], [10.5, 0]])
    if kind == "whole":
        X, new[2, 0] = pd.DataFrame(X).astype({0: int}), 11
    density = fitted(name, X, handle_unknown="rare", bounds={0: (0, 10)})
    scores = density.score_samples(new)
    assert np.isfinite(scores[0])
    assert np.isneginf(scores[1:]).all()
    if kind == "constant":
        # By hand: half a row of 201, of a column that has seen one value alone.
        other = np.exp(scores[0] - density.score_samples([[5.0, 0]])[0])
        assert other == pytest.approx(0.5 / 201 / (1 - 0.5 / 201), rel=0.02)  # y may follow
        assert np.isneginf(
            fitted(name, X, handle_unknown="rare", bounds="observed").score_samples(new)
        ).all()
    if hasattr(density, "predict_proba"):
        assert np.isfinite(density.predict_proba(new)).all()


def test_the_codec_keeps_what_is_beyond_the_bounds_of_a_constant():
    X = pd.DataFrame({"x": np.full(100, 5), "y": np.arange(100) % 3})
    density = fitted("tables", X, handle_unknown="rare", bounds={"x": (0, 10)})
    codec = DensityCodec(density).fit(X)
    new = pd.DataFrame({"x": [5, 11, 7, -1], "y": [0, 1, 2, 0]})
    pd.testing.assert_frame_equal(codec.decode(codec.encode(new)), new)
