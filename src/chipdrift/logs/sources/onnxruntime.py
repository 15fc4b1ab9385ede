"""onnxruntime's own log: where each node was placed, which fusions changed the graph, errors."""

from chipdrift.logs.grammar import Fact, Source, form

_STATE = "onnxruntime core/framework/session_state.cc; seen with 1.31"
_LEVEL = "onnxruntime core/common/logging; seen with 1.31, and in Android's logcat"

SOURCE = Source(
    name="onnxruntime",
    title="onnxruntime",
    tags=(b"onnxruntime",),
    marks=(b":onnxruntime:", b"[onnxruntime]", b"[ONNXRuntimeError]"),
    forms=(
        form(
            Fact.SESSION,
            b"] Initializing session.",
            rb"\] Initializing session\.",
            "onnxruntime core/session/inference_session.cc; seen with 1.31",
        ),
        form(
            Fact.READY,
            b"] Session successfully initialized.",
            rb"\] Session successfully initialized\.",
            "onnxruntime core/session/inference_session.cc; seen with 1.31",
        ),
        form(
            Fact.PLACES,
            b"placed on [",
            rb"(?:(?P<all>All nodes )(?:have been )?|Node\(s\) )placed on "
            rb"\[(?P<provider>[^\]]+)\]\.(?: Number of nodes: (?P<nodes>\d+))?",
            _STATE,
        ),
        form(
            Fact.PLACED,
            b"VerifyEachNodeIsAssignedToAnEp]   ",
            rb"AssignedToAnEp\] {3}(?P<op>\S+) \((?P<node>.*)\)\s*$",
            _STATE,
        ),
        form(
            Fact.FUSION,
            b"modified: 1 with status",
            rb"GraphTransformer (?P<name>\w*Fus\w*) modified: 1 with status",
            "onnxruntime core/optimizer/graph_transformer.cc; seen with 1.31",
        ),
        form(
            Fact.ERROR,
            b"was inserted using the NHWC format",
            rb"(?P<text>Node '(?P<node>[^']*)' OpType:\w+ with domain:\S+ was inserted using the "
            rb"NHWC format as requested by \w+, but was not selected by that EP\.)",
            "microsoft/onnxruntime issue 21848; seen with 1.31",
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"assigned to the default CPU EP",
            rb"(?P<text>This session contains graph nodes that are assigned to the default CPU EP"
            rb".*)",
            "microsoft/onnxruntime issue 26845; seen with 1.31",
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"Non-zero status code returned while running ",
            rb"(?P<text>Non-zero status code returned while running .*\S)",
            "onnxruntime core/framework/sequential_executor.cc; seen with 1.31",
            stops="run",
        ),
        form(
            Fact.ERROR,
            b"[E:onnxruntime",
            rb"\[E:onnxruntime:[^\]]*\]\s*(?P<text>.*\S)",
            _LEVEL,
        ),
        form(
            Fact.ERROR,
            b"[F:onnxruntime",
            rb"\[F:onnxruntime:[^\]]*\]\s*(?P<text>.*\S)",
            _LEVEL,
        ),
        form(
            Fact.ERROR,
            b"[ONNXRuntimeError]",
            rb"\[ONNXRuntimeError\] : \d+ : \w+ : (?P<text>.*\S)",
            "onnxruntime's exceptions in Python; seen with 1.31",
            stops="either",
        ),
        form(
            Fact.NOTHING,
            b"[W:onnxruntime",
            rb"\] (?:Some nodes were not assigned to the preferred execution providers|"
            rb"Rerunning with verbose output)",
            _STATE,
        ),
        form(
            Fact.WARNING,
            b"[W:onnxruntime",
            rb"\[W:onnxruntime:[^\]]*\]\s*(?P<text>.*\S)",
            _LEVEL,
        ),
        form(
            Fact.TAKEN,
            b"number of partitions supported by NNAPI",
            rb"number of partitions supported by NNAPI: (?P<partitions>\d+),? number of nodes in "
            rb"the graph: (?P<total>\d+),? number of nodes supported by NNAPI: (?P<nodes>\d+)",
            "onnxruntime core/providers/nnapi/nnapi_builtin/nnapi_execution_provider.cc",
            provider="NnapiExecutionProvider",
        ),
    ),
    chatter=(
        b"VerifyEachNodeIsAssignedToAnEp] Node placements",
        b"] GraphTransformer ",
        b"] Applying graph transformer ",
        b" graph transformer(s) for level ",
        b"] Graph transformer step ",
        b"] No graph transformers registered ",
        b"] Stopping graph transformer iteration ",
        b"] Reserving memory in BFCArena",
        b"] Creating BFCArena ",
        b" bins of max chunk size ",
        b"] Extending BFCArena ",
        b"] Extended allocation by ",
        b"] Total allocated bytes: ",
        b"] Allocated memory at ",
        b"] Removing NodeArg ",
        b"] Removing initializer ",
        b"] Session Options {",
        b"] Flush-to-zero and denormal-as-zero ",
        b"] Creating and using per session threadpools",
        b"] Dynamic block base set ",
        b"] Adding default CPU execution provider.",
        b"] Begin execution",
        b"] Size of execution plan ",
        b"] SaveMLValueNameIndexMapping",
        b"] Done saving OrtValue mappings.",
        b"] Saving initialized tensors.",
        b"] Done saving initialized tensors",
        b"] Use DeviceBasedPartition ",
        b"] Total shared scalar initializer count",
        b"AOT Inlining is not performed",
        b"] Loading EP library: ",
    ),
)
