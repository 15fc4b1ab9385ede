"""A plan's page in Debian's Chromium: in the window, the console empty, the chart where it says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from report_plans import dozen, hostile, missed, searched
from test_report_browser import _FRAME, _POLICY, chromium

from chipdrift.plan.records import Plan
from chipdrift.report.plan_page import render_plan

pytestmark = pytest.mark.system

# Widths of page and window; of the first chart: its field, its line, its dots, its budget's name.
_FOUND = """<script>
addEventListener("load", () => {
  const box = (e) => {
    const r = e.getBoundingClientRect();
    return [r.left, r.right, r.top, r.bottom].map((x) => Math.round(x));
  };
  const root = document.documentElement, field = document.querySelector(".field");
  const found = { widths: [root.scrollWidth, root.clientWidth] };
  if (field) {
    found.field = box(field);
    found.line = box(field.querySelector(".joined"));
    found.dots = [...field.querySelectorAll(".sign")].map(
      (e) => [box(e), e.className, e.title.split("\\n")[0]]);
    found.rings = [...field.querySelectorAll(".ring")].map(box);
    found.limit = box(field.querySelector(".limit"));
    found.name = box(field.querySelector(".limit-name"));
  }
  parent.postMessage("found " + JSON.stringify(found), "*");
});
</script></body>"""


def found(make: Callable[[], Plan], folder: Path, width: int) -> dict[str, Any]:
    """What :data:`_FOUND` sees in a window of ``width`` pixels, with all that folds opened."""
    html = _POLICY.sub("", render_plan(make())).replace("<details>", "<details open>")
    (folder / "measured.html").write_text(html.replace("</body>", _FOUND), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    options = ["--dump-dom", "--virtual-time-budget=5000", "--window-size=1400,2400"]
    dom, console = chromium(folder / "profile", frame, *options)
    assert console == ""
    title = re.search(r"<title>found (.*?)</title>", dom, re.DOTALL)
    assert title is not None, dom[:500]
    made: dict[str, Any] = json.loads(unescape(title[1]))
    return made


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("make", [missed, searched, dozen, hostile])
def test_the_page_is_no_wider_than_the_window(
    make: Callable[[], Plan], tmp_path: Path, width: int
) -> None:
    scroll, client = found(make, tmp_path, width)["widths"]
    assert scroll <= client == width


@pytest.mark.parametrize("width", [1200, 390])
def test_the_chart_is_drawn_where_it_belongs(tmp_path: Path, width: int) -> None:
    seen = found(searched, tmp_path, width)
    left, right, top, bottom = seen["field"]
    assert right - left > width / 3
    assert bottom - top > 200
    middles = {}
    for (x0, x1, y0, y1), classes, name in seen["dots"]:
        assert left <= x0 < x1 <= right
        assert top <= y0 < y1 <= bottom
        middles[name] = ((x0 + x1) / 2, (y0 + y1) / 2, classes)
    # The line goes from the first dot on the frontier to the last, and the ring is the choice's.
    line = seen["line"]
    front = [place for place in middles.values() if "best" in place[2]]
    assert line[0] == pytest.approx(min(x for x, _, _ in front), abs=3)
    assert line[1] == pytest.approx(max(x for x, _, _ in front), abs=3)
    (ring,) = seen["rings"]
    x, y, _ = middles["mixed-one"]
    assert (ring[0] + ring[1]) / 2 == pytest.approx(x, abs=1)
    assert (ring[2] + ring[3]) / 2 == pytest.approx(y, abs=1)
    # What is within the budget lies over its line, the rest under it; its name stands at its end.
    at = (seen["limit"][2] + seen["limit"][3]) / 2
    for _, y, classes in middles.values():
        assert (y > at) == ("beyond" in classes)
    assert (seen["name"][2] + seen["name"][3]) / 2 == pytest.approx(at, abs=2)
    assert right <= seen["name"][0] < seen["name"][1] <= width


@pytest.mark.parametrize("make", [missed, searched, hostile])
def test_the_console_stays_empty_under_the_pages_own_policy(
    make: Callable[[], Plan], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_plan(make()), encoding="utf-8")
    _, console = chromium(tmp_path / "profile", page, f"--screenshot={tmp_path / 'shot.png'}")
    assert console == ""
