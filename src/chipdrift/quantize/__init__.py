"""A model, a scheme and calibration samples become the model that every target gets."""

from chipdrift.quantize.apply import QuantizedModel, apply_scheme, quantizer_versions

__all__ = ["QuantizedModel", "apply_scheme", "quantizer_versions"]
