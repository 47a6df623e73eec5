"""A table of columns of many kinds."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "count": rng.poisson(3, 300),
            "length": rng.normal(50, 4, 300),
            "city": rng.choice(["Oslo", "Rome"], 300),
            "width": rng.lognormal(0, 1, 300).astype(np.float32),
            "grade": pd.Categorical(rng.choice(["a", "b"], 300), categories=["c", "b", "a"]),
            "flag": rng.random(300) < 0.3,
        },
        index=np.arange(300) + 1000,
    )
