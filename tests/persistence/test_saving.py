"""Files of models: what comes back, what is refused before anything is written, and that an older file is kept."""

import errno
import json
import os
import stat
from pathlib import Path

import joblib
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler
from sklearn.svm import SVC

import sklearn_dgm
from sklearn_dgm import (
    AutoregressiveDensity,
    BaseDensity,
    BayesianNetworkDensity,
    DensityCodec,
    DensityImputer,
    DensityOutlierDetector,
    EnsembleDensity,
    GenerativeClassifier,
    GenerativeOverSampler,
    HistogramDensity,
    MarkovChainDensity,
    MixtureDensity,
    ModelFileError,
    TransformedDensity,
    load,
    save,
)
from sklearn_dgm.base import Stateful
from sklearn_dgm.persistence import _format
from sklearn_dgm.utils.discovery import all_estimators

QUICK = {"hidden_layer_sizes": (4,), "max_epochs": 1, "early_stopping": False, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3)) + 3.0
GAPS = np.where(RNG.uniform(size=X.shape) < 0.1, np.nan, X)
CLASSES = np.where(X[:, 0] > 3.5, "rare", "common")
FRAME = pd.DataFrame(
    {
        "a": X[:, 0],
        "b": np.rint(X[:, 1]).astype(int),
        "c": pd.Categorical(np.where(X[:, 2] > 3, "x", "y")),
        "d": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(120), unit="D"),
    }
)
STRINGS = np.array(["abcabd", "aab", "b"] * 20, dtype=object)
TABLES = BayesianNetworkDensity("chow-liu", conditional="table")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def again(estimator, path, **trusted):
    estimator.save(path)
    return load(path, **trusted)


def assert_alike(one, other):
    """Tables, arrays, or lists of these are the same, to the last bit."""
    assert joblib.hash(one) == joblib.hash(other)


def test_every_estimator_is_saved():
    for _, estimator in all_estimators():
        assert estimator.save.__doc__


META = {
    "a committee": (
        DensityOutlierDetector(random_state=0),
        FRAME,
        lambda e: [e.score_samples(FRAME), e.predict(FRAME), e.explain(FRAME)],
    ),
    "an imputer": (
        DensityImputer(MixtureDensity(2, random_state=0), random_state=0),
        GAPS,
        lambda e: e.transform(GAPS),
    ),
    "an ensemble of kernels, a search, a frozen density": (
        EnsembleDensity(
            [
                ("k", KernelDensity(metric="minkowski", metric_params={"p": 3})),
                ("s", GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]})),
                ("f", FrozenEstimator(HistogramDensity(alpha=0.1).fit(X))),
            ],
            cv=KFold(3),
        ),
        X,
        lambda e: [e.score_samples(X), e.sample(9, random_state=1)],
    ),
    "columns transformed": (
        TransformedDensity(
            ColumnTransformer(
                [
                    ("n", make_pipeline(StandardScaler(), PowerTransformer()), ["a"]),
                    ("i", StandardScaler(), make_column_selector(dtype_include=np.integer)),
                ],
                remainder="passthrough",
            ),
            HistogramDensity(alpha=0.1),
        ),
        FRAME,
        lambda e: [e.score_samples(FRAME), e.sample(9, random_state=1)],
    ),
    "a function of NumPy": (
        TransformedDensity(FunctionTransformer(np.log, np.exp), MixtureDensity(2, random_state=0)),
        X.clip(0.1),
        lambda e: e.score_samples(X.clip(0.1)),
    ),
}


@pytest.mark.parametrize("name", META)
def test_what_is_built_on_densities_comes_back(name, path):
    estimator, rows, ask = META[name]
    estimator = clone(estimator).fit(rows)
    assert_alike(ask(again(estimator, path)), ask(estimator))


@pytest.mark.parametrize(("density", "rows"), [(TABLES, FRAME), (MarkovChainDensity(2), STRINGS)])
def test_a_codec_reads_streams_of_the_one_that_was_saved(density, rows, path):
    pytest.importorskip("constriction")
    codec = DensityCodec(density).fit(rows)
    stream, loaded = codec.encode(rows), again(codec, path)
    assert loaded.encode(rows) == stream
    assert_alike(loaded.decode(stream), codec.decode(stream))


