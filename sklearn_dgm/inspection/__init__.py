"""Pictures of densities, of their graphs, training and outliers, as scikit-learn's displays draw them."""

from sklearn_dgm.inspection._bayes_net import BayesianNetworkDisplay
from sklearn_dgm.inspection._density import DensityDisplay
from sklearn_dgm.inspection._outlier import OutlierDisplay
from sklearn_dgm.inspection._training import TrainingDisplay

__all__ = ["BayesianNetworkDisplay", "DensityDisplay", "OutlierDisplay", "TrainingDisplay"]
