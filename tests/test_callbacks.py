"""Scikit-learn's callbacks reach the densities within other estimators."""

import importlib.util
import pickle
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    DensityCodec,
    DensityImputer,
    EnsembleDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
    HistogramDensity,
    MixtureDensity,
    NaiveBayesClassifier,
    TransformedDensity,
    _callbacks,
)

sklearn_callback = pytest.importorskip("sklearn.callback")


class Listener:
    """Record the tasks of a fit, with the estimator whose they are, and what begins and ends."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.hooks = Counter(), Counter(), []

    def _name(self, context):
        return context.estimator_name, context.task_name

    def setup(self, estimator, context):
        self.hooks.append("setup")

    def on_fit_task_begin(self, estimator, context):
        assert estimator is not None
        self.begun[self._name(context)] += 1

    def on_fit_task_end(self, estimator, context):
        self.ended[self._name(context)] += 1

    def teardown(self, estimator, context):
        self.hooks.append("teardown")


EPOCHS = 2
NETWORK = AutoregressiveDensity(
    (4,), n_orders=1, max_epochs=EPOCHS, early_stopping=False, random_state=0
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = np.repeat([0, 1, 2], [30, 20, 10])
SOME_LABELS = np.where(np.arange(60) % 2, Y, -1)
TWO = [("network", NETWORK), ("normals", GaussianMixture())]

# Estimators, what their fit is given, and how often the network within is fitted.
FITS = {
    "ensemble": (EnsembleDensity(TWO, cv=3, random_state=0), (X,), 3 + 1),
    "equal weights": (EnsembleDensity(TWO, weights="equal"), (X,), 1),
    "transformed": (TransformedDensity(StandardScaler(), NETWORK), (X,), 1),
    "classifier": (GenerativeClassifier(NETWORK), (X, Y), 3),
    "some labels": (GenerativeClassifier(NETWORK, max_iter=1), (X, SOME_LABELS), 6),
    "mixture": (MixtureDensity(2, NETWORK, max_iter=1), (X,), 2 * 2),
    "mixture of what encodes rows": (
        MixtureDensity(2, EnsembleDensity(TWO[:1], weights="equal"), max_iter=1),
        (X,),
        2 * 2,
    ),
    "imputer": (DensityImputer(NETWORK), (X,), 1),
    "codec": (DensityCodec(NETWORK), (X,), 1),
    "nested": (DensityImputer(GridSearchCV(NETWORK, {"lr": [0.01]}, cv=2)), (X,), 2 + 1),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FITS)
def test_callbacks_see_the_fits_within(name):
    if name == "codec":
        pytest.importorskip("constriction")
    estimator, data, n_fits = FITS[name]
    listener = Listener()
    estimator = clone(estimator).set_callbacks(listener).fit(*data)
    assert listener.begun == listener.ended
    assert listener.begun["AutoregressiveDensity", "fit"] == n_fits
    assert listener.begun["AutoregressiveDensity", "epoch"] == n_fits * EPOCHS
    assert listener.begun[type(estimator).__name__, "fit"] >= 1
    assert listener.hooks == ["setup", "teardown"]
    for part in [estimator, *getattr(estimator, "estimators_", [])]:
        assert not {"_callback_fit_ctx", "_parent_callback_ctx"} & set(vars(part))
    for part in getattr(estimator, "estimators_", [getattr(estimator, "estimator_", None)]):
        assert not hasattr(part, "_skl_callbacks")
    assert clone(estimator)._skl_callbacks == [listener]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_see_the_densities_of_new_rows():
    pytest.importorskip("imblearn")
    listener = Listener()
    sampler = GenerativeOverSampler(NETWORK).set_callbacks(listener)
    sampler.fit(X, Y)
    assert listener.begun == {("GenerativeOverSampler", "fit"): 1}
    sampler.fit_resample(X, Y)
    assert listener.begun == listener.ended
    assert listener.begun["AutoregressiveDensity", "epoch"] == 2 * EPOCHS
    assert listener.hooks == ["setup", "teardown"] * 2


def test_callbacks_do_not_change_a_fit():
    ensemble = EnsembleDensity(TWO, cv=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = clone(ensemble).fit(X).score_samples(X)
        told = ensemble.set_callbacks(Listener()).fit(X).score_samples(X)
    np.testing.assert_array_equal(told, alone)


@pytest.mark.parametrize(
    "density", [KernelDensity(), HistogramDensity(), FrozenEstimator(HistogramDensity().fit(X))]
)
def test_a_density_without_parts_is_one_task(density):
    listener = Listener()
    TransformedDensity("passthrough", density).set_callbacks(listener).fit(X)
    assert listener.begun == listener.ended
    assert sum(listener.begun.values()) == 2


@pytest.mark.parametrize("estimator", [HistogramDensity(), NaiveBayesClassifier()])
def test_what_counts_takes_callbacks(estimator):
    listener = Listener()
    estimator.set_callbacks(listener).fit(X, Y)
    assert listener.begun == listener.ended == {(type(estimator).__name__, "fit"): 1}


def test_scores_of_a_fitted_ensemble():
    monitor = sklearn_callback.ScoringMonitor(
        scoring={"mean": lambda e, X, y: e.score_samples(X).mean()}
    )
    ensemble = EnsembleDensity([("normals", GaussianMixture())], weights="equal")
    ensemble.set_callbacks(monitor).fit(X, np.zeros(60))
    scores = [entry["mean"] for entry in monitor.get_logs().data if "mean" in entry]
    assert scores == [pytest.approx(ensemble.score_samples(X).mean())]


def test_a_failed_fit_ends_callbacks_and_leaves_the_estimator():
    listener = Listener()
    density = (
        TransformedDensity(StandardScaler(), HistogramDensity()).set_callbacks(listener).fit(X)
    )
    before = density.score_samples(X)
    with pytest.raises(ValueError, match="infinit"):
        density.fit(np.where(X > 1, np.inf, X))
    assert listener.hooks == ["setup", "teardown"] * 2
    np.testing.assert_array_equal(density.score_samples(X), before)
    assert "_callback_fit_ctx" not in vars(density)


def test_callbacks_belong_to_the_outermost_estimator():
    inner = HistogramDensity().set_callbacks(Listener())
    with pytest.raises(TypeError, match="Register them directly on the meta-estimator"):
        TransformedDensity(StandardScaler(), inner).fit(X)


def test_searches_and_pipelines_hand_them_on():
    listener = Listener()
    density = TransformedDensity(StandardScaler(), HistogramDensity())
    folds = [(np.arange(60), np.arange(60))] * 2
    search = GridSearchCV(density, {"estimator__bins": [2, 3]}, cv=folds).set_callbacks(listener)
    search.fit(X)
    assert listener.begun["HistogramDensity", "fit"] == 2 * 2 + 1
    pipeline = make_pipeline(StandardScaler(), GenerativeClassifier(HistogramDensity()))
    pipeline.set_callbacks(listener).fit(X, Y)
    assert listener.begun["HistogramDensity", "fit"] == 5 + 3
    assert listener.begun == listener.ended


def test_progress_bars(capsys):
    pytest.importorskip("rich")
    bar = sklearn_callback.ProgressBar()
    members = [("histogram", HistogramDensity()), ("kernel", KernelDensity())]
    ensemble = EnsembleDensity(members, cv=2).set_callbacks(bar).fit(X)
    assert "EnsembleDensity - hold out" in capsys.readouterr().out
    restored = pickle.loads(pickle.dumps(ensemble.set_callbacks()))
    np.testing.assert_array_equal(restored.score_samples(X), ensemble.score_samples(X))


def test_scikit_learn_without_callbacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("old", _callbacks.__file__)
    old = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "old", old)
    spec.loader.exec_module(old)

    class Meta(old.CallbackSupportMixin, BaseEstimator):
        def fit(self, X, y=None):
            with old.fit_task(self, X, y, n_subtasks=None) as task:
                first = task.subtask("first").fit(KernelDensity(), X)
                with task.side_by_side("others", ["a", "b"], X) as parts:
                    return [first, *(part.fit(KernelDensity(), X) for part in parts)]

    assert not hasattr(Meta(), "set_callbacks")
    assert all(hasattr(kernel, "tree_") for kernel in Meta().fit(X))
