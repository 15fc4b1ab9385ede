"""QDQ ONNX models as TFLite files of the same integers. Importing it needs ai-edge-litert."""

from chipdrift.tflite.convert import Converted, Port, convert_file, to_tflite
from chipdrift.tflite.errors import UnwritableError

__all__ = ["Converted", "Port", "UnwritableError", "convert_file", "to_tflite"]
