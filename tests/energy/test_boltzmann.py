"""The restricted Boltzmann machine: scores, columns of all kinds, missing cells, and training."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logsumexp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline

from sklearn_dgm import RestrictedBoltzmannDensity
from sklearn_dgm.energy._contrastive import ContrastiveDivergence
from sklearn_dgm.energy._machine import BoltzmannMachine, binary_states
from sklearn_dgm.energy._marginals import hidden_means, log_marginals
from tests.energy.machines import mixed_table, random_machine, units_of

EVERY = np.array(list(itertools.product([0.0, 1.0], repeat=5)))


def binary_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.random((n, 5)) < [0.2, 0.4, 0.5, 0.6, 0.3]).astype(float)
    X[:, 1] = np.where(rng.random(n) < 0.9, X[:, 0], X[:, 1])
    return X


@pytest.fixture(scope="module")
def density():
    return RestrictedBoltzmannDensity(4, max_iter=50, random_state=0).fit(binary_rows())


def test_binary_matrix_is_taken_as_one(density):
    assert density.components_.shape == (4, 5)
    assert np.exp(density.score_samples(EVERY)).sum() == pytest.approx(1)
    assert density.score_samples([[0.0, 1.0, 0.5, 0.0, 0.0]])[0] != -np.inf  # of the nearest cell
    assert density.score_samples([[0.0, 1.0, 2.0, 0.0, 0.0]])[0] == -np.inf
    assert set(np.unique(density.sample(50, random_state=0))) == {0.0, 1.0}
    assert (density.score_kind_, density.log_partition_std_error_) == ("exact", 0.0)
    assert density.effective_sample_size_ == np.inf
    np.testing.assert_allclose(
        density.free_energy(EVERY), -density.score_samples(EVERY) - density.log_partition_
    )


def test_score_is_that_of_the_public_parameters(density):
    h = binary_states(np.arange(16), 4)
    log_p = logsumexp(
        (EVERY @ density.intercept_visible_)[:, None]
        + h @ density.intercept_hidden_
        + EVERY @ density.components_.T @ h.T,
        axis=1,
    )
    np.testing.assert_allclose(density.score_samples(EVERY), log_p - logsumexp(log_p), atol=1e-10)


def test_without_weights_it_is_a_product_of_bernoullis():
    X = binary_rows()
    density = RestrictedBoltzmannDensity(3, learning_rate=1e-12, max_iter=1, random_state=0).fit(X)
    p = X.mean(axis=0)
    expected = stats.bernoulli(p).logpmf(EVERY).sum(axis=1)
    np.testing.assert_allclose(density.score_samples(EVERY), expected, atol=0.01)


def test_transform_and_pseudo_likelihood_are_those_of_bernoulli_rbm(density):
    X = binary_rows()
    peer = BernoulliRBM(4, n_iter=1, random_state=0).fit(X)
    peer.components_ = np.ascontiguousarray(density.components_)
    peer.intercept_visible_ = density.intercept_visible_
    peer.intercept_hidden_ = density.intercept_hidden_
    np.testing.assert_allclose(density.transform(X), peer.transform(X), atol=1e-12)
    assert list(density.get_feature_names_out()) == [
        f"restrictedboltzmanndensity{k}" for k in range(4)
    ]
    # That of scikit-learn takes one column of each row, at random.
    many = np.tile(X, (20, 1))
    assert density.pseudo_log_likelihood(X).mean() == pytest.approx(
        peer.score_samples(many).mean(), abs=0.1
    )


def test_it_stands_in_for_bernoulli_rbm_in_a_pipeline():
    X = binary_rows()
    model = make_pipeline(
        RestrictedBoltzmannDensity(n_components=8, learning_rate=0.5, batch_size=10, max_iter=20),
        LogisticRegression(),
    )
    assert model.fit(X[:, :4], X[:, 1]).score(X[:, :4], X[:, 1]) > 0.9


def test_pseudo_likelihood_is_the_sum_of_conditionals():
    X = mixed_table()[:, :2]
    density = RestrictedBoltzmannDensity(3, max_iter=20, random_state=0).fit(X)
    rows = X[:6]
    expected = np.zeros(6)
    for j, values in enumerate([[False, True], ["red", "green", "blue"]]):
        scores = []
        for value in values:
            changed = rows.copy()
            changed[:, j] = value
            scores.append(density.score_samples(changed))
        expected += density.score_samples(rows) - logsumexp(scores, axis=0)
    np.testing.assert_allclose(density.pseudo_log_likelihood(rows), expected, atol=1e-10)
    with pytest.raises(ValueError, match="column 2 has numbers"):
        RestrictedBoltzmannDensity(3, max_iter=1).fit(mixed_table()).pseudo_log_likelihood(
            mixed_table()
        )


def test_numbers_are_a_mixture_of_normals():
    rng = np.random.default_rng(0)
    X = rng.normal([5, -100], [2, 30], (400, 2))
    X[:, 1] += 20 * (X[:, 0] > 5)
    density = RestrictedBoltzmannDensity(4, max_iter=100, random_state=0).fit(X)
    h = binary_states(np.arange(16), 4)
    std, machine_scale = density.visible_std_, X.std(axis=0)
    # Natural parameters are those of standardised values.
    natural = h @ density.components_ + density.intercept_visible_
    variance = (std / machine_scale) ** 2
    means = X.mean(axis=0) + natural * variance * machine_scale
    log_weights = h @ density.intercept_hidden_ + (natural**2 * variance / 2).sum(axis=1)
    log_weights -= logsumexp(log_weights)
    expected = logsumexp(
        [
            log_weight + stats.norm(mean, std).logpdf(X).sum(axis=1)
            for log_weight, mean in zip(log_weights, means, strict=True)
        ],
        axis=0,
    )
    np.testing.assert_allclose(density.score_samples(X), expected, atol=1e-10)
    assert density.score(X) / 400 > stats.norm(X.mean(0), X.std(0)).logpdf(X).sum(1).mean() + 0.02


def test_whole_numbers_of_many_values_have_probabilities():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (500, 1)) * 40 + rng.poisson(20, (500, 1))
    density = RestrictedBoltzmannDensity(3, max_iter=100, random_state=0).fit(X)
    reach = np.arange(-300, 400)[:, None]
    p = np.exp(density.score_samples(reach))
    assert p.sum() == pytest.approx(1, abs=1e-8)
    drawn = density.sample(20_000, random_state=0)[:, 0]
    assert drawn.dtype == X.dtype
    assert stats.ks_2samp(drawn, rng.choice(reach[:, 0], 20_000, p=p / p.sum())).pvalue > 1e-3
    assert (density.visible_std_ >= 1).all()


def test_rounded_numbers_have_densities_by_cells():
    X = np.random.default_rng(0).normal(5, 3, (500, 1)).round(1)
    density = RestrictedBoltzmannDensity(3, max_iter=50, random_state=0).fit(X)
    cells = np.arange(-400, 500)[:, None] / 10
    assert (np.exp(density.score_samples(cells)) * 0.1).sum() == pytest.approx(1, abs=1e-8)
    drawn = density.sample(100, random_state=0)
    np.testing.assert_array_equal(drawn, drawn.round(1))


def test_atoms_have_probabilities():
    X = mixed_table(1000)[:, [4]].astype(float)
    density = RestrictedBoltzmannDensity(3, max_iter=50, random_state=0).fit(X)
    assert density.schema_.columns_[0].kind == "mixed"
    x = np.linspace(-20, 20, 4001)[:, None] + 1e-3
    mass = np.exp(density.score_samples([[0.0]]))[0]
    assert mass == pytest.approx(np.mean(X == 0), abs=0.03)
    assert np.exp(density.score_samples(x)).sum() * 0.01 + mass == pytest.approx(1, abs=1e-6)
    assert np.mean(density.sample(2000, random_state=0) == 0) == pytest.approx(mass, abs=0.03)


def test_all_kinds_beside_each_other():
    frame = pd.DataFrame(mixed_table(), columns=["flag", "color", "number", "count", "rain"])
    frame = frame.infer_objects()
    density = RestrictedBoltzmannDensity(6, max_iter=100, random_state=0).fit(frame)
    # A flag, three colors, a number, counts, and an atom, a gate and what is behind it.
    assert density.components_.shape == (6, 1 + 3 + 1 + 1 + 3)
    drawn = density.sample(200, random_state=0)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert drawn.groupby("flag")["number"].mean().diff().iloc[-1] > 0.5
    stepped = density.gibbs(frame, random_state=0)
    pd.testing.assert_series_equal(stepped.dtypes, frame.dtypes)
    unseen = frame.iloc[:2].assign(color=["violet", "red"])
    assert np.isneginf(density.score_samples(unseen)).tolist() == [True, False]


def test_missing_cells_are_summed_over():
    X = mixed_table()[:, [0, 1, 3, 4]]
    units, Z = units_of(X)
    rows, missing = Z[:1].copy(), np.zeros((1, 4), dtype=bool)
    rows[0, :2] = np.nan
    for n_hidden in (3, 13):  # by states of the hidden units, or by outcomes of the missing cells
        machine = random_machine(units, n_hidden, scale=0.4)
        F, missing, _ = units.encode(rows)
        filled = np.repeat(rows, 6, axis=0)
        filled[:, :2] = list(itertools.product(range(2), range(3)))
        log_p = machine.log_unnormalised(units.encode(filled)[0])
        np.testing.assert_allclose(log_marginals(machine, F, missing), logsumexp(log_p), atol=1e-9)
        p = np.exp(log_p - logsumexp(log_p))
        expected = p @ expit(machine.hidden_input(units.encode(filled)[0]))
        np.testing.assert_allclose(hidden_means(machine, F, missing)[0], expected, atol=1e-9)


def test_missing_numbers_are_integrated_out():
    X = np.random.default_rng(0).normal(size=(200, 2)) @ [[1, 0.8], [0, 0.6]]
    density = RestrictedBoltzmannDensity(4, max_iter=30, random_state=0).fit(X)
    x = np.linspace(-12, 12, 2001)
    points = np.column_stack([np.full(len(x), 0.7), x])
    total = logsumexp(density.score_samples(points)) + np.log(x[1] - x[0])
    assert density.score_samples([[0.7, np.nan]])[0] == pytest.approx(total, abs=1e-8)


def test_missing_cells_that_cannot_be_summed_over_are_named():
    frame = pd.DataFrame(mixed_table()[:, [0, 2]], columns=["flag", "number"]).infer_objects()
    density = RestrictedBoltzmannDensity(13, max_iter=1, random_state=0).fit(frame)
    with pytest.raises(
        ValueError, match="Row 0: a missing number in column 'number'.* 12 of.* DensityImputer"
    ):
        density.score_samples(frame.assign(number=np.nan))
    binary = RestrictedBoltzmannDensity(13, max_iter=1, random_state=0).fit(
        np.random.default_rng(0).integers(0, 2, (60, 9)).astype(float)
    )
    rows = np.zeros((1, 9))
    rows[0, :8] = np.nan
    assert np.isfinite(binary.score_samples(rows)).all()
    with pytest.raises(ValueError, match="column 0, column 1.* 512 joint outcomes"):
        binary.score_samples(np.full((1, 9), np.nan))
    with pytest.raises(ValueError, match="gibbs needs complete rows, but a cell of column 0"):
        binary.gibbs(rows)
    with pytest.raises(ValueError, match="a cell of column 0 is missing or unknown"):
        binary.gibbs(np.full((1, 9), 2.0))
    shared = pd.DataFrame(np.random.default_rng(0).integers(0, 2, (60, 9)).astype(str))
    rare = RestrictedBoltzmannDensity(13, max_iter=1, handle_unknown="rare").fit(shared)
    unknown = pd.concat([shared.iloc[:3], shared.iloc[:1].replace({"0": "x", "1": "x"})])
    with pytest.raises(ValueError, match="Row 3: missing or unknown cells in .* 512 joint"):
        rare.score_samples(unknown)


def test_learning_from_rows_with_holes():
    X = binary_rows(2000)
    holes = X.copy()
    holes[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    whole, density = (
        RestrictedBoltzmannDensity(4, max_iter=100, random_state=0).fit(of) for of in (X, holes)
    )
    gap = np.mean(whole.score_samples(X) - density.score_samples(X))
    assert gap < 0.01
    independent = stats.bernoulli(X.mean(axis=0)).logpmf(X).sum(axis=1).mean()
    assert density.score(X) / len(X) > independent + 0.2


def test_rare_values_of_constant_columns():
    X = binary_rows()
    X[:, 2] = 0.0
    row = [[0.0, 0.0, 1.0, 0.0, 0.0]]
    assert RestrictedBoltzmannDensity(2, max_iter=1).fit(X).score_samples(row)[0] == -np.inf
    density = RestrictedBoltzmannDensity(2, max_iter=1, handle_unknown="rare").fit(X)
    p = np.exp(density.score_samples([*row, np.zeros(5)]))
    share = density.schema_.columns_[2].unknown_share
    np.testing.assert_allclose(p / p.sum(), [share, 1 - share])


def test_partial_fit_goes_on():
    X = binary_rows(2000)
    density = RestrictedBoltzmannDensity(4, learning_rate=1.0, random_state=0)
    scores = [density.partial_fit(X).score(X) / len(X) for _ in range(25)]
    assert density.n_iter_ == 25
    assert scores[-1] > scores[0] + 0.1
    assert np.exp(density.score_samples(EVERY)).sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="4 features"):
        density.partial_fit(X[:, :4])
    assert density.score(X) / len(X) == scores[-1]


def test_every_step_changes_the_score():
    X = binary_rows(100)
    density = RestrictedBoltzmannDensity(4, learning_rate=1.0, random_state=0)
    scores = [density.partial_fit(X).score(X) for _ in range(12)]
    assert len(set(scores)) == 12
    fits = [clone(density).set_params(max_iter=n).fit(X).score(X) for n in (1, 5, 9, 10)]
    assert len(set(fits)) == 4


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0], [False, True, 2], ["x", "y", "z"]])
def test_nothing_is_learnt_later_from_values_without_a_unit(values):
    known = pd.DataFrame(itertools.product(values[:2], repeat=2), columns=["a", "b"])
    density = RestrictedBoltzmannDensity(2, learning_rate=1.0, random_state=0)
    density.partial_fit(pd.concat([known] * 100))
    later = pd.DataFrame({"a": values[2:] * 400, "b": values[1:2] * 400})
    assert np.isneginf(density.score_samples(later)).all()
    for _ in range(10):
        density.partial_fit(later)
    p = np.exp(density.score_samples(known)).reshape(2, 2)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p.sum(axis=1), 0.5, atol=0.15)  # as far as the first rows
    assert p[:, 1].sum() > 0.8  # the other cells of these rows are learnt from


def test_counts_beyond_two_values_are_possible_where_the_schema_knows_of_them():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"count": rng.poisson(0.2, 300), "number": rng.normal(size=300)})
    two = frame[frame["count"] < 2]
    density = RestrictedBoltzmannDensity(4, max_iter=5, random_state=0)
    density.fit(two, schema=density.learn_schema(frame))
    assert np.isfinite(density.score_samples(frame)).all()
    assert density.score(two) / len(two) > density.score(frame) / len(frame)
    possible = density.fit(two).score_samples(frame) > -np.inf
    np.testing.assert_array_equal(possible, frame["count"] < 2)
    # Rounded numbers, too, where the schema knows of more than two.
    X = frame.to_numpy()[:, [0, 0]] + [0.0, 0.0]
    density.fit(X[(X < 2).all(axis=1)], schema=density.learn_schema(X))
    assert np.isfinite(density.score_samples(X)).all()


def test_one_huge_number_leaves_the_others_possible():
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[0, 0] = 1e300
    density = RestrictedBoltzmannDensity(2, max_iter=3, random_state=0).fit(X)
    assert np.isfinite(density.score_samples(X)).all()


def test_free_energy_knows_no_log_z(density):
    free = density.free_energy(EVERY)
    h = binary_states(np.arange(16), 4)
    log_joint = (
        (EVERY @ density.intercept_visible_)[:, None]
        + h @ density.intercept_hidden_
        + EVERY @ density.components_.T @ h.T
    )
    np.testing.assert_allclose(free, -logsumexp(log_joint, axis=1), atol=1e-10)
    other = clone(density).fit(binary_rows())
    other.log_partition_ = np.nan
    np.testing.assert_array_equal(other.free_energy(EVERY), free)


def test_too_many_states_are_refused_before_training(monkeypatch):
    monkeypatch.setattr(ContrastiveDivergence, "step", None)
    X = np.random.default_rng(0).integers(0, 2, (60, 30)).astype(bool)
    density = RestrictedBoltzmannDensity(40, log_partition="exact")
    with pytest.raises(ValueError, match=r"2\*\*40 of the hidden ones and 2\*\*30 of the visible"):
        density.fit(X)


def test_blocks_of_rows_change_nothing(monkeypatch):
    X = mixed_table(60)
    density = RestrictedBoltzmannDensity(5, max_iter=3, random_state=0).fit(X)
    expected = density.score_samples(X), density.transform(X)
    assert density.sample(7, random_state=0).shape == (7, 5)
    monkeypatch.setattr("sklearn_dgm.energy._machine.NUMBERS_AT_ONCE", 40)
    for got, of in zip((density.score_samples(X), density.transform(X)), expected, strict=True):
        np.testing.assert_allclose(got, of, atol=1e-12)
    sizes, draw = [], BoltzmannMachine.draw_visible
    monkeypatch.setattr(
        BoltzmannMachine,
        "draw_visible",
        lambda self, H, *args, **kwargs: sizes.append(len(H)) or draw(self, H, *args, **kwargs),
    )
    drawn = density.sample(17, random_state=0)
    assert sum(sizes) == 17
    assert max(sizes) * max(density._machine.weights.shape) <= 40
    assert np.isfinite(density.score_samples(drawn)).all()


def test_annealed_machines_of_many_units_sum_over_missing_cells():
    X = mixed_table()[:, :2]
    density = RestrictedBoltzmannDensity(
        13, max_iter=20, log_partition="ais", n_temperatures=50, random_state=0
    ).fit(X)
    for value in (True, False):
        every = np.array([[value, color] for color in ("red", "green", "blue")], dtype=object)
        total = logsumexp(density.score_samples(every))
        missing = np.array([[value, np.nan]], dtype=object)
        assert density.score_samples(missing)[0] == pytest.approx(total, abs=1e-9)


def test_estimates_tell_their_error(density):
    X = binary_rows()
    annealed = clone(density).set_params(log_partition="ais", n_temperatures=200).fit(X)
    assert annealed.score_kind_ == "estimate"
    log_density, std = annealed.score_samples(X, return_std=True)
    np.testing.assert_array_equal(std, annealed.log_partition_std_error_)
    impossible = annealed.score_samples([[0.0, 1.0, 2.0, 0.0, 0.0]], return_std=True)
    assert [of[0] for of in impossible] == [-np.inf, 0.0]
    assert 0 < std[0] < 0.2
    assert 20 < annealed.effective_sample_size_ <= 200
    np.testing.assert_allclose(log_density, density.score_samples(X), atol=4 * std[0])
    with pytest.raises(ValueError, match=r"log_partition='exact' needs at most.* 2\*\*30"):
        RestrictedBoltzmannDensity(30, log_partition="exact", max_iter=1).fit(
            np.random.default_rng(0).normal(size=(60, 2))
        )


def test_interrupts_undo_the_fit(density, monkeypatch):
    X, before = binary_rows(), density.score_samples(EVERY)
    interrupted = clone(density).fit(X)
    step = ContrastiveDivergence.step

    def interrupt(self, *args):
        if self.n_steps == 7:
            raise KeyboardInterrupt
        step(self, *args)

    monkeypatch.setattr(ContrastiveDivergence, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X[:200])
    np.testing.assert_array_equal(interrupted.score_samples(EVERY), before)


@pytest.mark.parametrize("learning_rate", [3, 5, 100, 1e200])
def test_numbers_that_diverge_are_a_warning_and_leave_what_was_before(learning_rate):
    X = np.random.default_rng(0).normal(size=(400, 2))
    density = RestrictedBoltzmannDensity(
        4, learning_rate=learning_rate, max_iter=20, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="diverged in pass .*lower learning_rate"):
        density.fit(X)
    x = np.linspace(-40, 40, 401)
    points = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    mass = np.exp(density.score_samples(points)).sum() * (x[1] - x[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-6)
    independent = stats.norm(X.mean(0), X.std(0)).logpdf(X).sum()
    assert density.score(X) == pytest.approx(independent, rel=0.02)
    assert density.n_iter_ == len(density.free_energy_gaps_) < 20


def test_divergence_in_the_first_pass_leaves_independent_columns():
    X = binary_rows()
    with pytest.warns(ConvergenceWarning, match="diverged in pass 1, and those after pass 0"):
        density = RestrictedBoltzmannDensity(
            4, learning_rate=1e200, max_iter=20, random_state=0
        ).fit(X)
    assert density.n_iter_ == 0
    expected = stats.bernoulli(X.mean(axis=0)).logpmf(EVERY).sum(axis=1)
    np.testing.assert_allclose(density.score_samples(EVERY), expected, atol=0.05)


def test_verbose_tells_of_each_pass(capsys):
    RestrictedBoltzmannDensity(2, max_iter=2, verbose=1, random_state=0).fit(binary_rows())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("[RestrictedBoltzmannDensity] Iteration 2, free energy gap = ")
