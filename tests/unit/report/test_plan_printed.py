"""The plan in the terminal."""

from __future__ import annotations

import io

from report_plans import choice, plan
from rich.console import Console

from chipdrift.cli.planning import print_plan


def test_chips_with_one_reason_are_told_together() -> None:
    same, other = "the cheapest that holds", "the nearest there is"
    choices = [
        choice("sm8350", "w8a8", "within", why=same),
        choice("sm7550", "fp16", "missed", why=other),
        choice("sm8450", "w8a8", "within", why=same),
        choice("sm8550", "w8a8", "within", why=same),
    ]
    stream = io.StringIO()
    print_plan(plan(choices=tuple(choices)), Console(file=stream, width=60, force_terminal=False))
    text = stream.getvalue()
    assert (
        f"sm8350, sm8450 and sm8550: models/w8a8.onnx, {same}\nsm7550: models/fp16.onnx, {other}\n"
        in text
    )
    assert text.count(same) == 1