def test_an_over_sampler_comes_back(path):
    pytest.importorskip("imblearn")
    sampler = GenerativeOverSampler(HistogramDensity(alpha=0.1), random_state=0).fit(FRAME, CLASSES)
    loaded = again(sampler, path)
    assert_alike(loaded.fit_resample(FRAME, CLASSES), sampler.fit_resample(FRAME, CLASSES))


def test_what_was_shared_is_shared(path):
    graph = nx.DiGraph([(0, 1)])
    graph.add_node(2, label="alone")
    density = BayesianNetworkDensity(graph, conditional="table").fit(X)
    frozen = EnsembleDensity([("f", FrozenEstimator(density))], weights="equal").fit(X)
    loaded = again(frozen, path)
    inside = loaded.estimators[0][1].estimator
    assert loaded.estimators_[0].estimator is inside
    assert loaded.named_estimators_.f is loaded.estimators_[0]
    assert nx.utils.graphs_equal(inside.structure, graph)
    assert list(inside.graph_.edges(data=True)) == list(density.graph_.edges(data=True))


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng])
def test_generators_go_on_where_they_were(make, path):
    rng = make(3)
    rng.normal(size=3)
    if isinstance(rng, np.random.Generator):
        rng.spawn(2)
    classifier = GenerativeClassifier(GaussianMixture(random_state=np.random.RandomState(1)))
    classifier.fit(X, CLASSES).set_params(estimator__random_state=rng)
    loaded = again(classifier, path).estimator.random_state
    assert type(loaded) is type(rng)
    if isinstance(rng, np.random.Generator):
        assert_alike(loaded.spawn(1)[0].normal(size=3), rng.spawn(1)[0].normal(size=3))
    assert_alike(loaded.normal(size=700), rng.normal(size=700))


def test_metadata_requests_come_back(path):
    with sklearn.config_context(enable_metadata_routing=True):
        density = HistogramDensity(alpha=0.1).set_fit_request(sample_weight=True).fit(X)
        loaded = again(density, path)
        assert str(loaded.get_metadata_routing()) == str(density.get_metadata_routing())
        clone(loaded).fit(X)


def test_the_layout_of_matrices_stays(path):
    """Of which the last bits of products depend."""
    density = HistogramDensity(alpha=0.1).fit(X)
    density.rotated_ = np.asfortranarray(RNG.normal(size=(3, 2)))
    loaded = again(density, path)
    assert loaded.rotated_.flags.f_contiguous
    assert_alike(loaded.rotated_, density.rotated_)


def test_arrays_of_dtypes_that_safetensors_has_not_come_back(path):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.others_ = {
        "times": np.array(["2024-01-01", "NaT"], dtype="M8[D]"),
        "names": np.array([["a", "bcd"]]),
        "bytes": np.array([b"a\x00", b""]),
        "big": np.arange(3, dtype=">f8"),
        "complex": np.array(1j),
        "none": np.empty((0, 3), dtype="<U0"),
    }
    loaded = again(density, path)
    for name, array in density.others_.items():
        assert loaded.others_[name].dtype == array.dtype
        assert_alike(loaded.others_[name], array)


def test_models_of_joblib_that_are_mapped_into_memory_are_saved(path, tmp_path):
    density = HistogramDensity(alpha=0.1).fit(X)
    joblib.dump(density, tmp_path / "mapped")
    mapped = joblib.load(tmp_path / "mapped", mmap_mode="r")
    assert_alike(again(mapped, path).score_samples(X), density.score_samples(X))


@pytest.mark.parametrize("within", [False, True])
def test_a_model_of_a_device_that_is_not_there_is_on_the_cpu(within, path):
    if torch.cuda.is_available():
        pytest.skip("the device is there")
    density = AutoregressiveDensity(**QUICK)
    density = (TransformedDensity(StandardScaler(), density) if within else density).fit(X)
    expected = density.score_samples(X)
    on_device = density.estimator_ if within else density
    on_device.set_params(device="cuda")
    loaded = again(density, path)
    assert_alike(loaded.score_samples(X), expected)
    network = loaded.estimator_ if within else loaded
    assert network.device == "cuda"
    assert network._module_device() == torch.device("cpu")
    with pytest.raises(ValueError, match="device='cuda' is not available"):
        network.fit(X)
    network.set_params(device="cpu").fit(X)


