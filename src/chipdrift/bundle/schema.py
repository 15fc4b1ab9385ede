"""Print the JSON Schema of ``manifest.json``: ``python -m chipdrift.bundle.schema``."""

from __future__ import annotations

import json

from chipdrift.bundle.records import manifest_schema

if __name__ == "__main__":
    print(json.dumps(manifest_schema(), indent=1))
