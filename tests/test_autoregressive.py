"""AutoregressiveDensity: what it learns, of which columns, in which orders, and how it continues."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import integrate, special, stats
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from skorch.callbacks import EarlyStopping

from sklearn_dgm import AutoregressiveDensity
from tests._training.interrupted import interrupt

ONE_ORDER = {"order": "given", "dropout": 0.2}


def quick(**parameters):
    small = {"hidden_layer_sizes": (32,), "max_epochs": 5, "random_state": 0}
    return AutoregressiveDensity(**{**small, **ONE_ORDER, **parameters})


@pytest.fixture(autouse=True)
def _one_thread():
    """Members are trained one after the other, unless a test says otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    x[:, 1] += x[:, 0] ** 2
    return x


@pytest.fixture(autouse=True)
def _ignore_unfinished_training():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The validation likelihood was still rising")
        yield


def mixed_frame(n=400, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"city": rng.choice(["Lima", "Oslo", "Rome"], n, p=[0.2, 0.3, 0.5])})
    frame["count"] = rng.poisson(np.where(frame["city"] == "Rome", 9, 2))
    frame["income"] = rng.integers(10_000, 90_000, n)
    frame["temperature"] = np.where(frame["city"] == "Oslo", 2.0, 20.0) + rng.normal(size=n)
    return frame


def test_learns_a_density_close_to_its_entropy():
    rng = np.random.default_rng(1)

    def draw(n):
        x = rng.normal(size=(n, 2))
        x[:, 1] = np.sin(2 * x[:, 0]) + 0.2 * x[:, 1]
        return x

    entropy = stats.norm.entropy() + stats.norm(scale=0.2).entropy()
    density = AutoregressiveDensity(
        (32, 32), n_orders=2, max_epochs=20, lr=0.01, batch_size=64, random_state=0
    ).fit(draw(1500))
    held_out = draw(5000)
    gap = -density.score(held_out) / len(held_out) - entropy
    assert -0.05 < gap < 0.1


@pytest.mark.parametrize(("load", "n_orders"), [(load_wine, "auto"), (load_breast_cancer, 2)])
def test_beats_kernel_density_by_cross_validation(load, n_orders):
    X = StandardScaler().fit_transform(load().data)
    train, test = X[::2], X[1::2]
    search = GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(-1, 0.5, 10)}).fit(train)
    density = AutoregressiveDensity(n_orders=n_orders, random_state=0).fit(train)
    assert density.score(test) > search.score(test)


@pytest.mark.parametrize("order", ["random", "any"])
def test_two_groups_of_normals_are_known_before_training(order):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8)) + np.where(rng.random((2000, 1)) < 0.5, 1.2, -1.2)
    density = quick(order=order, dropout=0.0, max_epochs=1, lr=1e-6).fit(X[:1000])
    of_groups = [stats.norm(m).logpdf(X[1000:]).sum(axis=1) for m in (1.2, -1.2)]
    expected = special.logsumexp(of_groups, axis=0) - np.log(2)
    assert (expected - density.score_samples(X[1000:])).mean() < 0.15
    gaussian = stats.multivariate_normal(X[:1000].mean(axis=0), np.cov(X[:1000].T))
    assert (expected - gaussian.logpdf(X[1000:])).mean() > 0.3


def two_groups(n=1200, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)) + np.where(rng.random((n, 1)) < 0.5, 1.5, -1.5)


