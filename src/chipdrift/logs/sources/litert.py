"""LiteRT and TensorFlow Lite: what each delegate took, the compiler plugin, benchmark_model."""

from chipdrift.logs.grammar import Fact, Source, form

_TFLITE = "tensorflow/lite/core/subgraph.cc; mlcommons/mobile_app_open issue 1134"
_BENCHMARK = "tensorflow/lite/tools/benchmark; tensorflow/tensorflow issue 43541"
_LITERT = "google-ai-edge/LiteRT issues 5141, 7858, 7891"

SOURCE = Source(
    name="litert",
    title="LiteRT",
    tags=(b"tflite", b"litert", b"lrt-qc", b"tflite_BenchmarkModelActivity"),
    marks=(b"TensorFlow Lite", b"TfLite", b"LiteRt"),
    forms=(
        form(
            Fact.TAKEN,
            b"node(s) with delegate (",
            rb"Replacing (?P<nodes>\d+) out of (?P<total>\d+) node\(s\) with delegate "
            rb"\((?P<provider>[^)]+)\)(?: node)?(?:, yielding (?P<partitions>\d+) partitions)?",
            _TFLITE,
        ),
        form(
            Fact.TAKEN,
            b"Partitioned subgraph<",
            rb"Partitioned subgraph<\d+>, selected (?P<nodes>\d+) ops, from a total of "
            rb"(?P<total>\d+) ops\. resulted in (?P<partitions>\d+) partitions",
            "google-ai-edge/LiteRT litert/compiler/plugin/compiler_plugin.cc",
            provider="LiteRT compiler plugin",
        ),
        form(
            Fact.ERROR,
            b"Though ",
            rb"(?P<text>Though \S+ delegate is explicitly applied, the model graph will not be "
            rb"executed by the delegate.*)",
            "tensorflow/tensorflow issue 56301",
        ),
        form(
            Fact.ERROR,
            b"Unexpected SoC model: ",
            rb"(?P<text>Unexpected SoC model: .*\S)",
            "google-ai-edge/LiteRT litert/vendors/qualcomm/compiler/qnn_compiler_plugin.cc",
        ),
        form(
            Fact.ERROR,
            b"Unsupported soc model",
            rb"(?P<text>Unsupported soc model .*\S)",
            "google-ai-edge/LiteRT litert/vendors/samsung/soc_model.cc",
        ),
        form(
            Fact.ERROR,
            b"No dispatch library found in ",
            rb"(?P<text>No dispatch library found in .*\S)",
            "google-ai-edge/LiteRT litert/runtime/dispatch/litert_dispatch.cc",
        ),
        form(
            Fact.ERROR,
            b"ERROR: [",
            rb"ERROR: \[\w+\.(?:cc|h):\d+\] (?P<text>.*\S)",
            f"litert/c/internal/litert_logging.cc; {_LITERT}",
        ),
        form(
            Fact.WARNING,
            b"WARNING: [",
            rb"WARNING: \[\w+\.(?:cc|h):\d+\] (?P<text>.*\S)",
            f"litert/c/internal/litert_logging.cc; {_LITERT}",
        ),
        form(
            Fact.ERROR,
            b"ERROR: ",
            rb"^ERROR: (?P<text>(?:Failed to initialize kernel|Encountered unresolved custom op|"
            rb"Node number \d+ \((?P<node>[^)]*)\) failed to ).*)",
            _LITERT,
        ),
        form(
            Fact.ERROR,
            b"[ ERROR ]",
            rb"\d+ms \[ ERROR \]\s+(?P<text>.*\S)",
            "LiteRT's and qnn-context-binary-generator's QNN log; pytorch/executorch issue 1430",
        ),
        form(
            Fact.OPTION,
            b"::qnn::Options: ",
            rb"(?P<name>::qnn::Options): (?P<value>.*\S)",
            "DenisovAV/flutter_gemma issue 293",
        ),
        form(
            Fact.TIME,
            b"Inference timings in us: ",
            rb"(?P<name>Inference \(avg\)): (?P<value>[\d.e+]+)",
            _BENCHMARK,
            kind="phase",
            unit="us",
        ),
        form(
            Fact.TIME,
            b"Initialized session in ",
            rb"(?P<name>Initialized session) in (?P<value>[\d.]+)(?P<unit>ms)",
            _BENCHMARK,
            kind="phase",
        ),
        form(
            Fact.TIME,
            b"%\t  ",
            rb"^(?:.*?tflite\s*: )?\s+(?P<op>[A-Z][\w ()]*?)(?:\s+[\d.]+){1,2}\s+"
            rb"(?P<value>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+[\d.]+\s+\d+\s+"
            rb"\[(?P<node>[^\]]*)\]:\d+\s*$",
            f"benchmark_model's operator-wise profile, run order: {_BENCHMARK}",
            kind="node",
            unit="ms",
        ),
    ),
    chatter=(
        b"Initialized TensorFlow Lite runtime",
        b"Created TensorFlow Lite ",
        b"RegisterAccelerator: ",
        b"accelerator registered.",
        b"Loading shared library: ",
        b"Loading GPU accelerator(",
        b"Dynamically loaded GPU accelerator(",
    ),
)
