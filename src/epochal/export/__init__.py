"""Export: a trained model for other programs."""

from epochal.system.facade import facade

__getattr__, __dir__, __all__ = facade(__name__, exporting="export Check Exported Format columns")