def n_normals(density):
    """How many normals the conditionals of its networks start from, by the columns that their logits follow."""
    members = density.net_.module_.members
    found = []
    for member in members:
        head, _, rows = member.bank.place(int(np.argmax(member.adjacency.sum(axis=0))))
        logits = slice(rows.start + head.n_shared, rows.start + head.n_shared + head.n_components)
        slopes = member.skip.start[
            np.searchsorted(member.bank.linear_rows, range(logits.start, logits.stop))
        ]
        found.append(len(np.unique(slopes.numpy().round(6), axis=0)))
    return found


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_members_start_from_several_normals_whatever_the_threads():
    settings = {"order": "random", "n_orders": 3, "max_epochs": 2}
    before = torch.get_num_threads()
    densities = []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        densities.append(quick(**settings).fit(two_groups()))
    torch.set_num_threads(before)
    assert min(n_normals(densities[0])) > 1
    assert n_normals(quick(**settings, effort="fast").fit(two_groups())) == [1, 1, 1]
    scores = [density.score_samples(two_groups(50, 1)) for density in densities]
    np.testing.assert_array_equal(*scores)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rows_of_no_weight_have_no_say_in_the_start():
    X = np.concatenate([two_groups(1200), 5 + np.zeros((60_000, 6))])
    X = X[np.random.default_rng(0).permutation(len(X))]
    weight = (X[:, 0] != 5).astype(float)
    density = quick(max_epochs=1, batch_size=8192).fit(X, sample_weight=weight)
    assert min(n_normals(density)) > 1


def test_mixed_columns_are_learnt():
    frame = mixed_frame(2000)
    density = AutoregressiveDensity((32, 32), random_state=0, max_epochs=20, **ONE_ORDER).fit(frame)
    scores = density.score_features(frame)
    assert list(scores.columns) == list(frame.columns)
    city = frame["city"].value_counts(normalize=True)
    assert -scores["city"].mean() == pytest.approx(stats.entropy(city), abs=0.02)
    assert -scores["income"].mean() == pytest.approx(np.log(80_000), abs=0.1)
    assert -scores["temperature"].mean() == pytest.approx(stats.norm.entropy(), abs=0.1)
    drawn = density.sample(2000, random_state=0)
    means, expected = drawn.groupby("city")["count"].mean(), frame.groupby("city")["count"].mean()
    assert np.abs(means - expected).max() < 0.6
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


def test_small_tables_of_categories_sum_to_one():
    frame = pd.DataFrame({"a": ["x", "y", "x", "z"] * 10, "b": [True, False, False, True] * 10})
    cells = pd.DataFrame([(a, b) for a in "xyz" for b in (True, False)], columns=["a", "b"])
    assert np.exp(quick().fit(frame).score_samples(cells)).sum() == pytest.approx(1)


def test_unseen_values():
    frame = mixed_frame()
    density = quick().fit(frame)
    row = frame.head(1)
    assert density.score_samples(row.assign(city="Atlantis"))[0] == -np.inf
    assert density.score_samples(row.assign(count=1.5))[0] == -np.inf
    assert np.isfinite(density.score_samples(row.assign(count=1000, temperature=1e6)))[0]


@pytest.mark.parametrize("conditional", ["logistic-mixture", "gaussian-mixture"])
def test_no_value_is_too_large_to_score(conditional):
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [1e-300 * rng.normal(size=90), rng.integers(0, 999, 90), rng.normal(size=90)]
    )
    density = quick(integer_features=[1], conditional=conditional).fit(X)
    far = np.array(
        [[1e300, 0, 0], [0, 1e300, 0], [0, -(2.0**60), 0], [0, 0, 1e308], [-1e-290, 0, 0]]
    )
    assert (density.score_samples(far) < -1e6).all()
    assert not np.isnan(density.score_features(far)).any()


def test_row_sums_of_the_features_are_the_score(X):
    density = quick().fit(X)
    scores = density.score_features(X)
    assert scores.shape == X.shape
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(X))


def test_units_shift_the_score_by_the_jacobian(X):
    density = quick().fit(X)
    scaled = quick().fit(X * [10, 0.01, 3] + [5, 0, -2])
    shift = np.log([10, 0.01, 3]).sum()
    np.testing.assert_allclose(
        scaled.score_samples(X * [10, 0.01, 3] + [5, 0, -2]),
        density.score_samples(X) - shift,
        atol=1e-3,
    )


def test_no_scaler_changes_which_model_wins(X):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick()),
        {"autoregressivedensity__activation": ["relu", "tanh"]},
        cv=2,
    )
    scores = [
        search.set_params(estimator__standardscaler=scaler).fit(X).cv_results_["mean_test_score"]
        for scaler in (StandardScaler(), MinMaxScaler((0, 1e-3)), "passthrough")
    ]
    differences = [score[0] - score[1] for score in scores]
    np.testing.assert_allclose(differences, differences[0], atol=0.5)