def test_training_goes_on_after_loading(path):
    density = AutoregressiveDensity(**QUICK, warm_start=True).fit(X)
    loaded = again(density, path)
    assert_alike(loaded.fit(X).score_samples(X), density.fit(X).score_samples(X))
    assert len(loaded.history_) == len(density.history_)


def test_a_parameter_that_is_newer_than_a_file_has_its_default(path):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.save(path)
    header = _format.unpacked(path.read_bytes())
    del header["parameters"]["bins"]
    path.write_bytes(_format.packed(header))
    assert load(path).bins == HistogramDensity().bins


REFUSED = {
    "callbacks[0]": AutoregressiveDensity(**QUICK),
    "estimator.kernel": TransformedDensity(StandardScaler(), KernelDensity()),
    "bins": HistogramDensity(alpha=0.1),
}


@pytest.mark.parametrize("place", REFUSED)
def test_what_no_file_can_hold_is_named_and_nothing_is_written(place, path):
    estimator = clone(REFUSED[place]).fit(X)
    path.write_bytes(b"older")
    name, _, rest = place.replace(".", "__").partition("[")
    estimator.set_params(**{name: [lambda net: None] if rest else lambda *_: None})
    message = (
        rf"^the parameter {place.replace('[', '.').replace(']', '.')} is of type builtins.function"
    )
    with pytest.raises(TypeError, match=message):
        estimator.save(path)
    assert path.read_bytes() == b"older"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), MixtureDensity(2, random_state=0)),
        GridSearchCV(MixtureDensity(random_state=0), {"n_components": [1, 2]}, cv=KFold(3)),
        make_pipeline(
            StandardScaler(),
            GridSearchCV(AutoregressiveDensity(**QUICK), {"lr": [0.01, 0.1]}, cv=2),
        ),
        KernelDensity(),
    ],
    ids=["pipeline", "search", "search of networks in a pipeline", "kernels"],
)
def test_what_has_no_method_is_saved_by_the_function(estimator, path):
    estimator.fit(X)
    save(estimator, path)
    loaded = load(path)
    assert type(loaded) is type(estimator)
    assert str(loaded) == str(estimator)
    assert_alike(loaded.score_samples(X), estimator.score_samples(X))
    assert loaded.score(X) == estimator.score(X)
    assert_alike(clone(loaded).fit(X).score_samples(X), estimator.score_samples(X))


def test_the_function_does_as_the_method(path):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.save(path)
    of_method = path.read_bytes()
    save(density, path)
    assert path.read_bytes() == of_method


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (make_pipeline(StandardScaler(), MixtureDensity()), NotFittedError, "not fitted"),
        (SVC().fit(X, CLASSES), TypeError, "the value is of type sklearn.svm._classes.SVC"),
        (make_pipeline(SVC()).fit(X, CLASSES), TypeError, r"steps\S* is of type sklearn.svm"),
        (3, TypeError, "not an estimator"),
    ],
)
def test_the_function_refuses_what_no_file_can_hold(estimator, error, message, path):
    with pytest.raises(error, match=message):
        save(estimator, path)
    assert not path.exists()


def test_attributes_are_named_too(path):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.hidden_ = {"a": [lambda: None]}
    with pytest.raises(TypeError, match=r"^hidden_\S* is of type builtins.function"):
        density.save(path)
    assert not path.exists()


def test_estimators_that_no_file_may_name_are_not_saved(path):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.machine_ = SVC()
    with pytest.raises(TypeError, match="machine_ is of type sklearn.svm._classes.SVC"):
        density.save(path)


