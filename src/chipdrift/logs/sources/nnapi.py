"""Android's NNAPI: what the TensorFlow Lite delegate refuses, which device takes which op."""

from chipdrift.logs.grammar import Fact, Source, form

_PLAN = "Android packages/modules/NeuralNetworks ExecutionPlan; tensorflow/tensorflow issue 43541"

SOURCE = Source(
    name="nnapi",
    title="NNAPI",
    tags=(b"ExecutionPlan", b"hta-unnhal", b"NeuralNetworks"),
    marks=(b"NNAPI", b"NN API returned error"),
    forms=(
        form(
            Fact.REFUSED,
            b" refused by NNAPI delegate: ",
            rb"Operator (?P<op>\w+) \(v\d+\) refused by (?P<by>NNAPI delegate): (?P<reason>.*\S)",
            "tensorflow/tensorflow issue 47905",
        ),
        form(
            Fact.ASSIGNED,
            b"findBestDeviceForEachOperation(",
            rb"findBestDeviceForEachOperation\((?P<op>\w+)\) = \d+ \((?P<provider>[^)]+)\)",
            _PLAN,
        ),
        form(
            Fact.REFUSED,
            b" can't do operation ",
            rb"Device (?P<by>\S+) can't do operation (?P<op>\w+)",
            _PLAN,
        ),
        form(
            Fact.REFUSED,
            b"} is not supported.",
            rb"(?P<by>hta-unnhal).*?(?P<reason>\{(?P<op>\w+), \w+\} is not supported)",
            "tensorflow/tensorflow issue 43541",
        ),
        form(
            Fact.TAKEN,
            b"partitionTheWork: only one best device",
            rb"only one best device: \d+ = (?P<provider>\S+)",
            _PLAN,
        ),
        form(
            Fact.ERROR,
            b"NN API returned error ",
            rb"(?P<text>NN API returned error .*\S)",
            "tensorflow/tensorflow issue 36645",
        ),
        form(
            Fact.OPTION,
            b"NNAPI accelerators available: ",
            rb"(?P<name>NNAPI accelerators available): (?P<value>\[.*?\])",
            "tensorflow/tensorflow issue 60234",
        ),
        form(
            Fact.OPTION,
            b" in NNAPI: [",
            rb"(?P<name>(?:Allow|Use) [\w ]+ in NNAPI): (?P<value>\[.*?\])",
            "tensorflow/tensorflow issue 60234",
        ),
        form(
            Fact.NOTHING,
            b"Found interface ",
            rb"Manager\s*: Found interface \S+",
            "tensorflow/tensorflow issue 43541",
        ),
    ),
    chatter=(
        b"NNAPI delegate created.",
        b"Disable NNAPI cpu: ",
        b"Use NNAPI: ",
    ),
)
