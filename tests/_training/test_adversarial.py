"""A net with two optimisers and no likelihood goes through the same trainer: a generator against a critic."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import BaseEstimator
from torch import nn

from sklearn_dgm._callbacks import CallbackSupportMixin
from sklearn_dgm._training.adversarial import AdversarialNet, DrawnRows
from sklearn_dgm._training.base import NeuralMixin
from sklearn_dgm._training.net import Diverged, RowNet, WeightAverage
from sklearn_dgm._training.objective import Objective
from sklearn_dgm._validation import check_generator, restored_on_failure
from sklearn_dgm.nn.randomness import current_generator, drawing_from
from tests._training.interrupted import interrupt

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N_NOISE = 512


class Normal(nn.Module):
    """A generator of two parameters."""

    def __init__(self):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, noise):
        return self.mean + self.log_scale.exp() * noise


class Critic(nn.Module):
    """A critic of two parameters, which sees the first two moments."""

    def __init__(self):
        super().__init__()
        self.slopes = nn.Parameter(torch.zeros(2))

    def forward(self, z):
        return torch.cat([z, z.square() / 4], dim=1) @ self.slopes


class Pair(nn.Module):
    """A generator and its critic, which train and are kept together."""

    width = 1

    def __init__(self):
        super().__init__()
        self.generator, self.critic = Normal(), Critic()

    def sample(self, n_samples, generator):
        return self.generator(torch.randn(n_samples, 1, generator=generator).double()).detach()


def energy_distance(x, y):
    """Energy distance between the rows of two samples."""
    between, within = torch.cdist(x, y).mean(), torch.cdist(x, x).mean() + torch.cdist(y, y).mean()
    return 2 * between - within


class ToyNet(RowNet):
    """The critic tells rows from draws and the generator follows it, each with an optimiser of its own."""

    def initialize_optimizer(self, triggered_directly=None):
        parts = {"optimizer": self.module_.generator, "critic_optimizer": self.module_.critic}
        (args, kwargs), (critic_args, critic_kwargs) = (
            self.get_params_for_optimizer(name, part.named_parameters())
            for name, part in parts.items()
        )
        self.optimizer_ = self.optimizer(*args, **kwargs)
        critic_kwargs |= {"lr": 0.5, "momentum": 0.1}
        self.critic_optimizer_ = torch.optim.SGD(*critic_args, **critic_kwargs)
        return self

    def train_step(self, batch, **fit_params):
        z, weight = batch
        generator, critic = self.module_.generator, self.module_.critic
        drawn = generator(torch.randn(z.shape, generator=current_generator()))
        gap = critic(drawn.detach()).mean() - (critic(z) * weight).mean()
        self.critic_optimizer_.zero_grad()
        (gap + critic.slopes.square().sum() / 2).backward()
        self.critic_optimizer_.step()
        self.optimizer_.zero_grad()
        (-critic(drawn).mean()).backward()
        self.optimizer_.step()
        self.average.update(self.module_)
        return {"loss": energy_distance(z, drawn.detach()), "y_pred": drawn}

    def get_iterator(self, dataset, training=False):
        """A statistic is one of all validation rows."""
        return super().get_iterator(dataset, training) if training else [dataset[:]]

    def validation_step(self, batch, **fit_params):
        noise = torch.tensor(stats.norm.ppf((np.arange(N_NOISE) + 0.5) / N_NOISE)[:, None])
        with torch.no_grad():
            drawn = self.average.module.generator(noise.float())
            return {"loss": energy_distance(batch[0], drawn), "y_pred": drawn}


class Generator(CallbackSupportMixin, BaseEstimator):
    """The least that a base class of the mixin has; it draws and does not score."""

    def _fit_or_restore(self, X, sample_weight, schema, y=None):
        with restored_on_failure(self):
            self._fit(*self._start_fit(X, sample_weight, schema=schema))
        return self

    def _start_fit(self, X, sample_weight, *, reset, schema):
        return np.asarray(X, dtype=float), sample_weight

    def sample(self, n_samples, random_state=None):
        return self._draw(n_samples, check_generator(random_state))


class ToyGAN(NeuralMixin, Generator):
    """Normal rows by a generator against a critic."""

    _net_class = ToyNet

    def __init__(self, *, max_epochs=300, lr=0.02, n_iter_no_change=25, warm_start=False,
                 validation_fraction=0.3, net_params=None, random_state=0):  # fmt: skip
        super().__init__(
            max_epochs=max_epochs,
            lr=lr,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            validation_fraction=validation_fraction,
            net_params=net_params,
            random_state=random_state,
        )

    def _builder(self, splits):
        return lambda member, setting: Pair()

    def _objective(self):
        return Objective("energy_distance")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(1.5, 2, (1000, 1))


@pytest.fixture(scope="module")
def fitted(X):
    return ToyGAN().fit(X)


def test_the_generator_learns_from_the_critic(X, fitted):
    drawn = fitted.sample(4000, random_state=1)
    assert drawn.mean() == pytest.approx(X.mean(), abs=0.3)
    assert drawn.std() == pytest.approx(X.std(), rel=0.15)
    assert fitted.net_.module_.critic.slopes.abs().sum() > 0
    assert not hasattr(fitted, "score_samples")


def test_a_statistic_of_held_out_rows_stops_it(fitted):
    assert fitted.objective_.name == "energy_distance"
    found = [record["valid_energy_distance"] for record in fitted.history_]
    assert fitted.n_iter_ < 300
    assert found[-26] == pytest.approx(min(found), abs=1e-3)
    assert found[-26] < found[0] / 4
    assert fitted.history_[-26]["best"]
    assert not any(record["best"] for record in fitted.history_[-25:])


def test_the_best_weights_of_both_are_kept(X, fitted):
    noise = torch.tensor(stats.norm.ppf((np.arange(N_NOISE) + 0.5) / N_NOISE)[:, None])
    splits = fitted._split(X, np.ones(len(X)), 0.3, fitted._split_seed, torch.device("cpu"))
    valid = splits(0)[1].z.double()
    with torch.no_grad():
        found = energy_distance(valid, fitted.net_.module_.generator(noise)).item()
    assert found == pytest.approx(fitted.history_[-26]["valid_energy_distance"], rel=1e-3)


def test_the_same_seed_gives_the_same_bits(X, fitted):
    again = ToyGAN().fit(X)
    assert np.array_equal(again.sample(20, 1), fitted.sample(20, 1))
    assert not np.array_equal(ToyGAN(random_state=1).fit(X).sample(20, 1), fitted.sample(20, 1))


def test_nothing_of_the_training_is_kept(X, fitted):
    for optimizer in (fitted.net_.optimizer_, fitted.net_.critic_optimizer_):
        assert not optimizer.state
    copied = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copied.sample(20, 1), fitted.sample(20, 1))
    assert len(pickle.dumps(fitted)) < 60_000 + 500 * fitted.n_iter_


def test_a_warm_start_goes_on_with_both(X):
    gan = ToyGAN(max_epochs=4, warm_start=True).fit(X)
    slopes = gan.net_.module_.critic.slopes.detach().clone()
    mean = gan.net_.module_.generator.mean.item()
    gan.fit(X)
    assert [record["epoch"] for record in gan.history_] == list(range(1, 9))
    assert gan.net_.module_.generator.mean > mean > 0
    assert not torch.equal(gan.net_.module_.critic.slopes, slopes)


def test_ctrl_c_keeps_what_was_reached(X):
    gan = ToyGAN(max_epochs=20, warm_start=True)
    interrupt(gan, X, at=70)  # 21 steps an epoch
    assert gan.n_iter_ == 3
    assert not hasattr(interrupt(ToyGAN(max_epochs=20), X, at=70), "net_")


# The package's own net and rows.


def drawn_rows(n_draws=40_000, conditions=(0, 2)):
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 500, p=[0.8, 0.15, 0.05])
    z = np.column_stack([codes, np.arange(500), rng.integers(2, size=500)]).astype(float)
    weight = rng.integers(1, 4, 500).astype(float)
    with drawing_from(torch.Generator().manual_seed(0)):
        rows, of_one = DrawnRows(torch.from_numpy(z), weight, conditions, n_draws)[:]
    assert torch.equal(of_one, torch.ones(n_draws))
    return z, weight, rows.numpy()


def test_rows_are_drawn_by_the_logarithms_of_the_frequencies_of_their_categories():
    z, weight, rows = drawn_rows()
    assert np.array_equal(rows[:, :3], z[rows[:, 1].astype(int)])
    for which, j in enumerate((0, 2)):
        given = rows[rows[:, 3] == which]
        assert len(given) / len(rows) == pytest.approx(0.5, abs=0.01)
        log_frequency = np.log1p(np.bincount(z[:, j].astype(int), weight))
        expected = log_frequency / log_frequency.sum() * len(given)
        assert stats.chisquare(np.bincount(given[:, j].astype(int)), expected).pvalue > 0.001
        # Within a category, by the weights.
        for code in np.unique(z[:, j]):
            own = z[:, j] == code
            found = np.bincount(given[given[:, j] == code, 1].astype(int), minlength=500)[own]
            expected = weight[own] / weight[own].sum() * found.sum()
            assert stats.chisquare(found, expected).pvalue > 0.001


def test_without_categories_rows_are_drawn_by_their_weights():
    _, weight, rows = drawn_rows(conditions=())
    assert set(rows[:, 3]) == {0.0}
    found = np.bincount(rows[:, 1].astype(int), minlength=500)
    assert stats.chisquare(found, weight / weight.sum() * len(rows)).pvalue > 0.001


class Counted(Pair):
    """A pair with the losses that the net asks for."""

    n_steps, n_critic = 0, 3

    def critic_loss(self, z):
        distance = self.critic(z).mean() - self.critic(self.generator(torch.ones_like(z))).mean()
        return -distance, distance.detach()

    def generator_loss(self, z):
        return -self.critic(self.generator(torch.ones_like(z))).mean()


def test_the_generator_follows_every_few_steps_of_the_critic():
    net = AdversarialNet(Counted(), criterion=nn.Identity, optimizer=torch.optim.AdamW).initialize()
    assert net.optimizer_.param_groups[0]["betas"] == (0.5, 0.9)
    net.average = WeightAverage(net.module_)
    of_critic, of_generator = [], []
    for _ in range(6):
        before = [p.detach().clone() for p in net.module_.parameters()]
        step = net.train_step((torch.full((8, 1), 2.0), torch.ones(8)))
        moved = [
            not torch.equal(a, b) for a, b in zip(before, net.module_.parameters(), strict=True)
        ]
        of_generator.append(any(moved[:2]))
        of_critic.append(moved[2])
    assert of_critic == [True] * 6
    assert of_generator == [False, False, True] * 2
    assert net.average.n_steps == 2
    assert step["loss"] > 0


def test_other_optimisers_have_no_moments():
    net = AdversarialNet(Counted(), criterion=nn.Identity, optimizer=torch.optim.SGD).initialize()
    assert "betas" not in net.generator_optimizer_.param_groups[0]


def test_a_loss_that_is_not_finite_ends_the_training():
    net = AdversarialNet(Counted(), criterion=nn.Identity, optimizer=torch.optim.AdamW).initialize()
    net.average = WeightAverage(net.module_)
    with pytest.raises(Diverged):
        net.train_step((torch.full((8, 1), torch.nan), torch.ones(8)))