def test_only_what_is_fitted_is_saved(path):
    with pytest.raises(NotFittedError):
        HistogramDensity().save(path)


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failed_save_leaves_the_older_file(fails, path, monkeypatch):
    density = HistogramDensity(alpha=0.1).fit(X)
    density.save(path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="no space left"):
        density.fit(X[:50]).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_file_has_the_rights_of_a_new_file(path):
    Path(path.parent, "other").touch()
    HistogramDensity(alpha=0.1).fit(X).save(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def test_a_link_stays_one(path):
    link = path.with_name("link")
    link.symlink_to(path)
    HistogramDensity(alpha=0.1).fit(X).save(link)
    assert link.is_symlink()
    assert load(path).n_features_in_ == 3


def test_directories_and_missing_files(path, tmp_path):
    density = HistogramDensity(alpha=0.1).fit(X)
    with pytest.raises(IsADirectoryError, match="is a directory"):
        density.save(tmp_path)
    with pytest.raises(FileNotFoundError):
        density.save(tmp_path / "no" / "folder")
    with pytest.raises(ModelFileError, match="it is a directory"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load(path)


def test_other_releases_of_scikit_learn_are_told_of(path, monkeypatch):
    TransformedDensity(StandardScaler(), TABLES).fit(X).save(path)
    monkeypatch.setattr(sklearn, "__version__", "9.9")
    with pytest.warns(InconsistentVersionWarning, match="TransformedDensity"):
        load(path)
    HistogramDensity(alpha=0.1).fit(X).save(path)
    load(path)  # nothing of scikit-learn is in it


def test_a_header_can_be_read_by_others(path):
    HistogramDensity(alpha=0.1).fit(X).save(path)
    data = path.read_bytes()
    length = int.from_bytes(data[44:52], "little")
    header = json.loads(data[52 : 52 + length])
    assert header["class"] == "sklearn_dgm.histogram.HistogramDensity"
    assert header["parameters"]["alpha"] == 0.1
    assert header["versions"]["sklearn-dgm"] == sklearn_dgm.__version__
    from safetensors.numpy import load as arrays_of

    assert arrays_of(data[52 + length :])


class Width(Stateful):
    """What a density of a user holds."""

    def __init__(self, value):
        self.value = value


class Cubes(BaseDensity):
    """A density of a user, in a module that is no part of the package."""

    def __init__(self, margin=0.1):
        self.margin = margin
        super().__init__()

    def _fit(self, Z, sample_weight):
        self.least_, self.width_ = Z.min(axis=0), Width(np.ptp(Z, axis=0) + self.margin)

    def _log_density(self, Z):
        inside = ((self.least_ <= Z) & (self.least_ + self.width_.value >= Z)).all(axis=1)
        return np.where(inside, -np.log(self.width_.value).sum(), -np.inf)

    def _draw(self, n_samples, rng):
        return rng.uniform(self.least_, self.least_ + self.width_.value, (n_samples, len(Z_SHAPE)))


Z_SHAPE = range(3)


@pytest.mark.parametrize("within", [False, True])
def test_densities_of_users_are_loaded_by_who_trusts_them(within, path):
    density = Cubes()
    density = (EnsembleDensity([("c", density)], weights="equal") if within else density).fit(X)
    density.save(path)
    with pytest.raises(ModelFileError, match=r"tests.persistence.test_saving.Cubes is no class"):
        load(path)
    with pytest.raises(ModelFileError, match=r"tests.persistence.test_saving.Width is no class"):
        load(path, trusted=[Cubes])
    loaded = load(path, trusted=iter([Cubes, Width]))
    assert_alike(loaded.score_samples(X), density.score_samples(X))
    assert_alike(loaded.sample(5, random_state=0), density.sample(5, random_state=0))


@pytest.mark.parametrize("trusted", ["sklearn_dgm", HistogramDensity, ["HistogramDensity"], None])
def test_what_is_trusted_are_classes(trusted, tmp_path):
    HistogramDensity(bins=2, alpha=1).fit([[0.0], [1.0]]).save(tmp_path / "density.dgm")
    with pytest.raises(TypeError, match="trusted should be a list of classes, got"):
        load(tmp_path / "density.dgm", trusted=trusted)