@pytest.mark.parametrize("order", ["given", "random", [2, 0, 1]])
def test_order(X, order):
    density = quick(order=order, n_orders=1).fit(X)
    assert sorted(density.order_) == [0, 1, 2]
    if isinstance(order, list):
        assert density.order_.tolist() == order
    # The first column of the order stands alone.
    first = density.order_[0]
    changed = X.copy()
    changed[:, np.delete(np.arange(3), first)] += 1
    np.testing.assert_allclose(
        density.score_features(changed)[:, first], density.score_features(X)[:, first]
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"order": [0, 0, 1]}, "order should be one or more permutations"),
        ({"order": [[0, 1, 2], [0, 1, 1]]}, "order should be one or more permutations"),
        ({"order": [0, 1]}, "order should be one or more permutations"),
        ({"order": "alphabetical"}, "'order' parameter"),
        ({"n_orders": 0}, "'n_orders' parameter"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"handle_unknown": "ignore"}, "'handle_unknown' parameter"),
        ({"column_kinds": {0: "ordinal"}}, "column_kinds says 'ordinal'"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes should be positive"),
        ({"activation": "sinus"}, "'activation' parameter"),
        ({"lr": 0}, "'lr' parameter"),
        ({"device": "quantum"}, "device='quantum' is not available"),
        ({"device": "cuda:99"}, "device='cuda:99' is not available"),
        ({"device": "meta"}, "device='meta' is not available"),
        ({"order": [False, True, True]}, "order should be one or more permutations"),
        ({"callbacks": ["early"]}, "callbacks do not fit a skorch net"),
        ({"callbacks": [EarlyStopping()], "early_stopping": False}, "early_stopping=False keeps"),
        ({"net_params": {"optimiser": None}}, "net_params.*optimiser"),
        ({"net_params": {"callbacks": []}}, "net_params may not hold 'callbacks'"),
        ({"net_params": {"train_split": None}}, "net_params may not hold 'train_split'"),
    ],
)
def test_wrong_parameters(X, parameters, message):
    density = quick(**parameters)
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    assert not hasattr(density, "schema_")


def test_weights_equal_repeats_in_full_batches(X):
    weight = np.random.default_rng(0).integers(0, 4, len(X))
    density = quick(early_stopping=False, batch_size=10_000, dropout=0.0, max_epochs=20)
    weighted = clone(density).fit(X, sample_weight=weight)
    repeated = clone(density).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(
        weighted.score_samples(X), repeated.score_samples(X), atol=2e-3, rtol=1e-3
    )


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_weights_of_any_size(X, size):
    expected = quick().fit(X).score_samples(X)
    scaled = quick().fit(X, sample_weight=np.full(len(X), size)).score_samples(X)
    assert np.abs(scaled - expected).mean() < 0.2
    one = np.ones(len(X))
    one[3] = size
    density = quick().fit(X, sample_weight=one)
    assert np.isfinite(density.score_samples(X)).all()
    assert density.n_iter_ > 0


@pytest.mark.parametrize("value", [1e3, 99_999, -1e9])
def test_values_far_out_do_not_blur_the_others(value):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 2))
    x[:, 1] += x[:, 0]
    clean, coded = x[:500], x[500:].copy()
    is_coded = rng.random(1000) < 0.03
    coded[is_coded, 0] = value
    density = quick(max_epochs=15, lr=0.01).fit(coded)
    entropy = 2 * stats.norm.entropy() - np.log(0.97)
    allowed = 0.5 if abs(value) < 1e6 else 2.5  # where single precision begins to show
    assert -density.score(clean) / 500 < entropy + allowed
    assert density.score_samples(coded[is_coded]).min() > -50
    drawn = density.sample(2000, random_state=0)[:, 0]
    assert np.mean(np.abs(drawn) > 100) == pytest.approx(0.03, abs=0.02)


