"""Pictures of densities, graphs, trees, topics, training, calibration and outliers, in scikit-learn's manner."""

from sklearn_dgm.inspection._bayes_net import BayesianNetworkDisplay
from sklearn_dgm.inspection._calibration import CalibrationDisplay
from sklearn_dgm.inspection._density import DensityDisplay
from sklearn_dgm.inspection._outlier import OutlierDisplay
from sklearn_dgm.inspection._parse_tree import ParseTreeDisplay
from sklearn_dgm.inspection._topics import TopicsDisplay
from sklearn_dgm.inspection._training import TrainingDisplay

__all__ = [
    "BayesianNetworkDisplay",
    "CalibrationDisplay",
    "DensityDisplay",
    "OutlierDisplay",
    "ParseTreeDisplay",
    "TopicsDisplay",
    "TrainingDisplay",
]
