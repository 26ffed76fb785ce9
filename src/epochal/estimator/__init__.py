"""scikit-learn's conventions: `Classifier`."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(__name__, classifier="Classifier")