def test_weights_equal_repeats_on_held_out_rows():
    rng = np.random.default_rng(0)

    def draw(n):
        x = rng.normal(size=(n, 2))
        x[:, 1] += np.sin(2 * x[:, 0])
        return x

    X, held_out = draw(1000), draw(2000)
    # Weights that shift the distribution: a fit that ignores them is worse.
    weight = np.where(X[:, 0] > 0, 5, 1)
    held_out = held_out[rng.random(2000) < np.where(held_out[:, 0] > 0, 1, 0.2)]
    density = quick(max_epochs=15, lr=0.01)
    weighted = density.fit(X, sample_weight=weight).score(held_out) / len(held_out)
    repeated = density.fit(np.repeat(X, weight, axis=0)).score(held_out) / len(held_out)
    ignored = density.fit(X).score(held_out) / len(held_out)
    assert weighted == pytest.approx(repeated, abs=0.05)
    assert weighted > ignored + 0.1


def test_one_row_is_learnt_in_an_epoch(X):
    # It serves for training and validation, so that whatever monitors the latter works.
    density = quick(callbacks=[EarlyStopping()]).fit(X[:1])
    assert {record["epoch"] for record in density.history_} == {1}


def test_a_number_of_units_means_one_layer(X):
    expected = quick(hidden_layer_sizes=(32,)).fit(X).score_samples(X)
    np.testing.assert_array_equal(quick(hidden_layer_sizes=32).fit(X).score_samples(X), expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_layer_sizes": (8,)},
        {"order": [2, 1, 0]},
        {"n_orders": 3},
        {"integer_features": [0]},
        {"column_kinds": {0: "rounded"}},
        {"handle_unknown": "rare"},
        {"dropout": 0},
    ],
    ids=str,
)
def test_warm_start_refuses_another_network(X, changed):
    density = quick(warm_start=True).fit(X)
    density.set_params(hidden_layer_sizes=[32]).fit(X)  # the same, in a list
    with pytest.raises(ValueError, match=f"{next(iter(changed))}=.*warm_start=False"):
        density.set_params(**changed).fit(X)
    changed = {"warm_start": False, "integer_features": None, "column_kinds": None}
    assert density.set_params(**changed).fit(X).history_[-1]["epoch"] == 5


def test_warm_start_refuses_what_it_cannot_represent():
    frame = mixed_frame()
    density = quick(warm_start=True).fit(frame)
    with pytest.raises(ValueError, match="Row 3 is impossible"):
        density.fit(frame.assign(city=["Rome"] * 3 + ["Atlantis"] + ["Rome"] * 396))


def test_a_column_of_very_many_categories():
    n = 10_000
    x = np.random.default_rng(0).normal(size=n)
    frame = pd.DataFrame({"code": [f"c{k}" for k in range(n)], "x": x})
    density = quick(max_epochs=1, categorical_features=["code"])
    tracemalloc.start()
    density.fit(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * n  # one-hot, even as single bytes
    assert np.isfinite(density.score_samples(frame[:500])).all()
    module = density.net_.module_.members[0]
    n_weights = sum(weights.numel() for weights in module.parameters())
    # An embedding, and a logit for each hidden unit; no weight for two codes.
    assert n_weights < n * (16 + 32 + 2) + 10_000
    alone = density.fit(frame[["code"]][:5000])
    assert np.isfinite(alone.score(frame[["code"]][:500]))


def test_a_pickle_carries_the_weights_once(X):
    density = quick(hidden_layer_sizes=(512, 512)).fit(X)
    n_weights = sum(weights.numel() for weights in density.net_.module_.parameters())
    assert len(pickle.dumps(density)) < 1.2 * 8 * n_weights + n_weights


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_same_seed_same_bits_whatever_the_threads(X, n_threads):
    torch.set_num_threads(n_threads)
    density = several(n_orders=4).fit(X)
    assert torch.get_num_threads() == n_threads
    torch.set_num_threads(1)
    again = several(n_orders=4).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), again.score_samples(X))
    records = [[{**record, "duration": 0} for record in d.history_] for d in (density, again)]
    assert records[0] == records[1]


