"""Make ``src/chipdrift/plan/latency.csv`` from a copy of the shared facts::

    python scripts/make_latencies.py ../shared/facts [OUT.csv]

The shared table is a copy of the latencies that quic/ai-hub-models publishes, one ``perf.yaml`` for
each model. Kept are rows with a latency of models that the cost model learns from or is held
against: those that have a row in ``w8a8``, in a mixture, or with layers on the CPU, and those in
``published_work.csv``. ``at`` is the commit; the row is of
``qai_hub_models/models/MODEL/perf.yaml`` there. A row without a source is an error.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

PLAN = Path(__file__).parents[1] / "src" / "chipdrift" / "plan"
COLUMNS = {
    "model": "model_id",
    "component": "component",
    "precision": "precision",
    "device": "device",
    "runtime": "runtime",
    "ms": "latency_ms",
    "npu": "layers_npu",
    "gpu": "layers_gpu",
    "cpu": "layers_cpu",
}
"""Here, and in the shared facts."""
SOURCE = re.compile(r"quic/ai-hub-models@(\w+):qai_hub_models/models/(\w+)/perf\.yaml")


def main() -> None:
    """Check the shared facts and write the copy that the cost model is fitted to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared_facts", type=Path, help="the folder with real_device_perf.csv")
    parser.add_argument("out", type=Path, nargs="?", default=PLAN / "latency.csv")
    arguments = parser.parse_args()
    source = arguments.shared_facts / "real_device_perf.csv"
    with (PLAN / "published_work.csv").open(newline="", encoding="utf-8") as file:
        known = {row["model"] for row in csv.DictReader(file)}
    rows = []
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = {*COLUMNS.values(), "source"} - set(reader.fieldnames or ())
        if lacking:
            raise SystemExit(f"{source} lacks the columns {', '.join(sorted(lacking))}.")
        for number, row in enumerate(reader, start=2):
            match = SOURCE.fullmatch(row["source"])
            if match is None or match[2] != row["model_id"]:
                raise SystemExit(f"{source}, row {number} has no public source for its model.")
            if row["latency_ms"]:
                kept = {here: row[there] for here, there in COLUMNS.items()}
                rows.append(kept | {"at": match[1]})
    wanted = {_part(row) for row in rows if _tells(row)}
    rows = [row for row in rows if _part(row) in wanted or row["model"] in known]
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, "at"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _part(row: dict[str, str]) -> tuple[str, str]:
    return row["model"], row["component"]


def _tells(row: dict[str, str]) -> bool:
    mixed = "mixed" in row["precision"] or row["precision"] == "w8a8"
    return mixed or bool(float(row["cpu"] or 0) and float(row["npu"] or 0))


if __name__ == "__main__":
    main()
