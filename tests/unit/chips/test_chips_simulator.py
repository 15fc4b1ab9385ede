import json
import subprocess
import sys
from pathlib import Path

import pytest

from chipdrift.chips import (
    all_chips,
    get_chip,
    simulated_chips,
    simulator_id,
    simulator_rows,
    simulator_versions,
)
from chipdrift.chips.simulator import REFERENCES, refusal
from chipdrift.errors import ChipdriftError

SCRIPT = Path(__file__).parents[3] / "scripts" / "measure_simulator.py"


@pytest.mark.parametrize(
    ("soc", "number"),
    [
        ("SM8350", 30),
        ("SM8450", 36),
        ("SM8550", 43),
        ("SM8650", 57),
        ("SM8750", 69),
        ("SM8850", 87),
    ],
)
def test_simulator_id_of_the_flagships(soc: str, number: int) -> None:
    assert simulator_id(get_chip(soc)) == number


@pytest.mark.parametrize(
    ("soc", "sentence"),
    [
        ("SM8250", "SM8250 has Hexagon v66, which has no HTP: the simulator would silently answer"),
        ("SDM845", "SDM845 has Hexagon v65, which has no HTP"),
        ("SXR2250P", "SXR2250P has no known QNN soc_model: it cannot be simulated."),
        ("SM8750-AC", "it cannot be simulated. Without the bin's letters it is SM8750."),
        ("SM6475", "The Hexagon generation of SM6475 is not known: the simulator's answer for its"),
        ("SM4635", "The Hexagon generation of SM4635 is not known: the simulator's answer for its"),
        ("IPQ6018", "creates no device for IPQ6018 (soc_model 23): everything would silently run"),
        ("MT6989", "MT6989 is not a Qualcomm chip"),
    ],
)
def test_refusals_say_why(soc: str, sentence: str) -> None:
    chip = get_chip(soc)
    with pytest.raises(ChipdriftError) as caught:
        simulator_id(chip)
    assert sentence in str(caught.value)
    assert str(caught.value) == chip.not_simulated
    assert (chip.fp16, chip.fp16_words) == (None, "not simulated")
    assert chip not in simulated_chips()


@pytest.mark.parametrize(
    ("soc", "number"),
    [
        ("SM8735", 85),  # weak facts say v79 and v73, and the simulator answers like both
        ("QCS8550", 66),  # no fact of its own, but QCM8550LA with the same id is v73
    ],
)
def test_a_known_id_is_enough_where_the_generation_is_weak(soc: str, number: int) -> None:
    chip = get_chip(soc)
    assert chip.hexagon is None
    assert simulator_id(chip) == number
    assert chip in simulated_chips()


@pytest.mark.parametrize(
    ("number", "hexagon", "sentence"),
    [
        (0, "v68", "does not know SM1 (soc_model 0): it would silently simulate SM8350."),
        (999, "v73", "creates no device for SM1 (soc_model 999)"),
        (12345, "v73", "creates no device for SM1 (soc_model 12345)"),
        (43, "v69", "does not answer as Hexagon v69 for SM1 (soc_model 43)"),
        (87, "v85", "does not answer as Hexagon v85 for SM1 (soc_model 87)"),
        (43, "v99", "SM1 has Hexagon v99, which is not verified on the simulator"),
    ],
)
def test_an_id_that_does_not_fit_is_refused(number: int, hexagon: str, sentence: str) -> None:
    assert sentence in (refusal("Qualcomm", "SM1", number, hexagon, {}) or "")


def test_every_simulated_chip_was_measured_and_runs_w8a8_on_the_npu() -> None:
    assert len(simulated_chips()) >= 40
    for chip in simulated_chips():
        row = simulator_rows()[simulator_id(chip)]
        assert row.known and row.device, chip.soc
        assert row.w8a8 == row.w8a16 == "yes", chip.soc
        assert chip.fp16 is (row.fp16 == "yes"), chip.soc
        assert chip.hexagon is None or chip.hexagon in REFERENCES, chip.soc


def test_only_chips_with_fp16_have_it() -> None:
    fp16 = {chip.soc: chip.fp16 for chip in simulated_chips()}
    assert fp16["SM8550"] and fp16["SM8450"] and fp16["SM8350"]
    assert not any(fp16[soc] for soc in ("SM8635", "SM7550", "QCM6690", "SM7475"))


def test_sm8350_computes_float32_models_as_float32() -> None:
    rows = simulator_rows()
    others = {row.float32 for number, row in rows.items() if number not in (0, 30)}
    assert rows[30].float32 == "as-float32"
    assert others == {"yes", "no"}
    assert get_chip("SM8350").fp16_words == (
        "FLOAT16 models run on the NPU in half precision; "
        "float32 models run on the NPU computed as float32"
    )


def test_v85_is_not_replaced_by_another_generation() -> None:
    rows = simulator_rows()
    others = {rows[number].w8a16_answer for g, number in REFERENCES.items() if g != "v85"}
    assert rows[REFERENCES["v85"]].w8a16_answer not in others
    assert get_chip("SM8975").soc_model == REFERENCES["v85"]


def test_ids_0_to_130_and_999_were_asked_with_one_version() -> None:
    rows = simulator_rows()
    assert set(rows) == {*range(131), 999}
    assert not rows[0].known and not rows[999].known
    assert len({(row.onnxruntime, row.onnxruntime_qnn, row.qnn) for row in rows.values()}) == 1
    assert set(simulator_versions()) == {"onnxruntime", "onnxruntime-qnn", "qnn"}
    assert all(simulator_versions().values())


def test_importing_the_catalogue_reads_no_file_and_no_numpy() -> None:
    code = (
        "import sys, chipdrift.chips as c; from chipdrift.chips.catalogue import all_chips as a;"
        "assert 'numpy' not in sys.modules and a.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all_chips() is all_chips()


@pytest.mark.htp
@pytest.mark.parametrize("number", [30, 43, 64])
def test_the_simulator_still_answers_as_measured(number: int) -> None:
    pytest.importorskip("onnxruntime_qnn")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--one", str(number)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    kept = simulator_rows()[number].model_dump()
    columns = ("w8a8", "w8a16", "fp16", "float32")
    for column in (*columns, *(f"{column}_answer" for column in columns)):
        assert found[column] == kept[column], column
