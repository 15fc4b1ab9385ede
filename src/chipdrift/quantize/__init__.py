"""A model, a scheme and calibration samples become the model that every target gets."""

from chipdrift.quantize.apply import QuantizedModel, apply_scheme, quantizer_versions
from chipdrift.quantize.prepare import Preparation
from chipdrift.quantize.reference import float_answers, prepared_model

__all__ = [
    "Preparation",
    "QuantizedModel",
    "apply_scheme",
    "float_answers",
    "prepared_model",
    "quantizer_versions",
]
