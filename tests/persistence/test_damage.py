"""Files that were truncated, altered or made by somebody with other intentions: one error, and never another model."""

import copy
import json
import pickle
import sys

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import (
    AutoregressiveDensity,
    EnsembleDensity,
    HistogramDensity,
    LatentDirichletAllocationDensity,
    ModelFileError,
    TransformedDensity,
    load,
)
from sklearn_dgm.persistence import _format

X = np.random.default_rng(0).normal(size=(60, 2))
COUNTS = np.random.default_rng(0).poisson(3.0, (20, 2))


def saved(density, tmp_path):
    density.save(tmp_path / "model")
    return (tmp_path / "model").read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "altered"


@pytest.fixture
def refused(path):
    """A function that asserts that the bytes of a file are refused, by ModelFileError, and tells what is said."""

    def message(data):
        path.write_bytes(data)
        with pytest.raises(ModelFileError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path} cannot be loaded: ")
        return str(caught.value)

    return message


def test_every_flipped_byte_is_noticed(tmp_path, refused):
    density = LatentDirichletAllocationDensity(1, n_particles=20, random_state=0).fit(COUNTS)
    data = saved(density, tmp_path)
    assert len(data) < 2500
    said = set()
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 + place % 255
        said.add(refused(bytes(flipped)).partition(": ")[2].partition(" format ")[0])
    assert said == {
        "it is no file that an estimator of sklearn_dgm was saved to.",
        "it is of",
        "it was truncated or altered: its checksum is another one.",
    }


def test_every_truncated_file_is_refused(tmp_path, refused):
    density = LatentDirichletAllocationDensity(1, n_particles=20, random_state=0).fit(COUNTS)
    data = saved(density, tmp_path)
    for length in range(len(data)):
        refused(data[:length])
    refused(data + b"\x00")
    refused(data + data)


def test_what_is_wrong_is_said(tmp_path, refused):
    data = saved(HistogramDensity(alpha=0.1).fit(X), tmp_path)
    n = len(_format.MAGIC)
    assert "it is empty" in refused(b"")
    assert "it is no file that an estimator of sklearn_dgm was saved to" in refused(
        pickle.dumps(StandardScaler())
    )
    assert "it was truncated or altered" in refused(data[:-1])
    assert "it is of format 2, of which this release knows 1 at most" in refused(
        data[:n] + b"\x02" + data[n + 1 :]
    )
    assert "truncated or altered" in refused(data[:n] + bytes(4) + data[n + 4 :])
    assert "it is no file" in refused(data.replace(b"\r\n", b"\n", 1))


class Trap:
    """What would be seen to run."""

    has_run = False

    def __init__(self, *args, **kwargs):
        Trap.has_run = True

    def __setstate__(self, state):
        Trap.has_run = True


