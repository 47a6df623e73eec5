"""The smallest models of each kind that the contract knows, for tests of the contract and of its checks."""

import numpy as np
from scipy import stats

from sklearn_dgm._queries.given import GivenMixin
from sklearn_dgm.base import BaseDensity, BaseEstimatedDensity, BaseGenerator
from sklearn_dgm.tags import DensityTags


class WordSchema:
    """Sequences of words as arrays of codes; the last code is that of all unknown words."""

    def fit(self, X, sample_weight=None):
        self.words_ = sorted({word for row in X for word in row})
        return self

    def encode(self, X):
        code = {word: k for k, word in enumerate(self.words_)}
        Z = np.empty(len(X), dtype=object)
        for i, row in enumerate(X):
            Z[i] = np.array([code.get(word, len(code)) for word in row], dtype=int)
        return Z, np.zeros(len(X))

    def decode(self, Z):
        return [[self.words_[k] for k in row] for row in Z]

    def check_alike(self, schema, X, sample_weight=None):
        if not isinstance(schema, WordSchema):
            raise ValueError("schema should be a WordSchema.")
        return schema


class WordChains(BaseDensity):
    """Independent words, and a geometric distribution of the length."""

    _density_tags = DensityTags(column_kinds=(), sequences=True)

    def __init__(self):
        pass

    def _make_schema(self):
        return WordSchema()

    def _fit(self, Z, sample_weight):
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        lengths = np.array([len(row) for row in Z])
        counts = np.zeros(len(self.schema_.words_) + 1)
        for row, w in zip(Z, weight, strict=True):
            np.add.at(counts, row, w)
        self.stop_ = weight.sum() / (weight @ lengths + weight.sum())
        self.share_ = counts / counts.sum()

    def _log_density(self, Z):
        with np.errstate(divide="ignore"):
            log_share = np.log(self.share_) + np.log1p(-self.stop_)
        return np.array([log_share[row].sum() for row in Z]) + np.log(self.stop_)

    def _draw(self, n_samples, rng):
        Z = np.empty(n_samples, dtype=object)
        for i, length in enumerate(rng.geometric(self.stop_, n_samples) - 1):
            Z[i] = rng.choice(len(self.share_), length, p=self.share_)
        return Z


class Bootstrap(BaseGenerator):
    """Draws the rows that it has seen; it has no density."""

    def __init__(self, random_state=None):
        super().__init__()
        self.random_state = random_state

    def _fit(self, Z, sample_weight):
        self.rows_ = Z.copy()
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        self.share_ = weight / weight.sum()

    def _draw(self, n_samples, rng):
        return rng.choice(self.rows_, n_samples, p=self.share_)


class Gaussian(BaseDensity):
    """A normal distribution of columns that have to be continuous."""

    _density_tags = DensityTags(column_kinds=("continuous",))

    def __init__(self):
        super().__init__()

    def _fit(self, Z, sample_weight):
        self.mean_ = np.average(Z, axis=0, weights=sample_weight)
        covariance = np.cov(Z.T, aweights=sample_weight, bias=True).reshape(Z.shape[1], -1)
        self.covariance_ = covariance + 1e-9 * np.eye(Z.shape[1])

    def _log_density(self, Z):
        root = np.linalg.inv(np.linalg.cholesky(self.covariance_))
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.square(np.einsum("ij,nj->ni", root, Z - self.mean_)).sum(axis=1)
        log_p = np.log(np.diag(root)).sum() - (squares + Z.shape[1] * np.log(2 * np.pi)) / 2
        return np.nan_to_num(log_p, nan=-np.inf, neginf=-np.inf)

    def _draw(self, n_samples, rng):
        root = np.linalg.cholesky(self.covariance_)
        return rng.normal(size=(n_samples, len(root))) @ root.T + self.mean_


