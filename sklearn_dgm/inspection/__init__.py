"""Pictures of densities, graphs, trees, topics, images, training, calibration and outliers, as displays."""

from sklearn_dgm.inspection._bayes_net import BayesianNetworkDisplay
from sklearn_dgm.inspection._calibration import CalibrationDisplay
from sklearn_dgm.inspection._density import DensityDisplay
from sklearn_dgm.inspection._images import ImagesDisplay
from sklearn_dgm.inspection._outlier import OutlierDisplay
from sklearn_dgm.inspection._parse_tree import ParseTreeDisplay
from sklearn_dgm.inspection._topics import TopicsDisplay
from sklearn_dgm.inspection._training import TrainingDisplay

__all__ = [
    "BayesianNetworkDisplay",
    "CalibrationDisplay",
    "DensityDisplay",
    "ImagesDisplay",
    "OutlierDisplay",
    "ParseTreeDisplay",
    "TopicsDisplay",
    "TrainingDisplay",
]
