"""ExecuTorch's Qualcomm backend: the partitioner's answer per op, the chip it asks for."""

from chipdrift.logs.grammar import Fact, Source, form

SOURCE = Source(
    name="executorch",
    title="ExecuTorch's Qualcomm backend",
    tags=(b"[Qnn ExecuTorch]",),
    marks=(b"[Qnn ExecuTorch]", b"[QNN Partitioner Op Support]"),
    forms=(
        form(
            Fact.REFUSED,
            b"[QNN Partitioner Op Support]",
            rb"\[QNN Partitioner Op Support\]: (?P<op>\S+) \| False",
            "pytorch/executorch backends/qualcomm/partition",
            by="QNN partitioner",
        ),
        form(
            Fact.ASSIGNED,
            b"[QNN Partitioner Op Support]",
            rb"\[QNN Partitioner Op Support\]: (?P<op>\S+) \| True",
            "pytorch/executorch backends/qualcomm/partition",
            provider="QNN partitioner",
        ),
        form(
            Fact.CHIP,
            b"Get soc info for soc ",
            rb"Get soc info for soc (?:model (?P<soc_model>\d+)|htp arch (?P<arch>\d+))",
            "pytorch/executorch backends/qualcomm/runtime",
        ),
        form(
            Fact.ERROR,
            b"Request feature arch with value",
            rb"(?P<text>Request feature arch with value \d+ unsupported)",
            "pytorch/executorch issue 16465",
        ),
        form(
            Fact.ERROR,
            b"QNN context cache is invalid",
            rb"(?P<text>QNN context cache is invalid\.?.*)",
            "pytorch/executorch backends/qualcomm/runtime",
        ),
        form(
            Fact.ERROR,
            b"graph requires estimated allocation of",
            rb"(?P<text>graph requires estimated allocation of .*\S)",
            "pytorch/executorch issue 16465",
        ),
        form(
            Fact.ERROR,
            b"has incorrect Value",
            rb"(?P<text>\[\d+\] has incorrect Value \d+, expected .*\S)",
            "pytorch/executorch issue 9084",
        ),
        form(
            Fact.ERROR,
            b"Fail to compile QNN graph",
            rb"(?P<text>Fail to compile QNN graph.*)",
            "pytorch/executorch backends/qualcomm/runtime",
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"[ERROR] [Qnn ExecuTorch]",
            rb"\[ERROR\] \[Qnn ExecuTorch\]:\s*(?P<text>.*\S)",
            "microsoft/T-MAC issue 102",
        ),
        form(
            Fact.WARNING,
            b"[WARNING] [Qnn ExecuTorch]",
            rb"\[WARNING\] \[Qnn ExecuTorch\]:\s*(?P<text>.*\S)",
            "pytorch/executorch issue 8640",
        ),
    ),
    chatter=(
        b"[Qnn ExecuTorch]: create QNN Logger with log_level",
        b"[Qnn ExecuTorch]: Caching: Caching is in ",
        b"[Qnn ExecuTorch]: Destroy Qnn ",
        b"[Qnn ExecuTorch]: Running level=",
        b"[Qnn ExecuTorch]: Initialize Qnn ",
    ),
)
