"""Make ``src/chipdrift/chips/phone_pairs.csv`` from a copy of the shared facts::

    python scripts/make_phone_pairs.py ../shared/facts [OUT.csv]

Kept are pairs of phones on whose Hexagon NPUs the same public benchmark ran, of the same generation
or under the same SDK: what differs is then one thing. Left out are repetitions (the offline mode of
the same task) and rows that a note calls not independent. A row without a source is an error.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "chipdrift" / "chips" / "phone_pairs.csv"
CLASSES = ("same_arch_same_sdk", "same_arch_diff_sdk", "diff_arch_same_sdk")
COLUMNS = {
    "task": "task",
    "samples": "n",
    "a": "a_key",
    "a_soc": "a_soc",
    "a_hexagon": "a_arch",
    "a_sdk": "a_sdk",
    "b": "b_key",
    "b_soc": "b_soc",
    "b_hexagon": "b_arch",
    "b_sdk": "b_sdk",
    "identical": "identical_samples",
    "same_scale": "same_output_scale",
    "max_lsb": "max_abs_lsb",
    "mean_lsb": "mean_abs_lsb",
    "a_source": "source_a",
    "b_source": "source_b",
}
"""Here, and in the shared facts."""
MACHINE_PATH = re.compile(r"(^|[\s\"'(=])(/(home|root|work|tmp|mnt|Users|opt|srv)/|[A-Z]:\\|~/)")


def main() -> None:
    """Check the shared facts and write the catalogue's copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared_facts", type=Path, help="the folder with real_device_agreement.csv")
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    arguments = parser.parse_args()
    source = arguments.shared_facts / "real_device_agreement.csv"
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = {*COLUMNS.values(), "class", "note"} - set(reader.fieldnames or ())
        if lacking:
            raise SystemExit(f"{source} lacks the columns {', '.join(sorted(lacking))}.")
        rows = []
        for number, row in enumerate(reader, start=2):
            wanted = row["class"] in CLASSES and not row["note"]
            if not wanted or row["task"].endswith("_offline"):
                continue
            if not row["source_a"] or not row["source_b"] or MACHINE_PATH.search(str(row)):
                raise SystemExit(f"{source}, row {number} has no public source for both phones.")
            rows.append({here: row[there] for here, there in COLUMNS.items()})
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
