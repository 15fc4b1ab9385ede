"""QNN's profile: the CSV of onnxruntime and of qnn-profile-viewer, and the viewer's text."""

from chipdrift.logs.grammar import Fact, Source, form

_CSV = "onnxruntime-qnn builder/qnn_profile_serializer.cc; seen with onnxruntime-qnn 2.7.0"
_VIEWER = "Qualcomm QAIRT 80-63442-10 htp_backend.html, and public texts of qnn-profile-viewer"

SOURCE = Source(
    name="qnn_profile",
    title="QNN's profile",
    forms=(
        form(
            Fact.TIME,
            b",SUB-EVENT,",
            rb"^\d+,NODE,(?P<value>\d+),(?P<unit>US|CYCLES),\w+,SUB-EVENT,"
            rb'"?(?P<node>.*?)(?::OpId_\d+)?(?: \(cycles\))?"?\s*$',
            _CSV,
            kind="node",
            runs_on="QNN",
        ),
        form(
            Fact.TIME,
            b"-EVENT,",
            rb"^\d+,[A-Z -]+,(?P<value>\d+),(?P<unit>US|CYCLES),\w+,SUB-EVENT,"
            rb'"?(?P<name>.*?)"?\s*$',
            _CSV,
            kind="phase",
        ),
        form(
            Fact.TIME,
            b",ROOT,",
            rb"^\d+,[A-Z -]+,(?P<value>\d+),(?P<unit>US|CYCLES),\w+,ROOT,"
            rb'"?(?P<name>.*?)"?\s*$',
            _CSV,
            kind="phase",
        ),
        form(
            Fact.NOTHING,
            b",ROOT,",
            rb"^\d+,[A-Z -]+,\d+,(?:BYTES|COUNT|OBJECT|BACKEND),\w+,ROOT,",
            _CSV,
        ),
        form(
            Fact.NOTHING,
            b"-EVENT,",
            rb"^\d+,[A-Z -]+,\d+,(?:BYTES|COUNT|OBJECT|BACKEND),\w+,SUB-EVENT,",
            _CSV,
        ),
        form(
            Fact.TIME,
            b":OpId_",
            rb"^\s*(?P<node>\S.*?):OpId_\d+ \(cycles\): (?P<value>\d+) (?P<unit>cycles)",
            _VIEWER,
            kind="node",
            runs_on="QNN",
        ),
        form(
            Fact.TIME,
            b") time",
            rb"^.*?(?P<name>(?:QNN|RPC|Accelerator|QNN [Aa]ccelerator) \([\w ]+\) time)"
            rb"(?: \(cycles\))?\)?:\s+(?P<value>\d+) (?P<unit>us|cycles)",
            f"{_VIEWER}; also as LiteRT prints it in logcat",
            kind="phase",
        ),
        form(
            Fact.TIME,
            b"NetRun:",
            rb"^\s*(?P<name>NetRun):\s+(?P<value>\d+) (?P<unit>us)",
            _VIEWER,
            kind="phase",
        ),
        form(
            Fact.OPTION,
            b"NetRun IPS:",
            rb"^\s*(?P<name>NetRun IPS):\s+(?P<value>[\d.]+)",
            _VIEWER,
        ),
    ),
    chatter=(
        b"Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level",
        b"Execute Stats (",
        b"Finalize Stats",
        b"Init Stats:",
        b"De-Init Stats:",
        b"--- Total Inference Time:",
    ),
)
