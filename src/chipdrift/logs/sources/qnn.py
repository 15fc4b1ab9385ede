"""Qualcomm's QNN backends, whoever prints their lines: chip, versions, stages, errors.

QNN's own errors reach onnxruntime's log at the level VERBOSE, so the letter between angle brackets
is what counts. A trap: "Detected Snapdragon SOC" is what the backend found before the program chose
a chip; the simulator says SM8350 there whatever chip it then simulates.
"""

from chipdrift.logs.grammar import Fact, Source, form

_SEEN = "QNN 2.51's HTP backend, seen in onnxruntime's verbose log"
_PREPARE = "microsoft/onnxruntime issue 24876, pytorch/executorch issue 1430"

SOURCE = Source(
    name="qnn",
    title="QNN",
    tags=(b"QnnDsp", b"QnnHtp", b"QnnGpu", b"QnnCpu", b"qnn"),
    marks=(b"QnnDsp ", b"QnnHtp ", b"QnnGpu ", b"QnnCpu ", b" QnnLogging] ", b"[qnn_"),
    forms=(
        form(
            Fact.CHIP,
            b"SoC model name is ",
            rb"SoC model name is (?P<soc>\w+)",
            _SEEN,
        ),
        form(
            Fact.CHIP,
            b"DSP arch (min_arch) = ",
            rb"DSP arch \(min_arch\) = (?P<arch>[1-9]\d*)",
            _SEEN,
        ),
        form(
            Fact.CHIP,
            b"Detected Snapdragon SOC ",
            rb"Detected Snapdragon SOC (?P<detected>.*?) with \d+ SOCs",
            _SEEN,
        ),
        form(
            Fact.CHIP,
            b"soc_model:",
            rb"soc_model:(?P<soc_model>\d+)\((?P<soc>\w+)\), htp_arch:(?P<arch>\d+)\(\w+\), "
            rb"vtcm_size:(?P<vtcm_mb>\d+) MB",
            "pytorch/executorch issue 3949 (llama.cpp's QNN backend)",
        ),
        form(
            Fact.CHIP,
            b"set by custom config is different from arch",
            rb"different from arch associated with SoC (?P<soc_model>\d+), will overwrite it to "
            rb"(?:0\b|(?P<arch>\d+))",
            f"{_SEEN}; pytorch/executorch issue 8640",
        ),
        form(
            Fact.VERSION,
            b"hexnn version: hexnn_ver_",
            rb"hexnn version: hexnn_ver_(?P<version>v[\d.]*\d)",
            _SEEN,
            what="hexnn",
        ),
        form(
            Fact.TIME,
            b"Completed stage: ",
            rb"Completed stage: (?P<name>.*?) \((?P<value>\d+) (?P<unit>us)\)",
            f"{_SEEN}; krrishnarraj/clpeak issue 197",
            kind="phase",
        ),
        form(
            Fact.TIME,
            b"qnn_profile: [",
            rb"qnn_profile: \[ROOT\]\[(?P<name>[^\]]*)\] \w+ : (?P<value>\d+) (?P<unit>US|CYCLES)",
            "chraac/llama.cpp issue 34",
            kind="phase",
        ),
        form(
            Fact.NOTHING,
            b"qnn_profile: [",
            rb"qnn_profile: \[.*\] \w+ : \d+ (?:COUNT|BYTES|OBJECT)",
            "chraac/llama.cpp issue 34",
        ),
        form(
            Fact.ERROR,
            b" generated: ",
            rb'<E> (?P<text>"(?P<node>[^"]+)" generated: .*\S)',
            "pytorch/executorch issue 1430, microsoft/onnxruntime pull request 20628",
        ),
        form(
            Fact.ERROR,
            b"Failed to validate op ",
            rb"(?P<text>Failed to validate op (?P<node>\S+) with error .*\S)",
            _SEEN,
        ),
        form(
            Fact.ERROR,
            b" master op validator ",
            rb"(?P<text>validateNativeOps \w+ op validator (?P<node>[^:]*):\S+ failed.*\S)",
            _SEEN,
        ),
        form(
            Fact.ERROR,
            b"Failed to finalize graph (id",
            rb"(?P<text>Failed to finalize graph \(id.*\S)",
            "pytorch/executorch issue 1430, microsoft/onnxruntime issue 24876",
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"<E> ",
            rb"(?:Qnn\w+|\]:?|\[E\]|\s)\s*<E> +(?P<text>.*\S)",
            f"{_SEEN}; pytorch/executorch issue 9084",
        ),
        form(Fact.ERROR, b":ERROR:", rb"\w+\.\w+:\d+:+ERROR:\s*(?P<text>.*\S)", _PREPARE),
        form(
            Fact.ERROR,
            b"Failed to create transport for device, error",
            rb"(?P<text>Failed to create transport for device, error.*\S)",
            "pytorch/executorch issue 21586",
        ),
        form(
            Fact.ERROR,
            b"No Snapdragon SOC detected",
            rb"(?P<text>No Snapdragon SOC detected.*)",
            "pytorch/executorch issue 21586",
        ),
        form(
            Fact.WARNING,
            b"<W> ",
            rb"(?:Qnn\w+|\]:?|\[W\]|\s)\s*<W> +(?P<text>.*\S)",
            f"{_SEEN}; pytorch/executorch issue 8640",
        ),
        form(Fact.WARNING, b":WARNING:", rb"\w+\.\w+:\d+:+WARNING:\s*(?P<text>.*\S)", _PREPARE),
    ),
    chatter=(
        b"<V> Deactivated logger with handle",
        b"<V> Wake up free backend",
        b"<V> check for mandatory ",
        b"<V> check non-mandatory ",
        b"<V> check parameter constraints",
        b"<I> QnnTensor_createGraphTensor ",
        b"<I> QnnBackend_validateOpConfig ",
        b"<I> QnnGraph_addNode ",
        b"<I> QnnGraph_execute ",
        b"<V> RouterX86 ",
        b"Starting stage: ",
        b"] Validating Input",
        b"] Validating Output",
        b"] Validating Param",
        b"] Validating tensor ",
        b":Option: ",
        b"<V> key found in multimap: ",
        b"<V> check if SocModel support",
        b"] validate OpConfig with QnnGraphTransformerAdapter",
        b"<V> Set opvalidator socModel ",
        b"<V> RouterNative ",
        b"<V> gpe_",
        b"] Add Graph tensor with QnnGraphTransformerAdapter",
        b"] Add Graph Node with QnnGraphTransformerAdapter",
        b"<V> registered validator failed => ",
        b"<V> constructSubgraphConst data with id ",
        b"<V> Check additional output constraints",
        b"<V> Check quantized parameter constraints",
        b"<V> Checking input and output constraints for ",
        b"<V> validateNativeOps supplement op validator success.",
        b" appending graph tensor ",
        b"<V> qnn_uint_32 to htp_int32",
        b" used as output with hexagon_nn_input[",
        b"<V> Set sanitized tensor type ",
        b"<V> Graph I/O tensor (ID ",
        b"] Validating Op Type ",
        b"<V> Validating Native Op ",
        b"<V> Validating Op Config ",
        b"] graph.cc:",
        b"] vtcm_wrapper.cc:",
        b"] os_linux.cc:",
        b":tensors_in[",
        b":tensors_out[",
        b"<I> Number of existing contexts: ",
        b"<V> TypicalOp ",
        b"<V> Batch sequences determined will need: ",
        b" with init graph option: ",
    ),
)
