"""onnxruntime's QNN provider: which node it takes, which it refuses and why, tensors, settings.

A trap: in onnxruntime-qnn the summary's "number of nodes supported by QNN" prints the number of
partitions again, while microsoft/onnxruntime prints nodes. Where the two figures are the same, the
number of nodes is left out.
"""

from chipdrift.logs.grammar import Fact, Source, form

_EP = "onnxruntime/onnxruntime-qnn qnn_execution_provider.cc"
_SEEN = f"{_EP}; seen with onnxruntime-qnn 2.7.0"
_MODEL = "onnxruntime/onnxruntime-qnn builder/qnn_model.cc, qnn_backend_manager.cc"
_QNN = "QNNExecutionProvider"

SOURCE = Source(
    name="onnxruntime-qnn",
    title="onnxruntime's QNN provider",
    forms=(
        form(
            Fact.SETUP,
            b"] Creating QNN EP",
            rb"\] Creating QNN EP",
            "onnxruntime-qnn qnn_provider_factory.cc; seen with 2.7.0",
        ),
        form(
            Fact.VERDICT,
            b"Validation ",
            rb"Validation (?P<verdict>PASSED|FAILED) for (?P<count>\d+) nodes in "
            rb"(?P<group>\w+) \((?P<op>[^)]*)\)",
            _SEEN,
            by=_QNN,
        ),
        form(
            Fact.MEMBER,
            b"Operator type: ",
            rb"Operator type: (?P<op>\S+) Node name: (?P<node>.*?) Node index: \d+",
            _SEEN,
        ),
        form(Fact.REASON, b"REASON : ", rb"\bREASON : (?P<reason>.*\S)", _SEEN),
        form(
            Fact.TRYING,
            b"QNN node builder is trying to add node",
            rb"trying to add node\. Onnx node name: \[(?P<node>.*?)\] onnx node type: \[",
            "onnxruntime-qnn builder/opbuilder/base_op_builder.cc; seen with 2.7.0",
        ),
        form(
            Fact.ANSWER,
            b"Node supported: [",
            rb"Node supported: \[(?P<verdict>[01])\] index: \[\d*\] name: \[(?P<node>.*?)\] "
            rb"Operator type: \[(?P<op>[^\]]*)\]",
            _EP,
            by=_QNN,
        ),
        form(
            Fact.REFUSED,
            b"is not supported: ",
            rb"(?P<op>\w+) node `(?P<node>[^`]*)` is not supported: (?P<reason>.*\S)",
            "microsoft/onnxruntime issue 22369",
            by=_QNN,
        ),
        form(
            Fact.REFUSED_LIST,
            b"Unsupported nodes in QNN EP: ",
            rb"Unsupported nodes in QNN EP: (?P<nodes>.*\S)",
            _EP,
            by=_QNN,
        ),
        form(
            Fact.TAKEN,
            b"partitions supported by QNN EP: ",
            rb"partitions supported by QNN EP: (?P<partitions>\d+)(?:, number of nodes in the "
            rb"graph: (?P<total>\d+), number of nodes supported by QNN: (?P<nodes>\d+))?",
            f"{_EP}; microsoft/onnxruntime of the same name",
            provider=_QNN,
        ),
        form(
            Fact.TENSOR,
            b"type=QNN_TENSOR_TYPE_",
            rb" name=(?P<tensor>\S+) id=\d+ version=\d+ type=QNN_TENSOR_TYPE_\w+ dataFormat=\d+ "
            rb"dataType=QNN_DATATYPE_(?P<dtype>\w+) .*?quantizeParams: (?P<rest>.*)",
            "onnxruntime-qnn builder/qnn_def.cc, as printed of every QNN op; seen with 2.7.0",
        ),
        form(
            Fact.VERSION,
            b"Backend build version: ",
            rb"Backend build version: (?P<version>\S+)",
            _MODEL,
            what="QNN SDK",
        ),
        form(
            Fact.VERSION,
            b"Found valid interface, version: ",
            rb"Found valid interface, version: (?P<version>\S+) backend provider name: "
            rb"(?P<what>\S+)",
            _MODEL,
        ),
        form(
            Fact.CHIP,
            b"User specified soc_model: ",
            rb"User specified soc_model: (?P<soc_model>\d+)",
            _SEEN,
        ),
        form(
            Fact.OPTION,
            b"User specified ",
            rb"User specified (?:option - |ep\.\w+\.)?(?P<name>\w[\w -]*?): (?P<value>.*\S)",
            _SEEN,
        ),
        form(
            Fact.ERROR,
            b"Failed to finalize QNN graph",
            rb"(?P<text>Failed to finalize QNN graph.*\S)",
            _MODEL,
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"QNN graph execute error",
            rb"(?P<text>(?:NPU crashed\. SSR detected\. Caused )?QNN graph execute error.*\S)",
            _MODEL,
            stops="run",
        ),
        form(
            Fact.ERROR,
            b"QNN SetupBackend failed",
            rb"(?P<text>QNN SetupBackend failed.*\S)",
            _EP,
        ),
        form(
            Fact.ERROR,
            b"Qnn CPU backend is loaded",
            rb"(?P<text>Qnn CPU backend is loaded.*\S)",
            _EP,
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"oth parameters must be set together",
            rb"(?P<text>(?:FP16|BF16).*[Bb]oth parameters must be set together.*\S)",
            _EP,
        ),
        form(
            Fact.WARNING,
            b"() failed for node `",
            rb"(?P<text>QNN\.\w+\(\) failed for node `(?P<node>[^`]*)`.*\S)",
            "onnxruntime-qnn builder/qnn_model_wrapper.cc; seen with 2.7.0",
        ),
    ),
    chatter=(
        b" node_inputs:",
        b" node_outputs:",
        b" node_params:",
        b" type=QNN_PARAMTYPE_SCALAR ",
        b"] Qnn_OpConfig node name: ",
        b"] Add parameter tensor: ",
        b"] Tensor already added, skip it: ",
        b" CreateQnnInputOutputTensors] Tensor: ",
        b" CreateQnnParamTensors] Tensor: ",
        b"] Setting Qnn_Tensor_t clientBuf ",
        b"] Qnn tensor size: ",
        b"] QnnModel::ExecuteGraphs",
        b"] Start execute QNN graph:",
        b"] GetCapability pass ",
        b"] Backend setup already!",
        b"] Created Qnn graph: ",
        b"] Compose Qnn Graph.",
        b"] LoadBackend succeed.",
        b"] CreateDevice succeed.",
        b"] FinalizeGraphs started.",
        b"] FinalizeGraphs completed.",
        b"] Context cache enable: ",
        b"] Setting up QNN input/output for graph: ",
    ),
)
