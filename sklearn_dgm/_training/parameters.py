"""The parameters of training that estimators share: what docstrings say of them, and how they are handed on."""

import inspect
import textwrap
from numbers import Integral
from string import Template

PLACEHOLDER = "$training_parameters"
DESCRIPTIONS = Template(
    """\
max_epochs : int, default=$max_epochs
    Passes over the rows at most, for each network; of more than 65,536 rows a pass takes so many at random.
lr : float, default=$lr
    Learning rate of AdamW.
batch_size : int or "auto", default=$batch_size
    Rows of a minibatch; "auto" leaves about $n_steps of an epoch, of $batch_rows rows each.
weight_decay : float, default=$weight_decay
    Decoupled weight decay, on weights and not on biases.
early_stopping : bool, default=$early_stopping
    Whether to keep a part of the rows for validation, to stop when they get no better (a likelihood no longer rises),
    and to keep the weights that were best for them, be it those that training started from. Without it all rows train
    for `max_epochs`.
validation_fraction : float, default=$validation_fraction
    Share of the rows kept for validation, at most 10,000 of them; other ones for each network.
n_iter_no_change : int, default=$n_iter_no_change
    Epochs without progress on the validation rows after which training stops.
device : str or torch.device, default=$device
    Where to compute: "cpu", "cuda", "cuda:1", ...; "auto" takes a CUDA device if there is one. "accelerate" trains by
    the processes, and on their devices, that `accelerate launch` has started; see docs/long_fits.md.
warm_start : bool, default=$warm_start
    Whether `fit` continues from the weights of the previous fit, with its schema and all that it settled before
    training; rows that validated then validate again. A parameter that would change the network is refused. A fit
    interrupted by Ctrl-C keeps the best weights so far; without `warm_start` the estimator is as it was before.
verbose : int, default=$verbose
    Whether to print a line an epoch, and how far a long question (`predict_column`, `conditional_sample`, ...) is.
callbacks : list of skorch callbacks, default=$callbacks
    Further callbacks for the skorch net; it gets copies. A :class:`~sklearn_dgm.Checkpoint` among them lets a fit that
    was killed go on.
net_params : dict, default=$net_params
    Further parameters for :class:`skorch.NeuralNet`, such as ``{"optimizer": torch.optim.SGD}``; none that the
    estimator has itself.
random_state : int, RandomState instance or None, default=$random_state
    Seed of initialisation, split, shuffling and dropout."""
)

# Parameters that may be a matter of the effort, and their types.
OF_EFFORT = {"max_epochs": "int", "lr": "float", "n_iter_no_change": "int"}
UNTIL_PROGRESS = "Epochs without progress on the validation rows after which training stops."


def describe_training(cls):
    """Put the training parameters, with the defaults of the class, where its docstring has ``$training_parameters``.

    Parameters
    ----------
    cls : type
        An estimator that trains a network.

    Returns
    -------
    cls : type
        The same.
    """
    if cls.__doc__ is None:  # python -OO
        return cls
    parameters = inspect.signature(cls).parameters.values()
    defaults = {
        p.name: f'"{p.default}"' if isinstance(p.default, str) else p.default for p in parameters
    }
    described = DESCRIPTIONS.substitute(defaults, n_steps=cls._n_steps, batch_rows=cls._batch_rows)
    for name, kind in OF_EFFORT.items():
        plain = f"{name} : {kind}, default="
        described = described.replace(
            f'{plain}"auto"', f'{name} : {kind} or "auto", default="auto"'
        )
    if "effort" in defaults:
        described = described.replace(
            UNTIL_PROGRESS,
            f'{UNTIL_PROGRESS} "auto", here, for `lr` and for\n    `max_epochs`, is what `effort` says.',
        )
    (line,) = (line for line in cls.__doc__.splitlines() if line.strip() == PLACEHOLDER)
    indented = textwrap.indent(described, line.removesuffix(PLACEHOLDER))
    cls.__doc__ = cls.__doc__.replace(line, indented)
    return cls


def layer_sizes(value, name):
    """Return the sizes of hidden layers, of which one may be given as a number.

    Parameters
    ----------
    value : array-like of int or int
        What an estimator was given.
    name : str
        The parameter.

    Returns
    -------
    sizes : tuple of int
        All of them positive.
    """
    sizes = (value,) if isinstance(value, Integral) else tuple(value)
    if not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ValueError(f"{name} should be positive integers, got {value!r}.")
    return tuple(map(int, sizes))


def handed_on(arguments, *own):
    """Return the arguments of an `__init__` that are for that of its base class.

    An estimator has to spell out all of its parameters, as scikit-learn reads them in the signature; so at least it
    need not name those of its base classes twice more.

    Parameters
    ----------
    arguments : dict
        What `locals()` is in the first line of the `__init__`.
    *own : str
        Parameters that the class has itself.

    Returns
    -------
    others : dict
        All but these.
    """
    return {k: v for k, v in arguments.items() if k not in {"self", "__class__", *own}}
