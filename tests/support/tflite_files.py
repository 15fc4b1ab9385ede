"""What a TFLite file says, by the schema of the installed LiteRT."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema
from qdq_models import Qdq

from chipdrift.tflite import to_tflite


def operators(model: Qdq, opset: int = 18) -> list[str]:
    """The TFLite operators, in order."""
    parsed = parse(to_tflite(model.model(opset)).data)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    codes = [names[code.builtinCode] for code in parsed.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in parsed.subgraphs[0].operators]


def parse(data: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
