"""Public methods say what they take and give."""

from inspect import get_annotations, signature

import pytest

import sklearn_dgm

NAMES = [name for name in sklearn_dgm.__all__ if isinstance(getattr(sklearn_dgm, name), type)]
METHODS = ("fit", "score_samples", "score", "sample", "predict", "predict_proba", "transform")


@pytest.mark.parametrize("name", NAMES)
def test_signatures_have_types(name):
    cls = getattr(sklearn_dgm, name)
    for method in METHODS:
        own = next((vars(base)[method] for base in cls.__mro__ if method in vars(base)), None)
        if getattr(own, "__module__", "").startswith("sklearn_dgm"):
            own = getattr(own, "__wrapped__", own)
            named = [p for p in signature(own).parameters if p != "self"]
            assert {*named, "return"} <= get_annotations(own).keys(), method
