"""TabularGAN: what it draws, what it may be given, and what it has not."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from sklearn_dgm import TabularGAN, TrainingDisplay, is_density, is_generator
from sklearn_dgm.metrics import nearest_record_distances
from sklearn_dgm.nn.gan import AdversarialPair
from tests._training.interrupted import interrupt

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 2, "batch_size": 64, "random_state": 0}


def table(n=300, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "rare"], n, p=[0.6, 0.37, 0.03])
    return pd.DataFrame(
        {
            "kind": pd.Categorical(kind),
            "size": np.where(kind == "a", 0.0, 4.0) + rng.normal(size=n),
            "count": rng.poisson(6, n),
            "few": rng.integers(1, 4, n),
            "flag": rng.random(n) < 0.3,
        }
    )


@pytest.fixture(scope="module")
def gan():
    return TabularGAN(**SMALL).fit(table())


def test_it_draws_and_has_no_density(gan):
    assert is_generator(gan)
    assert not is_density(gan)
    assert not hasattr(gan, "score_samples")
    assert not hasattr(gan, "score")


def test_drawn_rows_are_like_the_table(gan):
    drawn, X = gan.sample(500, random_state=0), table()
    assert (drawn.dtypes == X.dtypes).all()
    assert not drawn.isna().any().any()
    for name in ("count", "few", "kind", "flag"):
        assert set(drawn[name]) <= set(X[name])
    assert drawn["size"].between(X["size"].min(), X["size"].max()).all()


@pytest.mark.parametrize(
    ("column", "category"), [("kind", "rare"), ("flag", True), ("few", 2), (0, "b")]
)
def test_what_is_given_is_drawn(gan, column, category):
    drawn = gan.sample(50, random_state=0, conditions={column: category})
    assert (drawn.iloc[:, drawn.columns.get_loc(column) if column else 0] == category).all()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (
            {"kind": "other"},
            "'other' in column 'kind', which was not given in training; given were",
        ),
        ({"few": 9}, "9 in column 'few', which was not given"),
        ({"size": 1.0}, r"column 'size', but can only name one of 'kind', 'few', 'flag'"),
        ({"weight": 1.0}, "conditions names 'weight', which is not a column"),
        ({"kind": ["a", "b"]}, r"one category for column 'kind', got \['a', 'b'\]"),
        ({"kind": "a", "flag": True}, "a dict of one column and its category"),
        ({}, "a dict of one column"),
        ("rare", "a dict of one column"),
    ],
)
def test_what_cannot_be_given_is_said(gan, conditions, message):
    with pytest.raises(ValueError, match=message):
        gan.sample(3, conditions=conditions)


def test_what_no_row_has_cannot_be_given():
    X = table()
    X["kind"] = X["kind"].cat.add_categories("none")
    X["few"] = X["few"].replace({2: 4})
    generator = TabularGAN(**SMALL).fit(X)
    assert "none" not in set(generator.sample(500, random_state=0)["kind"])
    for name, category in (("kind", "none"), ("few", 2)):
        with pytest.raises(ValueError, match=f"column '{name}', which was not given in training"):
            generator.sample(conditions={name: category})


@pytest.mark.parametrize(
    "values",
    [
        pd.Categorical(pd.to_datetime(["2024-01-01", "2024-02-01"], utc=True)),
        pd.Series([Decimal("0.1"), Decimal("0.2")]),
        np.array([1.5, 2.5]),
    ],
    ids=["times with a zone", "Decimals", "numbers as categories"],
)
def test_a_category_is_given_as_it_is_drawn(values):
    X = pd.DataFrame({"kind": pd.Series(values).repeat(40).to_numpy(), "x": np.arange(80.0)})
    X["kind"] = pd.Series(values).repeat(40).reset_index(drop=True)
    generator = TabularGAN(**SMALL, categorical_features=["kind"]).fit(X)
    for category in X["kind"].unique():
        drawn = generator.sample(5, random_state=0, conditions={"kind": category})
        assert (drawn["kind"] == category).all()


@pytest.mark.parametrize("params", [{"conditional": False}, {"categorical_features": None}])
def test_without_categories_nothing_can_be_given(params):
    X = table()[["size", "count"]] if "categorical_features" in params else table()
    generator = TabularGAN(**SMALL, **params).fit(X)
    assert generator.sample(5).shape == (5, X.shape[1])
    with pytest.raises(ValueError, match="conditional=True"):
        generator.sample(5, conditions={"kind": "a"})


def test_the_record_says_critic_and_accuracy(gan):
    assert [record["epoch"] for record in gan.history_] == [1, 2]
    for record in gan.history_:
        assert np.isfinite(record["train_critic_distance"])
        assert 0 <= record["valid_nearest_neighbour_accuracy"] <= 1
    display = TrainingDisplay.from_estimator(gan)
    assert display.ax_.get_ylabel() == "nearest neighbour accuracy"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert not any("train" in label for label in labels)


def test_the_critic_scores_rows_under_its_own_name(gan):
    scores = gan.critic_scores(table())
    assert scores.shape == (300,)
    assert scores.dtype == np.float64
    assert np.allclose(scores[:9], gan.critic_scores(table()[:9]), atol=1e-12)


def test_bad_rows_are_named(gan):
    X = table()
    X.loc[3, "size"] = np.nan
    with pytest.raises(ValueError, match="column 'size'"):
        TabularGAN(**SMALL).fit(X)
    with pytest.raises(ValueError, match="column 'size'"):
        gan.critic_scores(X)
    X = table()
    X["kind"] = X["kind"].cat.rename_categories({"rare": "new"})
    row = int(np.flatnonzero(X["kind"] == "new")[0])
    with pytest.raises(ValueError, match=f"row {row} has a value in column 'kind' that was not"):
        gan.critic_scores(X)
    with pytest.raises(ValueError, match="0 sample"):
        TabularGAN(**SMALL).fit(X[:0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 30, "pac": 8}, "batch_size=30 should be a multiple of pac=8"),
        ({"hidden_layer_sizes": (16, 0)}, "hidden_layer_sizes should be positive"),
        ({"pac": 0}, "pac"),
        ({"gradient_penalty": -1.0}, "gradient_penalty"),
    ],
)
def test_bad_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        TabularGAN(**SMALL | params).fit(table())


def test_it_is_not_fitted_before():
    with pytest.raises(NotFittedError):
        TabularGAN().sample()
    with pytest.raises(NotFittedError):
        TabularGAN().critic_scores(table())


@pytest.mark.parametrize(
    "X", [table()[["size"]], table()[["kind"]], table()[:1], table().assign(same=1, one="x")]
)
def test_tables_of_any_form(X):
    drawn = TabularGAN(**SMALL).fit(X).sample(20, random_state=0)
    assert list(drawn) == list(X)
    assert drawn.shape == (20, X.shape[1])


def test_a_warm_start_goes_on_and_refuses_what_it_cannot():
    generator = TabularGAN(**SMALL, warm_start=True, early_stopping=False).fit(table())
    before = generator.net_.module_.critic[0].weight.clone()
    generator.fit(table())
    assert [record["epoch"] for record in generator.history_] == [1, 2, 3, 4]
    assert not torch.equal(before, generator.net_.module_.critic[0].weight)
    with pytest.raises(ValueError, match="gradient_penalty"):
        generator.set_params(gradient_penalty=1.0).fit(table())
    other = table()
    other["kind"] = other["kind"].cat.rename_categories({"rare": "new"})
    with pytest.raises(ValueError, match="column 'kind'"):
        generator.set_params(gradient_penalty=10.0).fit(other)


def test_ctrl_c_keeps_what_was_reached_in_a_warm_start():
    generator = TabularGAN(**SMALL | {"max_epochs": 9}, warm_start=True)
    interrupt(
        generator, table(), at=110
    )  # 33 steps of the critic an epoch, and half as many of the generator
    assert generator.n_iter_ == 2
    assert generator.sample(3).shape == (3, 5)
    assert not hasattr(interrupt(TabularGAN(**SMALL), table(), at=30), "net_")


def test_heavy_rows_are_drawn_more_often():
    X = table(1000)
    weight = np.where(X["kind"] == "b", 20.0, 1.0)
    drawn = TabularGAN(**SMALL).fit(X, sample_weight=weight).sample(2000, random_state=0)
    share = weight[X["kind"] == "b"].sum() / weight.sum()
    assert (drawn["kind"] == "b").mean() == pytest.approx(share, abs=0.05)


# What it learns.

TRAINED = {"hidden_layer_sizes": (64, 64), "n_latents": 8, "batch_size": 256, "max_epochs": 60}


def from_nothing(monkeypatch):
    """Let training start from a generator that knows nothing of how the columns go together."""
    start = AdversarialPair.start_from

    def start_from(module, z, weight):
        start(module, z, weight)
        torch.nn.init.normal_(module.generator.skip.weight, std=0.1)

    monkeypatch.setattr(AdversarialPair, "start_from", start_from)


@pytest.mark.parametrize("seed", range(5))
def test_both_modes_are_drawn(monkeypatch, seed):
    """Two clouds, of which columns by themselves tell nothing: of independent ones, 0.57 of the rows are near one."""
    from_nothing(monkeypatch)
    rng = np.random.default_rng(seed)
    modes = np.array([[2.0, -2.0], [-2.0, 2.0]])
    X = modes[(rng.random(1500) < 0.7).astype(int)] + rng.normal(size=(1500, 2)) * 0.5
    drawn = TabularGAN(**TRAINED, random_state=seed).fit(X).sample(4000, random_state=0)
    distance = np.linalg.norm(drawn[:, None] - modes, axis=2)
    assert (distance.argmin(axis=1) == 0).mean() == pytest.approx(0.3, rel=0.2)
    assert (distance.min(axis=1) < 1.5).mean() > 0.7


def test_a_linear_generator_learns_the_moments_of_a_normal(monkeypatch):
    from_nothing(monkeypatch)
    mean, covariance = [3.0, -1.0, 0.0], [[4.0, 1.5, 0.0], [1.5, 1.0, -0.5], [0.0, -0.5, 1.0]]
    X = np.random.default_rng(0).multivariate_normal(mean, covariance, 3000)
    generator = TabularGAN((), n_latents=3, pac=1, lr=5e-3, max_epochs=60, random_state=0)
    # A linear critic sees no covariances.
    monkeypatch.setattr(AdversarialPair, "__init__", with_deep_critic(AdversarialPair.__init__))
    drawn = generator.fit(X).sample(20_000, random_state=0)
    assert np.allclose(drawn.mean(axis=0), mean, atol=0.3)
    assert np.allclose(np.corrcoef(drawn.T), np.corrcoef(X.T), atol=0.12)


def with_deep_critic(init):
    def made(module, *args):
        init(module, *args)
        layer = torch.nn.Linear(module.pac * module._n_seen, 64)
        module.critic = torch.nn.Sequential(layer, torch.nn.LeakyReLU(0.2), torch.nn.Linear(64, 1))

    return made


def test_rare_categories_are_drawn_as_often_as_they_are():
    X = table(2000)
    drawn = TabularGAN(**TRAINED, random_state=0).fit(X).sample(8000, random_state=0)
    for name in ("kind", "few", "flag"):
        shares, found = (of[name].value_counts(normalize=True) for of in (X, drawn))
        assert (found.reindex(shares.index) / shares).between(0.5, 2).all()


def test_categories_go_together():
    """A table of categories alone, of which most rows are equal to others."""
    rng = np.random.default_rng(0)
    first = rng.integers(2, size=1500)
    second, third = (np.where(rng.random(1500) < 0.9, first, 1 - first) for _ in range(2))
    X = pd.DataFrame({"a": first, "b": second, "c": third}).astype("category")
    drawn = TabularGAN(**TRAINED, random_state=0).fit(X).sample(3000, random_state=0).astype(int)
    assert (drawn["a"] == drawn["b"]).mean() == pytest.approx((X["a"] == X["b"]).mean(), abs=0.08)
    assert (drawn["b"] == drawn["c"]).mean() == pytest.approx((X["b"] == X["c"]).mean(), abs=0.08)


def test_a_class_has_its_own_distribution_where_it_is_given():
    iris = load_iris(as_frame=True).frame.astype({"target": "category"})
    generator = TabularGAN(**TRAINED, random_state=0).fit(iris)
    for target, rows in iris.groupby("target", observed=True):
        drawn = generator.sample(500, random_state=0, conditions={"target": target})
        middle = drawn["petal length (cm)"].median()
        assert middle == pytest.approx(rows["petal length (cm)"].median(), abs=0.5)


def test_it_does_not_copy_rows():
    X = table(1600)
    train, other = X[:800], X[800:]
    drawn = TabularGAN(**TRAINED, random_state=0).fit(train).sample(800, random_state=0)
    found = nearest_record_distances(train, drawn, other)
    assert found.closer_to_train < found.expected_share + 0.1
