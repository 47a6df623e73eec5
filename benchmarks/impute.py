"""Filling in cells that were masked at random, and predicting one column, beside scikit-learn's ways.

Mixed tables, complete as for `likelihood --suite mixed` (columns of more than 50 categories left out), are split into
70 % and 30 % of the rows. The same share of the cells is masked in both; imputers are fitted to the first and judged by
the masked cells of the second, numbers in standard deviations of the first.

rmse      of the mean imputation of numbers.
crps      of the imputations of numbers as a sample; for a single one, the absolute error.
log_loss  of categories, in nats: the frequencies of the imputations, or the weights of the categories where an imputer
          gives such, with 5 % of the mass spread evenly.

scikit-learn's imputers see categories one-hot, less the last. Besides, `predict_column` of the label of adult is set
beside HistGradientBoostingClassifier.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import log_loss

import sklearn_dgm
from benchmarks import data
from benchmarks._measure import seconds_of
from benchmarks.mixed_peers import is_categorical
from benchmarks.peers import OURS
from benchmarks.results import Results, version_of
from benchmarks.synthetic import as_features, classifier

MAX_CATEGORIES = 50
SMOOTHING = 0.05


def add_arguments(parser):
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--only", nargs="+", help="names of tables, such as titanic")
    parser.add_argument("--peers", nargs="+", default=list(IMPUTERS), help="who imputes")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 0.5], help="masked")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of split and mask")
    parser.add_argument("--max-rows", type=int, default=2000, help="rows of a table at most")
    parser.add_argument("--n-draws", type=int, default=20, help="imputations of those who draw")


def run(args):
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = Results("impute", args.results)
    for name, frame in data.mixed_tables(args.data):
        if args.only is not None and name not in args.only:
            continue
        table = data.complete_table(frame)
        for seed in args.seeds:
            if name == "adult":
                measure_prediction(results, name, table, seed, args.max_rows)
            for share in args.shares:
                masked = MaskedTable(table, share, seed, args.max_rows)
                for peer in args.peers:
                    measure(results, name, masked, peer, seed, args.n_draws)


class MaskedTable:
    """Two parts of a table with masked cells, as frames and as numbers with categories one-hot.

    Parameters
    ----------
    table : DataFrame
        A complete table.
    share : float
        Share of the cells to mask.
    seed : int
        Seed of split and mask.
    max_rows : int or None
        Rows at most.
    """

    def __init__(self, table, share, seed, max_rows):
        booleans = table.select_dtypes("bool")
        table = table.astype(dict.fromkeys(booleans, "category"))
        few = [name for name, x in table.items() if _n_numbers(x) <= MAX_CATEGORIES]
        self.template, *others = data.three_parts(table[few], seed, max_rows)
        test = pd.concat(others)
        self.share = share
        rng = np.random.default_rng(seed)
        self.train = self.template.mask(rng.random(self.template.shape) < share)
        self.test_mask = rng.random(test.shape) < share
        self.test = test.mask(self.test_mask)
        numbers = self.train.select_dtypes("number")
        self.location, self.scale = numbers.mean(), numbers.std().replace(0, 1)
        self.truth = self.encode(test)
        # With all categories, regressions would only learn that these add up to 1.
        self.is_free = np.ones(self.truth.shape[1], dtype=bool)
        self.is_free[[block.stop - 1 for block, categorical in self.blocks() if categorical]] = (
            False
        )

    def blocks(self):
        """Positions of each column's numbers, and whether they are a category's."""
        start = 0
        for _, x in self.template.items():
            yield slice(start, start + _n_numbers(x)), is_categorical(x)
            start += _n_numbers(x)

    def encode(self, frame):
        """Numbers standardised and categories one-hot; missing where the cell is missing."""
        return np.concatenate([self._encode(x, frame[n]) for n, x in self.template.items()], axis=1)

    def _encode(self, template, x):
        if not is_categorical(template):
            z = (x.astype(np.float64) - self.location[x.name]) / self.scale[x.name]
            return z.to_numpy()[:, None]
        levels = template.cat.categories
        codes = pd.Categorical(x, categories=levels).codes
        one_hot = np.equal.outer(codes, np.arange(len(levels))).astype(np.float64)
        one_hot[codes < 0] = np.nan
        return one_hot

    def free_numbers(self, frame):
        """Return encoded rows without the last category of each column, which follows from the others."""
        return self.encode(frame)[:, self.is_free]

    def all_numbers(self, free):
        """Return encoded rows from their free numbers."""
        Z = np.zeros((len(free), len(self.is_free)))
        Z[:, self.is_free] = free
        for block, categorical in self.blocks():
            if categorical:
                Z[:, block.stop - 1] = 1 - Z[:, block].sum(axis=1)
        return Z

    def judge(self, draws):
        """Figures of imputations.

        Parameters
        ----------
        draws : ndarray of shape (n_draws, n_rows, n_numbers)
            Encoded test rows, filled in.

        Returns
        -------
        figures : dict of str to float
            Each over all masked cells of its kind; None where the table has no such cells.
        """
        errors, spreads, losses = [], [], []
        for (block, categorical), mask in zip(self.blocks(), self.test_mask.T, strict=True):
            truth, filled = self.truth[mask, block], draws[:, mask, block]
            if categorical:
                chances = np.clip(filled.mean(axis=0), 1e-12, 1)
                chances /= chances.sum(axis=1, keepdims=True)
                chances = (1 - SMOOTHING) * chances + SMOOTHING / chances.shape[1]
                losses.append(-np.log((chances * truth).sum(axis=1)))
            else:
                errors.append((filled.mean(axis=0) - truth)[:, 0])
                spreads.append(crps(filled[..., 0], truth[:, 0]))
        figures = {
            "rmse": np.sqrt(np.mean(np.concatenate(errors) ** 2)) if errors else None,
            "crps": np.concatenate(spreads).mean() if spreads else None,
            "log_loss": np.concatenate(losses).mean() if losses else None,
        }
        return {k: None if v is None else round(float(v), 4) for k, v in figures.items()}


def _n_numbers(x):
    """How many numbers a column becomes."""
    return len(x.cat.categories) if is_categorical(x) else 1


def crps(draws, truth):
    """Continuous ranked probability score of draws: mean |x - y| less half the mean |x - x'|.

    Parameters
    ----------
    draws : ndarray of shape (n_draws, n)
        Draws.
    truth : ndarray of shape (n,)
        What came.

    Returns
    -------
    scores : ndarray of shape (n,)
        Zero is best.
    """
    m = len(draws)
    ordered = np.sort(draws, axis=0)
    weights = 2 * np.arange(1, m + 1) - m - 1  # sum over pairs, of sorted numbers
    return np.abs(draws - truth).mean(axis=0) - weights @ ordered / m**2


def measure(results, name, masked, peer, seed, n_draws):
    """Impute, and add the figures, or why there are none."""
    package, impute = IMPUTERS[peer]
    record = {"data": name, "case": f"{masked.share:.0%}", "seed": seed, "peer": peer}
    record |= {"version": version_of(package), "columns": masked.template.shape[1]}
    record["rows"] = len(masked.train) + len(masked.test)

    def fill_and_judge():
        draws, seconds = seconds_of(partial(impute, masked, seed, n_draws))
        figures = masked.judge(draws)
        notes = f"{len(draws)} imputations" if len(draws) > 1 else ""
        return figures | {"fit_seconds": round(seconds, 2), "notes": notes}

    results.attempt(record, fill_and_judge)


def impute_once(imputer, masked, seed, n_draws):
    train, test = masked.free_numbers(masked.train), masked.free_numbers(masked.test)
    # A column that is masked throughout is kept, so that the numbers stay in place.
    imputer = clone(imputer).set_params(keep_empty_features=True)
    return masked.all_numbers(imputer.fit(train).transform(test))[None]


def impute_by_posterior(masked, seed, n_draws):
    imputer = IterativeImputer(sample_posterior=True, keep_empty_features=True, random_state=seed)
    imputer.fit(masked.free_numbers(masked.train))
    test = masked.free_numbers(masked.test)
    return np.stack([masked.all_numbers(imputer.transform(test)) for _ in range(n_draws)])


def impute_by_density(masked, seed, n_draws):
    density = sklearn_dgm.AutoregressiveDensity(random_state=seed)
    imputer = sklearn_dgm.DensityImputer(density, strategy="draw").fit(masked.train)
    draws = (imputer.set_params(random_state=i).transform(masked.test) for i in range(n_draws))
    return np.stack([masked.encode(draw) for draw in draws])


IMPUTERS = {
    "DensityImputer": ("sklearn-dgm", impute_by_density),
    "mean and frequencies": ("scikit-learn", partial(impute_once, SimpleImputer())),
    "KNNImputer": ("scikit-learn", partial(impute_once, KNNImputer())),
    "IterativeImputer": ("scikit-learn", partial(impute_once, IterativeImputer(random_state=0))),
    "IterativeImputer, posterior": ("scikit-learn", impute_by_posterior),
}


def measure_prediction(results, name, table, seed, max_rows):
    """Log-loss of one column given all others, beside a classifier that is made for it."""
    label = data.LABELS[name]
    train, *others = data.three_parts(table, seed, max_rows)
    test = pd.concat(others)
    for peer, (package, predict) in PREDICTORS.items():
        record = {"data": f"{name}: {label}", "case": "one column", "seed": seed, "peer": peer}
        record |= {"version": version_of(package), "rows": len(train) + len(test)}
        record["columns"] = table.shape[1]
        results.attempt(record, partial(predict_and_judge, predict, train, test, label, seed))


def predict_and_judge(predict, train, test, label, seed):
    """Figures of one fit."""
    chances, seconds = seconds_of(lambda: predict(train, test, label, seed))
    loss = log_loss(test[label].astype(str), chances.to_numpy(), labels=list(chances))
    return {"log_loss": round(float(loss), 4), "fit_seconds": round(seconds, 2)}


def predict_by_density(train, test, label, seed):
    density = sklearn_dgm.AutoregressiveDensity(random_state=seed).fit(train)
    predicted = density.predict_column(test, label)
    return _by_category(predicted.probabilities, predicted.categories)


def predict_by_boosting(train, test, label, seed):
    both, few = as_features(pd.concat([train, test]).drop(columns=label))
    X, X_test = both[: len(train)], both[len(train) :]
    boosting = classifier(few, seed).fit(X, train[label].astype(str))
    return _by_category(boosting.predict_proba(X_test), boosting.classes_)


def _by_category(probabilities, categories):
    """Probabilities with their categories as sorted names of columns."""
    frame = pd.DataFrame(probabilities, columns=[str(value) for value in categories])
    return frame[sorted(frame)]


PREDICTORS = {
    OURS: ("sklearn-dgm", predict_by_density),
    "HistGradientBoostingClassifier": ("scikit-learn", predict_by_boosting),
}
