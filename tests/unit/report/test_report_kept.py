"""What a scheme keeps on the CPU is told as its wish, not as a fallback."""

from __future__ import annotations

from report_matrices import CPU, A, B, cell, matrix

from chipdrift.records import NodePlace, Placement
from chipdrift.report.placed import placement

KEPT = NodePlace(node="head", op="Softmax")
STRAYED = NodePlace(node="head", op="Softmax", reason="it strayed")


def said(*places: tuple[str, Placement]) -> list[tuple[str, str]]:
    cells = [cell("mine", target, placement=place) for target, place in places]
    return [(f.kind, f.text) for f in placement(matrix(cell("fp32", CPU), *cells))]


def test_kept_nodes_are_told_once_for_all_chips() -> None:
    place = Placement(npu=9, cpu=1, conversions=4, kept=(KEPT,))
    assert said((A, place), (B, place)) == [
        (
            "calm",
            "mine on every chip: 1 of 10 nodes (Softmax head) was kept on the CPU by the scheme, "
            "in float32.",
        ),
        (
            "calm",
            "No fallback: in all 2 cells on chips every other node ran on the NPU, conversions at "
            "the graph's border aside.",
        ),
    ]


def test_a_fallback_beside_them_is_still_one() -> None:
    place = Placement(npu=8, cpu=2, kept=(KEPT,), fallback=(NodePlace(node="up", op="Resize"),))
    kinds = [kind for kind, _ in said((A, place))]
    assert kinds == ["caution", "calm"]
    assert "1 of 9 nodes left the NPU (Resize up)" in said((A, place))[0][1]


def test_one_that_ran_on_the_npu_all_the_same_is_a_caution() -> None:
    place = Placement(npu=10, cpu=0, kept=(STRAYED,))
    assert ("caution", "mine on htp:sm8350: 1 of 10 nodes (Softmax head): it strayed.") in said(
        (A, place)
    )
