"""``onnxruntime_perf_test``: seconds and milliseconds of a session and of its inferences."""

from chipdrift.logs.grammar import Fact, Source, form

_RUNNER = "onnxruntime test/perftest/performance_runner.cc; microsoft/onnxruntime issue 17313"

SOURCE = Source(
    name="perf_test",
    title="onnxruntime_perf_test",
    forms=(
        form(
            Fact.TIME,
            b"inference time cost",
            rb"(?P<name>(?:First|Average) inference time cost(?: total)?): ?(?P<value>[\d.e+-]+) "
            rb"(?P<unit>m?s)\b",
            _RUNNER,
            kind="phase",
        ),
        form(
            Fact.TIME,
            b"Session creation time cost",
            rb"(?P<name>Session creation time cost): ?(?P<value>[\d.e+-]+) (?P<unit>m?s)\b",
            _RUNNER,
            kind="phase",
        ),
        form(
            Fact.TIME,
            b" Latency",
            rb"(?P<name>(?:Min|Max|P\d+) Latency)(?::| is) ?(?P<value>[\d.e+-]+) "
            rb"(?P<unit>s)(?:ec)?",
            _RUNNER,
            kind="phase",
        ),
        form(
            Fact.TIME,
            b"time_cost_total:",
            rb"iteration:\d+,.*time_cost_total:(?P<value>[\d.e+-]+)",
            _RUNNER,
            kind="phase",
            name="iteration",
            unit="s",
        ),
        form(
            Fact.NOTHING,
            b"otal inference ",
            rb"Total inference (?:time cost|requests|run time): ?[\d.e+-]+",
            _RUNNER,
        ),
        form(
            Fact.OPTION,
            b"Number of inferences per second",
            rb"(?P<name>Number of inferences per second): ?(?P<value>[\d.e+-]+)",
            _RUNNER,
        ),
        form(
            Fact.OPTION,
            b"Avg CPU usage",
            rb"(?P<name>Avg CPU usage): ?(?P<value>\d+ ?%)",
            _RUNNER,
        ),
        form(
            Fact.OPTION,
            b"Peak working set size",
            rb"(?P<name>Peak working set size): ?(?P<value>\d+ bytes)",
            _RUNNER,
        ),
    ),
)
