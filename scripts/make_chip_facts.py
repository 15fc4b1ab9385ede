"""Make ``src/chipdrift/chips/facts.csv`` from a copy of the shared facts::

    python scripts/make_chip_facts.py ../shared/facts [OUT.csv]

The rows are taken over unchanged. A row whose text leads to a package registry or into a machine's
file system is an error: neither belongs in a published catalogue.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "chipdrift" / "chips" / "facts.csv"
COLUMNS = ["vendor", "soc", "field", "value", "status", "source"]
REGISTRY = re.compile(
    r"https?://[^\s/]*(pypi|pythonhosted|npmjs|crates\.io|anaconda|conda-forge|maven|rubygems"
    r"|proxy\.golang|nuget|artifactory|simpleindex)",
    re.IGNORECASE,
)
MACHINE_PATH = re.compile(r"(^|[\s\"'(=:])(/(home|root|work|tmp|mnt|Users|opt|srv)/|[A-Z]:\\|~/)")


def main() -> None:
    """Check the shared facts and write the catalogue's copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared_facts", type=Path, help="the folder with soc_facts_long.csv")
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    arguments = parser.parse_args()
    source = arguments.shared_facts / "soc_facts_long.csv"
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise SystemExit(f"{source} has the columns {reader.fieldnames}, expected {COLUMNS}.")
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        text = " ".join(row.values())
        if REGISTRY.search(text) or MACHINE_PATH.search(text):
            raise SystemExit(
                f"{source}, row {number} names a package registry or a machine's path: {text!r}. "
                "Replace its source."
            )
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