def headers(tmp_path):
    """Headers of three models, which are whole."""
    scaled = TransformedDensity(StandardScaler(), HistogramDensity(alpha=0.1))
    network = AutoregressiveDensity((4,), max_epochs=1, early_stopping=False, random_state=0)
    kernels = EnsembleDensity([("k", KernelDensity())], weights="equal")
    return {
        "scaled": _format.unpacked(saved(scaled.fit(X), tmp_path)),
        "network": _format.unpacked(saved(network.fit(X), tmp_path)),
        "kernels": _format.unpacked(saved(kernels.fit(X), tmp_path)),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return headers(tmp_path_factory.mktemp("whole"))


def found(part, key, value=None):
    """All dicts within a header that have a key, of a value if one is asked for."""
    if isinstance(part, list):
        return [one for item in part for one in found(item, key, value)]
    if not isinstance(part, dict):
        return []
    here = [part] if key in part and (value is None or np.all(part[key] == value)) else []
    return here + [one for item in part.values() for one in found(item, key, value)]


def named(name):
    def change(header):
        header["class"] = name

    return change


def within(kind):
    def change(header):
        header["learnt"]["more_"] = kind

    return change


def replaced(key, value):
    def change(header):
        header[key] = value

    return change


def attribute(name, value=None):
    def change(header):
        header["learnt"][name] = value

    return change


def kind(name, *parts):
    return within({"kind": name, "parts": list(parts)})


def plain_dict(**items):
    return {"kind": "dict", "parts": [list(items), list(items.values())]}


def in_place(plain):
    def change(header):
        header["estimator"] = plain

    return change


def of_object(name, **state):
    return within({"kind": "object", "class": name, "state": state})


KEY = np.zeros(624, np.uint32)
MT = plain_dict(
    bit_generator="MT19937", state=plain_dict(key=KEY, pos=10**6), has_gauss=0, gauss=0.0
)
HOSTILE = {
    "no estimator at all": in_place(3),
    "a splitter for an estimator": in_place(
        {"kind": "object", "class": "sklearn.model_selection._split.KFold", "state": {}}
    ),
    "an estimator of trees": in_place(
        {"kind": "object", "class": "sklearn.tree._classes.DecisionTreeClassifier", "state": {}}
    ),
    "a function for a class": named("os.system"),
    "a class of the tests": named("tests.persistence.test_damage.Trap"),
    "a class of another library": of_object("subprocess.Popen", args="true"),
    "a function of the package": of_object("sklearn_dgm.persistence._estimators.load", path="/"),
    "what a module imports": of_object("sklearn_dgm.base.BaseEstimator"),
    "a module of scikit-learn with side effects": of_object("sklearn.conftest.TestCase"),
    "compiled code that trusts indices": of_object("sklearn.svm._classes.SVC"),
    "a module that is not there": of_object("sklearn_dgm.nothing.At"),
    "no name": named(3),
    "an empty name": named(""),
    "no estimator": named("sklearn_dgm.columns._column.Column"),
    "an estimator of scikit-learn": named("sklearn.preprocessing._data.StandardScaler"),
    "an abstract class": named("sklearn_dgm.base.BaseDensity"),
    "a method": attribute("score_samples"),
    "a class of an object": attribute("__class__", "x"),
    "a dict of an object": attribute("__dict__", plain_dict(a=1)),
    "no identifier": attribute("a b"),
    "attributes in a list": replaced("learnt", []),
    "no parameters": replaced("parameters", None),
    "a function of pandas": kind("class of pandas", "read_pickle"),
    "a function of polars": kind("dtype of polars", "read_csv", "/etc/passwd"),
    "a frame of polars": kind("dtype of polars", "DataFrame", plain_dict(a=1)),
    "a function of NumPy": kind("ufunc", "load"),
    "a class of objects": kind("class", "type"),
    "an unknown kind": kind("eval", "1"),
    "too few parts": kind("datetime"),
    "parts that are none": within({"kind": "tuple", "parts": 3}),
    "no kind": within({"parts": []}),
    "a position that was not told of": within({"kind": "same", "position": 10**9}),
    "a position that is none": within({"kind": "same", "position": "a"}),
    "what cannot be hashed": kind("set", [[1]]),
    "objects of a huge shape": kind("objects", [10**9, 10**9], [1]),
    "a generator beyond its key": kind("RandomState", MT),
    "a dtype of objects": kind("dtype", "no dtype"),
    "a folder of time zones": kind("ZoneInfo", "../../etc/passwd"),
    "extension types of Arrow": kind(
        "ArrowDtype",
        {"kind": "bytes", "parts": [np.frombuffer(b"..ARROW:extension:name..", np.uint8)]},
    ),
}


def refuse_changed(header, change, refused):
    Trap.has_run = False
    header = copy.deepcopy(header)
    change(header)
    said = refused(_format.packed(header))
    assert not Trap.has_run
    return said


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(name, whole, refused):
    before = set(sys.modules)
    refuse_changed(whole["scaled"], HOSTILE[name], refused)
    assert not {"subprocess.nothing", "sklearn.conftest", "sklearn.svm"} & (
        set(sys.modules) - before
    )


def test_attributes_of_what_is_inside_are_refused_too(whole, refused):
    def shadow(header):
        [scaler, *_] = found(header, "class", "sklearn.preprocessing._data.StandardScaler")
        scaler["state"]["transform"] = 1

    assert "'transform' is no attribute" in refuse_changed(whole["scaled"], shadow, refused)

    def shadow_kernels(header):
        [kernels, *_] = found(header["learnt"], "kind", "KernelDensity")
        kernels["parts"][0]["parts"][0].append("fit")
        kernels["parts"][0]["parts"][1].append(1)

    assert "'fit' is no attribute" in refuse_changed(whole["kernels"], shadow_kernels, refused)


@pytest.mark.parametrize(
    "module",
    ["config.import_module", "density.torch", "..os.system", "made.np", "density.RowDensity"],
)
def test_networks_are_modules_of_their_room(module, whole, refused):
    def change(header):
        net = header["learnt"]["net_"]["parts"]
        keys, values = net[1][net[0].index("config")]["parts"]
        values[keys.index("module")] = module

    said = refuse_changed(whole["network"], change, refused)
    if module in ("config.import_module", "density.torch"):
        assert f"{module} is no module of sklearn_dgm.nn" in said


def test_the_class_of_a_net_is_no_attribute(whole, refused):
    net = attribute("_net_class", {"kind": "class", "parts": ["object"]})
    assert "'_net_class' is no attribute" in refuse_changed(whole["network"], net, refused)


def test_networks_of_other_sizes_are_refused(whole, refused):
    def change(header):
        net = header["learnt"]["net_"]["parts"]
        _, values = net[1][net[0].index("arrays")]["parts"]
        values[0] = np.zeros((3, 3, 3))

    refuse_changed(whole["network"], change, refused)


def with_text(text, arrays=b""):
    """A file whose checksum is right, of any header."""
    start = _format.MAGIC + (1).to_bytes(4, "little")
    rest = len(text).to_bytes(8, "little") + text + (arrays or _format.bytes_of({}))
    return start + _format._checksum(start, rest) + rest


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"class": 1}',
        b"{}" * 3,
        b"\xff\xfe",
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"class": "sklearn_dgm.histogram.HistogramDensity", "parameters": {}, "learnt": {"a":'
        + b'{"kind": "tuple", "parts": [' * 3_000
        + b"]}" * 3_000
        + b"}}",
        b"9" * 10_000,
        b'{"@array": "0"}',
        b'{"@array": []}',
        b'{"@array": "0", "dtype": "O", "shape": [1]}',
    ],
    ids=lambda text: repr(text[:20]),
)
def test_texts_that_are_no_headers(text, refused):
    refused(with_text(text))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("O", [1]),
        ("<f8", [2]),
        ("<f8", [10**9, 10**9]),
        ("<f8", [-1]),
        ("<f8", ["a"]),
        ("V8", [1]),
        ("<f4", [1]),
    ],
)
def test_arrays_are_as_large_as_their_bytes(dtype, shape, refused):
    marker = {"@array": "0", "dtype": dtype, "shape": shape}
    arrays = _format.bytes_of({"0": np.zeros(8, np.uint8)})
    refused(with_text(json.dumps(marker).encode(), arrays))


def test_a_header_that_is_longer_than_the_file(refused):
    data = with_text(b"{}")
    start = data[: len(_format.MAGIC) + 4]
    rest = (2**63).to_bytes(8, "little") + data[52:]
    refused(start + _format._checksum(start, rest) + rest)


def test_arrays_that_are_none(refused):
    refused(with_text(b"{}", b"\xff" * 16))
