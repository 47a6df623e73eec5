"""Types that public signatures share."""

from typing import Any, TypeAlias

import numpy as np

# A table: an array-like, or a DataFrame of pandas, polars or another library, none of which is needed.
MatrixLike: TypeAlias = Any
# What `random_state` may be. None seeds a generator freshly, and leaves the global one alone.
RandomState: TypeAlias = int | np.random.RandomState | np.random.Generator | None
