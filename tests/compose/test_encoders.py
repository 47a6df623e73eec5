"""Encoders of categories, before which there is no density: the error says so, whatever they encode."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from sklearn_dgm import HistogramDensity, TransformedDensity

ROWS = pd.DataFrame(
    {"x": np.linspace(0, 1, 60), "s": list("pqr") * 20, "n": [0, 1, 1, 2, 0, 2] * 10}
)


@pytest.mark.parametrize("column", ["s", "n"], ids=["strings", "integers"])
@pytest.mark.parametrize(
    "encoder",
    [OneHotEncoder(), OneHotEncoder(sparse_output=False), OrdinalEncoder(), TargetEncoder()],
    ids=["sparse", "one-hot", "ordinal", "target"],
)
@pytest.mark.parametrize(
    "place", ["alone", "block", "pipeline", "in a block", "before the density"]
)
def test_an_encoder_has_no_jacobian(place, encoder, column):
    block = ColumnTransformer([("encoder", encoder, [column])], remainder="passthrough")
    inner = make_pipeline(encoder, StandardScaler(with_mean=False))
    transformer = {
        "alone": encoder,
        "block": block,
        "pipeline": make_pipeline(FunctionTransformer(), block),
        "in a block": ColumnTransformer([("steps", inner, [column])], remainder="passthrough"),
        "before the density": None,
    }[place]
    density = HistogramDensity()
    if place == "before the density":
        density = make_pipeline(block, density)
    message = rf"No Jacobian of {type(encoder).__name__} is known.*categories.*'passthrough'"
    with pytest.raises(TypeError, match=message):
        TransformedDensity(transformer, density).fit(ROWS)


def test_bins_of_a_table_with_strings():
    with pytest.raises(TypeError, match="No Jacobian of KBinsDiscretizer"):
        TransformedDensity(KBinsDiscretizer(), HistogramDensity()).fit(ROWS)


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match="could not convert string"):
        TransformedDensity(StandardScaler(), HistogramDensity()).fit(ROWS)


def test_the_way_out():
    passing = ColumnTransformer([("scaler", StandardScaler(), ["x"])], remainder="passthrough")
    density = TransformedDensity(passing, HistogramDensity()).fit(ROWS)
    assert np.isfinite(density.score_samples(ROWS)).all()