class Pairs(BaseDensity):
    """A smoothed table of all cells of a few columns that have few values."""

    def _fit(self, Z, sample_weight):
        self.low_ = Z.min(axis=0)
        self.shape_ = tuple((Z.max(axis=0) - self.low_ + 1).astype(int))
        counts = np.full(self.shape_, 0.0)
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        np.add.at(counts, tuple((Z - self.low_).astype(int).T), weight)
        self.table_ = counts / counts.sum()

    def _log_density(self, Z):
        inside = ((self.low_ <= Z) & (self.low_ + self.shape_ > Z) & (Z % 1 == 0)).all(axis=1)
        place = np.where(inside[:, None], Z - self.low_, 0).astype(int)
        with np.errstate(divide="ignore"):
            return np.where(inside, np.log(self.table_[tuple(place.T)]), -np.inf)

    def _draw(self, n_samples, rng):
        place = rng.choice(self.table_.size, n_samples, p=self.table_.ravel())
        return np.stack(np.unravel_index(place, self.shape_), axis=1) + self.low_


class Flags(Pairs):
    """Columns of two categories."""

    _density_tags = DensityTags(column_kinds=("binary",))

    def __init__(self):
        super().__init__()


class Counts(Pairs):
    """Columns of whole numbers."""

    _density_tags = DensityTags(column_kinds=("integer",))

    def __init__(self):
        super().__init__()


class Energy(Gaussian):
    """The normal distribution up to a constant that is another one for each fit."""

    _density_tags = DensityTags(column_kinds=("continuous",), score_kind="unnormalised")

    def _fit(self, Z, sample_weight):
        super()._fit(Z, sample_weight)
        self.constant_ = 7.0 + self.covariance_[0, 0] * len(Z)

    def _log_density(self, Z):
        return super()._log_density(Z) + self.constant_


class Noisy(BaseEstimatedDensity, Gaussian):
    """Log-densities with errors that are a function of the row, of a standard deviation that it tells."""

    _density_tags = DensityTags(column_kinds=("continuous",), score_kind="estimate")
    noise = stated_noise = 0.05

    def _log_density_and_std(self, Z):
        with np.errstate(over="ignore", invalid="ignore"):
            phase = np.modf(np.abs(Z.sum(axis=1)) * 1e4)[0]
        error = stats.norm.ppf(np.clip(np.nan_to_num(phase), 1e-9, 1 - 1e-9))
        log_p = Gaussian._log_density(self, Z) + self.noise * error
        return log_p, np.full(len(Z), self.stated_noise)


class Regression(GivenMixin):
    """Columns that are linear in those given, with independent normal noise."""

    _density_tags = DensityTags(column_kinds=("continuous",))

    def __init__(self, given=None):
        super().__init__()
        self.given = given

    def _fit(self, Z, sample_weight):
        self.coef_, inputs = None, self._inputs(Z)
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        root = np.sqrt(weight)[:, None]
        outputs = Z[:, ~self.schema_.given_]
        self.coef_ = np.linalg.lstsq(root * inputs, root * outputs, rcond=None)[0]
        error = np.square(outputs - inputs @ self.coef_)
        self.std_ = np.sqrt(np.average(error, axis=0, weights=weight) + 1e-12)

    def _inputs(self, Z):
        return np.column_stack([np.ones(len(Z)), Z[:, self.schema_.given_]])

    def _mean(self, Z):
        # Sums of one row at a time, whose last bits know nothing of the others.
        return np.einsum("ni,ij->nj", self._inputs(Z), self.coef_)

    def _log_density(self, Z):
        with np.errstate(over="ignore", invalid="ignore"):
            log_p = stats.norm.logpdf(Z[:, ~self.schema_.given_], self._mean(Z), self.std_)
        return np.nan_to_num(log_p, nan=-np.inf, neginf=-np.inf).sum(axis=1)

    def _draw_given(self, Z, rng):
        Z = Z.copy()
        Z[:, ~self.schema_.given_] = rng.normal(self._mean(Z), self.std_)
        return Z

    def _draw(self, n_samples, rng):
        return self._draw_given(np.zeros((n_samples, self.n_features_in_)), rng)