def test_same_bits_in_a_parallel_grid_search(X):
    grid = {"n_components": [2, 4]}
    results = [
        GridSearchCV(quick(), grid, cv=2, n_jobs=n_jobs).fit(X).cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    ]
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([[1.0]]),
        np.array([[1.0, 2.0]]),
        np.array([[1.0], [2.0]]),
        np.ones((30, 2)),
        np.column_stack([np.arange(30.0), np.full(30, 7.0)]),
        np.tile([[1.0, 2.0], [3.0, 5.0]], (20, 1)),
        np.random.default_rng(0).normal(size=(6, 25)),
        np.random.default_rng(0).normal(size=(40, 2)) * 1e300,
        np.random.default_rng(0).normal(size=(40, 2)) * 1e-300,
        np.array([[0.0], [1e300], [1e-300], [2.0]]),
        np.full((20, 1), 3),
        np.array([["only"]] * 5, dtype=object),
    ],
    ids=lambda rows: f"{rows.dtype}{rows.shape}",
)
def test_degenerate_tables_work(rows):
    density = quick().fit(rows)
    scores = density.score_samples(rows)
    assert not np.isnan(scores).any()
    assert (scores > -np.inf).all()
    drawn = density.sample(4, random_state=0)
    assert drawn.shape == (4, rows.shape[1])
    assert drawn.dtype == rows.dtype


def test_sampling_does_not_run_a_forward_pass_for_each_column():
    X = np.random.default_rng(0).normal(size=(100, 64))
    density = quick(max_epochs=1).fit(X)
    n_units = sum(layer.weight.shape[0] for layer in density.net_.module_.members[0].hidden)
    computed = []
    for layer in density.net_.module_.members[0].hidden:
        layer.register_forward_hook(lambda layer, args, output: computed.append(output.shape[1]))
    density.sample(10, random_state=0)
    assert sum(computed) == n_units


# Several orders


def several(**parameters):
    return quick(**{"order": "random", "n_orders": 3, **parameters})


def members_of(density):
    return density.net_.module_.members


def epochs_of(density, member):
    return [record["epoch"] for record in density.history_ if record["member"] == member]


def test_by_default_there_are_several_shuffled_orders(X):
    small = AutoregressiveDensity((8,), max_epochs=1, random_state=0).fit(X)
    assert small.order_.shape == (4, 3)
    assert len(np.unique(small.order_, axis=0)) > 1
    assert [member.adjacency.sum() for member in members_of(small)] == [3] * 4
    large = AutoregressiveDensity((), max_epochs=1, n_components=1).fit(np.tile(X, (500, 1)))
    assert large.order_.shape == (2, 3)
    single = AutoregressiveDensity((8,), max_epochs=1).fit(X[:, :1])
    assert single.order_.tolist() == [0]


@pytest.mark.parametrize("order", ["random", [[0, 1, 2], [2, 1, 0]]])
def test_each_order_has_its_member(X, order):
    density = several(order=order).fit(X)
    assert len(members_of(density)) == len(density.order_) == (3 if order == "random" else 2)
    for member, own in zip(members_of(density), density.order_, strict=True):
        assert sorted(own) == [0, 1, 2]
        assert member.adjacency[own[0]].tolist() == [j != own[0] for j in range(3)]


def test_the_density_is_the_mean_of_those_of_the_orders(X):
    density = several().fit(X)
    Z, log_det = density.schema_.encode(X)
    with torch.no_grad():
        each = np.array([m.log_prob(torch.from_numpy(Z)).numpy() for m in members_of(density)])
    assert np.ptp(each, axis=0).min() > 0
    expected = special.logsumexp(each, axis=0) - np.log(3) + log_det
    np.testing.assert_allclose(density.score_samples(X), expected)


