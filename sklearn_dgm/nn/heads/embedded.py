"""Softmax over very many codes."""

import numpy as np
import torch
from torch import nn

from sklearn_dgm.nn.heads.categorical import CategoricalHead
from sklearn_dgm.nn.heads.head import LinearStart
from sklearn_dgm.nn.inputs import EMBEDDING_SIZE


class EmbeddedHead(CategoricalHead):
    """Softmax over very many codes, whose logits are the products of a short vector with one of each code.

    A logit for each code would be a parameter of the network, with weights from every hidden unit.

    Parameters
    ----------
    n_levels : list of int
        Number of codes of each of the m columns.
    unknown_share : Tensor of shape (m,)
        Probability that a column's code is none of them (-1), whatever the parents are.

    Attributes
    ----------
    start : Tensor of shape (m, max(n_levels))
        Logits where training starts; as in the linear path, no parameter.
    """

    n_params = EMBEDDING_SIZE
    is_binary = False

    def __init__(self, n_levels, unknown_share=None):
        super().__init__(n_levels, unknown_share=unknown_share)
        shape = len(n_levels), self.max_levels
        self.level_weight = nn.Parameter(torch.randn(*shape, EMBEDDING_SIZE) / EMBEDDING_SIZE**0.5)
        self.level_bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("start", torch.zeros(shape))

    @classmethod
    def takes(cls, variable, family):
        """Tell whether a variable has very many categories."""
        return variable.is_embedded

    @classmethod
    def of(cls, variables, n_components, family, is_linear):
        """Return a head for some columns; see :meth:`Head.of`."""
        unknown_share = torch.tensor([v.unknown_share for v in variables])
        return cls([v.n_levels for v in variables], unknown_share)

    @property
    def width(self):
        """A logit for each code."""
        return self.max_levels

    def start_from(self, columns, simple):
        """Start from the marginals, whatever the parents are; see :meth:`Head.start_from`."""
        for i, j in enumerate(columns):
            log_p = np.log(simple.marginals[j])
            self.start[i, : len(log_p)] = torch.from_numpy(log_p)
            yield LinearStart(np.zeros(self.n_params))

    def _logits(self, params, columns):
        weight = self.level_weight[columns]
        bias = self.start[columns] + self.level_bias[columns]
        if weight.ndim == 2:  # of one column
            return super()._logits(params @ weight.T + bias, columns)
        return super()._logits(torch.einsum("...mk,mlk->...ml", params, weight) + bias, columns)
