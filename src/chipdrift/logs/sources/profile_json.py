"""onnxruntime's profile (``enable_profiling``): one JSON event a line, times by node.

A profile that was formatted anew is brought to one event a line before it gets here.
"""

from chipdrift.logs.grammar import Fact, Source, form

_PROFILER = "onnxruntime core/common/profiler.cc; seen with 1.31"

SOURCE = Source(
    name="profile_json",
    title="onnxruntime's profile",
    forms=(
        form(
            Fact.EVENT, b'"cat"', rb'^\s*[\[,]*\s*(?P<event>\{.*"cat"\s*:.*\}),?\]?\s*$', _PROFILER
        ),
    ),
)