def test_shares_of_the_columns_sum_to_the_score_of_several_orders(X, monkeypatch):
    density = several().fit(X)
    scores = density.score_features(X)
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(X))
    # They lie between those of the members, but for what the mixture adds.
    member, other, _ = members_of(density)
    shares = member.log_prob_features

    def with_impossible_cells(z):
        found = shares(z).clone()
        found[0, 1] = found[1] = -torch.inf
        return found

    monkeypatch.setattr(member, "log_prob_features", with_impossible_cells)
    scores = density.score_features(X)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(X))
    # What two of three orders say is known to a third of a nat's odds.
    monkeypatch.setattr(other, "log_prob_features", with_impossible_cells)
    assert np.isfinite(density.score_features(X)).all()
    frame = mixed_frame(100)
    unseen = frame.assign(city=["Atlantis"] * 2 + ["Rome"] * 98)
    density = several().fit(frame)
    scores = density.score_features(unseen).to_numpy()
    assert not np.isnan(scores).any()
    np.testing.assert_allclose(scores.sum(axis=1), density.score_samples(unseen))
    assert np.isneginf(scores.sum(axis=1)).tolist() == [True] * 2 + [False] * 98


def weights_of(module):
    return torch.cat([weights.detach().flatten() for weights in module.parameters()])


def test_warm_start_continues_all_members(X):
    density = several(warm_start=True, max_epochs=2, early_stopping=False).fit(X)
    order, before = density.order_, [weights_of(member) for member in members_of(density)]
    density.set_params(max_epochs=3, random_state=1).fit(X)
    np.testing.assert_array_equal(density.order_, order)
    for member, weights in enumerate(before):
        assert epochs_of(density, member) == [1, 2, 3, 4, 5]
        change = (weights_of(members_of(density)[member]) - weights).abs().mean()
        assert 0 < change < 0.5 * weights.abs().mean()


def test_ctrl_c_under_warm_start_keeps_the_orders(X):
    # Nine steps an epoch, 45 a member.
    density = interrupt(several(warm_start=True), X, at=60)
    np.testing.assert_allclose(density.score_features(X).sum(axis=1), density.score_samples(X))
    whole = several().fit(X)
    np.testing.assert_array_equal(density.order_, whole.order_)
    density.fit(X)
    assert [member.adjacency.tolist() for member in members_of(density)] == [
        member.adjacency.tolist() for member in members_of(whole)
    ]


# The choice of dropout


def categories(n=300, seed=0):
    """Any two columns are independent, so that no tree says anything."""
    a, b, other = np.random.default_rng(seed).integers(0, 3, (3, n))
    c = np.where(np.arange(n) % 10 < 8, (a + b) % 3, other)
    return np.column_stack([a, b, c]).astype(str).astype(object)


def test_the_first_order_chooses_the_dropout():
    density = several(dropout="auto", max_epochs=20).fit(categories())
    tried = {0.2: [], 0.5: []}
    for record in density.history_:
        if record["member"] > 0:
            continue
        tried[record["setting"].dropout].append(record["valid_log_likelihood"])
    n_epochs = min(map(len, tried.values()))
    assert density.dropout_ == max(tried, key=lambda dropout: max(tried[dropout][:n_epochs]))
    others = [record for record in density.history_ if record["member"] > 0]
    assert {record["setting"].dropout for record in others} == {density.dropout_}
    for member in members_of(density):
        assert member.dropout == density.dropout_
        assert member.input_dropout == pytest.approx(max(density.dropout_ - 0.3, 0))


def test_one_dropout_is_not_tried(X):
    assert several(dropout=0.4).fit(X).dropout_ == 0.4
    for density, rows in [
        (quick(dropout="auto"), X),
        (quick(dropout="auto", early_stopping=False), categories()),
    ]:
        assert density.fit(rows).dropout_ == 0.2
        assert {record["setting"].dropout for record in density.history_} == {0.2}


# Kinds of columns


@pytest.mark.parametrize("n_orders", [1, 3])
def test_unknown_categories_have_their_share(n_orders):
    X = categories()
    density = several(handle_unknown="rare", n_orders=n_orders).fit(X)
    values = [[*np.unique(x), "new"] for x in X.T]
    cells = np.array([[a, b, c] for a in values[0] for b in values[1] for c in values[2]], object)
    p = np.exp(density.score_samples(cells))
    assert p.sum() == pytest.approx(1)
    for j, column in enumerate(density.schema_.columns_):
        assert column.unknown_share > 0
        assert p[cells[:, j] == "new"].sum() == pytest.approx(column.unknown_share)
    assert "new" not in density.sample(500, random_state=0)
    shares = density.score_features(cells)
    np.testing.assert_allclose(shares.sum(axis=1), density.score_samples(cells))


