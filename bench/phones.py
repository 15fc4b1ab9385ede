"""Emulated phones over the real adb: what is sent again, four at once, and a sample's way there.

``python bench/phones.py``, as root, with the Debian packages of ``make test-system``. Three ratios:

1. bytes pushed for a second scheme on the same phone, beside those of the first, and for the same
   scheme once more (a new run folder): 0 is what is promised;
2. the time of the same cell on four phones at once, beside one phone alone: at most 1.2 where there
   is a core for each. The phones are emulated on this host's cores, so that on fewer the ratio is
   the cores' and not chipdrift's; the limit is judged only where there are four cores beside ours;
3. samples a second over adb, beside ``ort:arm64``: the same library under the same qemu, its worker
   joined to this host by a socket.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from emulated_phone import AdbServer, EmulatedPhone
from phone_kit import linux_kit

import chipdrift
from chipdrift.cli.sdk import sdk_folder
from chipdrift.demo import paths
from chipdrift.phones import AdbServer as Server

SAMPLES, PHONES = 200, 4
LIMIT = 1.2


def measure(out: Path, targets: list[str], schemes: list[str]) -> tuple[float, dict[str, int]]:
    """Seconds, and bytes pushed by scheme of the first target."""
    demo = paths()
    began = time.perf_counter()
    matrix = chipdrift.run_matrix(
        *(demo.model, demo.data),
        calibration=demo.calibration,
        schemes=schemes,
        targets=targets,
        limit=SAMPLES,
        out=out,
    )
    seconds = time.perf_counter() - began
    assert all(cell.status == "ok" for cell in matrix.cells), matrix.cells
    sent = {c.scheme: c.phone.sent for c in matrix.cells if c.phone and c.target == targets[0]}
    return seconds, sent


def throughput(run: Path, target: str) -> float:
    """Samples a second of a cell, its session's opening not counted."""
    cells = json.loads((run / "matrix.json").read_text())["cells"]
    (cell,) = [cell for cell in cells if cell["target"] == target]
    return float(cell["measured"] / cell["seconds"])


def main() -> None:
    """Print the ratios."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(AdbServer())
        phones = [stack.enter_context(EmulatedPhone(server)) for _ in range(PHONES)]
        stack.enter_context(chipdrift.adb_at(Server(*server.address)))
        stack.enter_context(chipdrift.kits_in(linux_kit(folder / "kits")))
        stack.enter_context(chipdrift.sdks_in(sdk_folder()))
        names = [f"adb:{phone.serial}" for phone in phones]

        _, first = measure(folder / "a", names[:1], ["w8a8"])
        _, second = measure(folder / "a", names[:1], ["w8a8", "w8a8_pc"])
        _, again = measure(folder / "b", names[:1], ["w8a8"])
        print(
            f"pushed for the first cell {first['w8a8']:,} bytes, for a second scheme's "
            f"{second['w8a8_pc']:,} (its model), for the same cell in another run "
            f"{again['w8a8']:,}: ratio {again['w8a8'] / first['w8a8']:.3f}"
        )
        measure(folder / "warm", names, ["w8a8"])  # everything is pushed to all four
        one, _ = measure(folder / "one", names[:1], ["w8a8"])
        four, _ = measure(folder / "four", names, ["w8a8"])
        cores = len(os.sched_getaffinity(0))
        judged = f"limit {LIMIT}" if cores > PHONES else f"not judged: {cores} cores emulate them"
        print(
            f"{PHONES} phones at once {four:.1f} s, one alone {one:.1f} s: ratio {four / one:.2f} "
            f"({judged}; one after the other it would be {PHONES:.2f})"
        )
        measure(folder / "peer", [names[0], "ort:arm64"], ["w8a8"])
        adb, direct = (throughput(folder / "peer", name) for name in (names[0], "ort:arm64"))
        print(
            f"{adb:.0f} samples/s over adb, {direct:.0f} in ort:arm64: ratio {adb / direct:.2f} "
            f"({SAMPLES} samples, with the session's opening)"
        )
    if cores > PHONES and four / one > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
