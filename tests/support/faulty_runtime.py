"""A runtime that misbehaves on demand, loaded by the real worker process.

Vendor code crashes, hangs and prints; none of what is installed here does it when asked to.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.targets.base import Opened, Session, Target
from chipdrift.targets.ort import open_session as open_ort


def target(fault: str, name: str = "faulty:1", **options: str) -> Target:
    return Target(
        name=name,
        runtime=__name__,
        evidence="hypothesis",
        has_npu=False,
        options={"fault": fault, **options},
        versions={"faulty": "1"},
        family=options.get("family"),
    )


def open_session(path: str, options: Mapping[str, str]) -> Session:
    if options["fault"] == "hang-open":
        time.sleep(600)
    if options["fault"] == "exit-open":
        print("licence server said no", flush=True)
        os._exit(3)
    return Faulty(open_ort(path, {}), options)


class Faulty(Session):
    def __init__(self, inner: Session, options: Mapping[str, str]) -> None:
        self._inner = inner
        self._fault = options["fault"]
        self._after = int(options.get("after", "3"))
        self._bump = float(options.get("bump", "0"))
        self._bump_after = int(options.get("bump_after", "0"))
        self._runs = 0

    def opened(self) -> Opened:
        return self._inner.opened()

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        self._runs += 1
        if self._fault == "noise":
            os.write(1, b"\x00\xff{json?} progress 50%\n" * 2000)
            os.write(2, "héllo \x1b[31m".encode() * 100)
        if self._runs > self._after:
            if self._fault == "segfault":
                print("about to touch address 0", file=sys.stderr, flush=True)
                ctypes.string_at(0)
            if self._fault == "hang":
                time.sleep(600)
            if self._fault == "raise":
                raise RuntimeError("QNN_GRAPH_ERROR 6004")
        if self._fault == "slow":
            time.sleep(0.05)
        answers = self._inner.run(feed)
        if self._fault == "reverse":
            return [array[..., ::-1].copy() for array in answers]
        if self._fault == "tapped-bump" and len(answers) > 1:
            # A tapped model has further outputs: change one of those alone.
            return [answers[0], answers[1] + answers[1].dtype.type(1), *answers[2:]]
        if self._runs > self._bump_after:
            return [array + array.dtype.type(self._bump) for array in answers]
        return answers
