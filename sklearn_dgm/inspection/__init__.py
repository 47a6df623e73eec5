"""Pictures of densities, of their graphs and of their training, as scikit-learn's displays draw them."""

from sklearn_dgm.inspection._bayes_net import BayesianNetworkDisplay
from sklearn_dgm.inspection._density import DensityDisplay
from sklearn_dgm.inspection._training import TrainingDisplay

__all__ = ["BayesianNetworkDisplay", "DensityDisplay", "TrainingDisplay"]
