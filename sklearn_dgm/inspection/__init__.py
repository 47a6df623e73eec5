"""Pictures of densities, graphs, training, calibration, outliers and images, as scikit-learn's displays draw them."""

from sklearn_dgm.inspection._bayes_net import BayesianNetworkDisplay
from sklearn_dgm.inspection._calibration import CalibrationDisplay
from sklearn_dgm.inspection._density import DensityDisplay
from sklearn_dgm.inspection._images import ImagesDisplay
from sklearn_dgm.inspection._outlier import OutlierDisplay
from sklearn_dgm.inspection._training import TrainingDisplay

__all__ = [
    "BayesianNetworkDisplay",
    "CalibrationDisplay",
    "DensityDisplay",
    "ImagesDisplay",
    "OutlierDisplay",
    "TrainingDisplay",
]