def test_unknown_categories_are_an_error_if_so_wished():
    X = categories()
    density = quick(handle_unknown="error").fit(X)
    with pytest.raises(ValueError, match="column 1 holds 'new' in row 1"):
        density.score_samples([["0", "0", "0"], ["0", "new", "0"]])


@pytest.mark.parametrize("handle_unknown", ["impossible", "rare"])
def test_warm_start_with_values_beyond_the_fitted_ones(handle_unknown):
    frame = mixed_frame(200)[["city", "count"]]
    frame["count"] -= frame["count"].min() + 1
    density = quick(warm_start=True, handle_unknown=handle_unknown).fit(frame)
    later = frame.assign(count=frame["count"] + np.tile([-40, 40], 100))
    if handle_unknown == "rare":
        later.loc[:9, "city"] = "Atlantis"
    density.fit(later)
    assert density.n_iter_ == 10
    assert np.isfinite(density.score_samples(later)).all()


def repeating_columns(n=600, seed=0):
    """Floats that are rounded, and floats of which some are exactly zero."""
    rng = np.random.default_rng(seed)
    rounded = rng.normal(size=n).round(1)
    mixed = np.where(rng.random(n) < 0.3, 0.0, rng.gamma(3, 20, n))
    return np.column_stack([rounded, mixed])


@pytest.mark.parametrize("n_orders", [1, 2])
def test_rounded_and_mixed_columns_are_distributions(n_orders):
    X = repeating_columns()
    density = several(n_orders=n_orders).fit(X)
    assert density.schema_.kinds_.tolist() == ["rounded", "mixed"]
    grid = np.arange(-300, 301) / 10
    on_grid = [np.column_stack([grid, np.full(601, value)]) for value in (0.0, 33.3)]
    mass, at_a_number = (0.1 * np.exp(density.score_samples(rows)).sum() for rows in on_grid)
    assert mass == pytest.approx(0.3, abs=0.06)
    assert at_a_number == pytest.approx(0.7 * stats.gamma(3, scale=20).pdf(33.3), rel=0.3)
    u = np.linspace(-9, 9, 601)
    numbers = 50 + 30 * np.sinh(u)
    total = sum(
        np.exp(density.score_samples(np.column_stack([np.full(601, cell), numbers])))
        for cell in np.arange(-60, 61) / 10
    )
    rest = 0.1 * integrate.simpson(total * 30 * np.cosh(u), x=u)
    assert mass + rest == pytest.approx(1, abs=0.01)
    drawn = density.sample(1000, random_state=0)
    assert np.mean(drawn[:, 1] == 0) == pytest.approx(mass, abs=0.06)
    assert set(drawn[:, 0]) <= set(grid)


def test_the_record_of_mixed_columns_is_in_the_units_of_the_rows():
    X = repeating_columns()
    density = quick(max_epochs=10).fit(X)
    record = density.history_[-1]["train_log_likelihood"]
    assert record == pytest.approx(density.score(X) / len(X), abs=0.3)


def test_kinds_can_be_overruled():
    X = repeating_columns()
    kinds = {0: "continuous", 1: "continuous"}
    density = quick(column_kinds=kinds).fit(X)
    assert density.schema_.kinds_.tolist() == list(kinds.values())
    # Where nothing is rounded, values between are as likely.
    between = density.score_samples([[0.04, 33.3], [0.0, 33.3]])
    assert between[0] == pytest.approx(between[1], abs=0.5)
    assert between[0] != between[1]
    counts = np.random.default_rng(0).poisson(3, (300, 2)).astype(float)
    for kind, n_possible in [("integer", 1), ("categorical", 1), ("continuous", 2)]:
        density = quick(column_kinds={0: kind, 1: "integer"}).fit(counts)
        assert density.schema_.kinds_.tolist() == [kind, "integer"]
        assert np.isfinite(density.score_samples([[2, 2], [2.5, 2]])).sum() == n_possible
