"""A policy's faults, each with its line, what was found and what would be right."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from gate_runs import CPU, A, Case, cell, matrix, metric, placed

from chipdrift.errors import ChipdriftError
from chipdrift.gate import example_policy, read_policy
from chipdrift.gate.policy import Limits, SinceLimits, settings
from chipdrift.gate.sarif import RULES
from chipdrift.records import MetricResult

FAULTS = [
    ("[default\n", "not valid TOML", "line 1"),
    ("[default]\ndrp = 1\n", "line 2: default.drp: no such key. Did you mean drop?", "lsb"),
    ("[defaults]\ndrop = 1\n", "line 1: defaults: no such key. Did you mean default?", "since"),
    ("[default]\ndrop = -1\n", "line 2: default.drop: found -1", "0 or more"),
    ('[default]\ndrop = "x"\n', "found 'x'", "points of the metric"),
    ("[default]\ndrop = true\n", "found True", "points of the metric"),
    ("[default]\ndrop = nan\n", "found nan", "points of the metric"),
    ("[default]\ndrop = inf\n", "found inf", "points of the metric"),
    ("\n[default]\nagreement = 0.99\n", "line 3: default.agreement: 0.99 is a share of 1", "99"),
    ("[default]\nagreement = 101\n", "found 101", "up to 100"),
    ('[default]\nagree_with = { "ort:cpu" = 0.9 }\n', "0.9 is a share of 1", "as in 90"),
    ('[default]\nagree_with = { "ort:cpu" = "x" }\n', "ort:cpu: found 'x'", "up to 100"),
    ("[default]\nagree_with = 3\n", "found 3", '{ "ort:cpu" = 99 }'),
    ('[default]\nfallback = ["Conv", 3]\n', "found ['Conv', 3]", "whole number"),
    ("[default]\nfallback = -1\n", "found -1", "whole number"),
    ("[default]\nfallback = []\n", "found []", "whole number"),
    ("[default]\nfallback = true\n", "found True", "whole number"),
    ("[default]\nunexplained = 101\n", "found 101", "0 to 100"),
    ("[default]\nlsb = 1.5\n", "found 1.5", "whole number"),
    ("[default]\nlatency_ms = 0\n", "found 0", "above 0"),
    ('[default]\nevidence = "silicon"\n', "found 'silicon'", '"vendor-simulator"'),
    ('[default]\nevidence = ["device", "x"]\n', "found ['device', 'x']", '"reported"'),
    ('[default]\nstatus = ["okay"]\n', "found 'okay'", '"unsupported"'),
    ("[default]\nstatus = []\n", "found []", '"unsupported"'),
    ("[default]\nmin_samples = 0\n", "found 0", "1 or more"),
    ('[default]\njudge = "mean"\n', "found 'mean'", '"interval" or "value"'),
    ('[default]\nunproven = "pass"\n', "found 'pass'", '"fail" or "warn"'),
    ("[rule]\ndrop = 1\n", "line 1: rule", "[[rule]], in two pairs of brackets"),
    ('[[rule]]\ntargets = "htp:*"\ndrop = 1\n', "rule 1, targets: found 'htp:*'", '["htp:*"]'),
    ("[[rule]]\ntargets = []\ndrop = 1\n", "rule 1, targets: found []", '["htp:*"]'),
    ('[[rule]]\ntargets = ["a"]\n', "line 1: rule 1 sets no limit", "drop"),
    ("default = 3\n", "default: found 3", "[default] with its keys"),
    ("[since]\nbit = 1\n", "since.bit: no such key. Did you mean bits?", "new_fallback"),
    ('[since]\nbits = "no"\n', "since.bits: found 'no'", '"fail", "warn" or "off"'),
    ('sha256 = "x"\n[default]\ndrop = 1\n', "sha256: no such key", "rule"),
    ("", "it limits nothing", "--example"),
    ('[default]\ndrop = "off"\n', "it limits nothing", "--example"),
    (
        '[[rule]]\ntargets = ["a"]\ndrop = 1\n\n[[rule]]\ntarget = ["b"]\ndrop = 2\n',
        "line 6: rule 2, target: no such key. Did you mean targets?",
        "schemes",
    ),
]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize(("text", "found", "right"), FAULTS, ids=[text for text, *_ in FAULTS])
def test_faults(text: str, found: str, right: str, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(ChipdriftError) as caught:
        read_policy(file)
    words = str(caught.value)
    assert words.startswith(f"Policy {file}")
    assert found in words
    assert right in words
    assert "\n" not in words
    assert "Input should" not in words


def test_files_that_are_no_policy(tmp_path: Path) -> None:
    for make, words in (
        (lambda p: p.mkdir(), "no regular file"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (lambda p: p.write_bytes(b"#" * (1 << 21)), "are no policy"),
        (lambda p: None, "No such file"),
    ):
        file = tmp_path / words.replace(" ", "-")
        make(file)
        with pytest.raises(ChipdriftError, match=words):
            read_policy(file)


def test_the_example_is_a_policy_with_every_key(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(example_policy())
    shown = read_policy(file)
    assert shown.default.drop == 1.0
    # Every key is in it, those of the commented tables, too, which are a policy of their own.
    told = "\n".join(
        line.removeprefix("# ") if line.startswith(("# [", "# ")) and _is_toml(line[2:]) else ""
        for line in example_policy().splitlines()
    )
    whole = tomllib.loads(told)
    keys = {key for rule in whole["rule"] for key in rule} | set(
        tomllib.loads(example_policy())["default"]
    )
    assert keys == {*Limits.model_fields, "targets", "schemes"}
    assert whole["since"].keys() == SinceLimits.model_fields.keys()
    file.write_text(told)
    read_policy(file)


def _is_toml(line: str) -> bool:
    try:
        return bool(tomllib.loads(line)) and ("=" in line or line.startswith("["))
    except tomllib.TOMLDecodeError:
        return False


def test_every_limit_has_its_sentence() -> None:
    apart = {"judge", "unproven"}
    since = {"other_model", "other_data"}
    assert set(RULES) == {
        *(set(Limits.model_fields) - apart),
        *(f"since.{key}" for key in set(SinceLimits.model_fields) - since),
    }


def test_the_last_rule_that_sets_a_limit_decides_it(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(
        "[default]\ndrop = 1\nlsb = 2\n"
        '[[rule]]\ntargets = ["htp:*"]\ndrop = 2\n'
        '[[rule]]\nschemes = ["w4*"]\ndrop = 5\nlsb = "off"\n'
        '[[rule]]\ntargets = ["htp:sm8450"]\nlsb = 7\n'
    )
    policy = read_policy(file)

    def at(scheme: str, target: str) -> dict[str, tuple[object, str, int | None]]:
        held = settings(policy, scheme, target)
        return {k: (s.value, s.rule, s.line) for k, s in held.items() if k in ("drop", "lsb")}

    assert at("w8a8", "ort:cpu") == {"drop": (1.0, "default", 2), "lsb": (2, "default", 3)}
    assert at("w8a8", "htp:sm8350") == {"drop": (2.0, "rule 1", 6), "lsb": (2, "default", 3)}
    assert at("w4a16", "htp:sm8350") == {"drop": (5.0, "rule 2", 9)}
    assert at("w4a16", "htp:sm8450") == {"drop": (5.0, "rule 2", 9), "lsb": (7, "rule 3", 13)}


RUN = matrix(cell("fp32", CPU), cell("w8a8", CPU), cell("w8a8", A, placement=placed(4)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[rule]]\ntargets = ["htp:sm835O"]\ndrop = 1\n', "Near names: htp:sm8350"),
        ('[[rule]]\nschemes = ["w8a16*"]\ndrop = 1\n', "line 2, rule 1: Unknown scheme 'w8a16*'"),
        (
            '[[rule]]\ntargets = ["htp:*", "adb:*"]\ndrop = 1\n',
            "line 2, rule 1: Unknown target 'adb:*'",
        ),
        (
            '[[rule]]\ntargets = ["htp:*"]\nschemes = ["fp32"]\ndrop = 1\n',
            "line 1: rule 1 matches no cell",
        ),
        ('[default]\nagree_with = { "ort:cp" = 99 }\n', "line 2, default: Unknown target 'ort:cp'"),
        ("[default]\ndrop = 90\n", "lets top1 fall to nothing"),
    ],
)
def test_what_matches_nothing_is_refused(text: str, words: str, case: Case) -> None:
    with pytest.raises(ChipdriftError) as caught:
        case.holds(RUN).gate(text)
    assert words in str(caught.value)


def test_a_drop_in_points_for_a_metric_that_is_no_share(case: Case) -> None:
    """1 is one point of top1, and more than all there is of a rank correlation."""
    found = RUN.model_copy(
        update={
            "metric": metric("bootstrap percentile", name="spearman"),
            "baseline": RUN.baseline.model_copy(
                update={"metric": MetricResult(name="spearman", value=0.77)}
            ),
        }
    )
    with pytest.raises(ChipdriftError, match=r"spearman fall to nothing.*0\.77.*its own unit"):
        case.holds(found).gate("[default]\ndrop = 1\n")
    check = case.holds(found).one("[default]\ndrop = 0.1\n", "drop")
    assert check.allowed == "at most 0.1 of spearman"
