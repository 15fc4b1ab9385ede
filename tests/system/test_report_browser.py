"""The report in Debian's Chromium: nothing on the console, something on the screen, no overflow."""

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from report_diagnoses import against_float, diagnosis, distance, own, parted, side
from report_matrices import cell, engine, everything, picture

from chipdrift.report.page import render

pytestmark = pytest.mark.system

# Chromium's window is never narrower than 500 pixels, so the page is laid out in a frame of the
# phone's width; it tells its own width to the page around it, which writes it into its title.
_FRAME = """<!DOCTYPE html><title>waiting</title><body style="margin:0">
<script>
addEventListener("message", (event) => { document.title = event.data; });
</script>
<iframe src="measured.html" style="border:0;width:WIDTHpx;height:3000px"></iframe></body>"""
_MEASURE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const heat = document.querySelector(".heat").parentElement;
  const widths = [root, heat].flatMap((e) => [e.scrollWidth, e.clientWidth]);
  parent.postMessage("widths " + widths.join(" "), "*");
});
</script></body>"""
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    diagnoses = [parted(), against_float(), diagnosis(b=side("ort:cpu"))]
    html = render(everything(), {0: picture(), 1: picture(200)}, diagnoses)
    file.write_text(html, encoding="utf-8")
    return file


def chromium(profile: Path, page: Path, *options: str) -> tuple[str, str]:
    """Open a page; its stdout and the lines that the page left on the console."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("chromium is missing: run scripts/install-debian chromium")
    done = subprocess.run(
        [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}"),
            *(*options, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout, "\n".join(x for x in done.stderr.splitlines() if "CONSOLE" in x)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_desktop_shows_it_and_the_console_stays_empty(
    report: Path, tmp_path: Path, theme: str
) -> None:
    shot = tmp_path / "shot.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    options = [f"--screenshot={shot}", "--window-size=1200,2400", *dark]
    _, console = chromium(tmp_path / "profile", report, *options)
    assert console == ""
    with Image.open(shot) as image:
        grey = image.convert("L")
    assert grey.size == (1200, 2400)
    assert len(grey.getcolors() or []) > 20
    background = grey.getpixel((2, 2))
    assert isinstance(background, int)
    assert (background > 200) == (theme == "light")


def widths(report: Path, folder: Path, width: int) -> list[int]:
    """Content and window of the page, then of the matrix's box, in pixels."""
    html = _POLICY.sub("", report.read_text(encoding="utf-8"))
    (folder / "measured.html").write_text(html.replace("</body>", _MEASURE), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    options = ["--dump-dom", "--virtual-time-budget=5000", "--window-size=1300,2400"]
    dom, console = chromium(folder / "profile", frame, *options)
    assert console == ""
    found = re.search(r"<title>widths ([\d ]+)</title>", dom)
    assert found is not None, dom[:500]
    return [int(number) for number in found[1].split()]


@pytest.mark.parametrize("width", [1200, 420, 390])
def test_the_page_is_no_wider_than_the_window(report: Path, tmp_path: Path, width: int) -> None:
    scroll, client, *_ = widths(report, tmp_path, width)
    assert client == width
    assert scroll <= client


def test_a_paragraph_about_a_target_does_not_push_the_others_out(tmp_path: Path) -> None:
    """Three targets, one described in 400 characters and one named by a long path: all in sight."""
    path = f"sim:/some/someone/{'abcdefghij' * 15}.toml"
    found = engine(cell("w8a8", path, evidence="prediction"))
    file = tmp_path / "report.html"
    file.write_text(render(found, {}), encoding="utf-8")
    *_, content, box = widths(file, tmp_path, 1200)
    assert content <= box


# Where the drawing of the curve, its dots and the graph's lines lie, in pixels of the page.
_DRAWN = """<script>
addEventListener("load", () => {
  const box = (e) => {
    const r = e.getBoundingClientRect();
    return [r.left, r.right, r.top, r.bottom].map((x) => Math.round(x));
  };
  const row = (e) => [box(e), box(e.querySelector("svg")), box(e.querySelector(".name"))];
  const plot = document.querySelector(".plot svg"), line = document.querySelector(".plot .line");
  const ticks = [...document.querySelectorAll(".plot .ticks span")].slice(0, 3);
  const rows = [...document.querySelectorAll(".graph tbody th")];
  const found = { plot: box(plot), line: box(line), ticks: ticks.map(box), rows: rows.map(row),
    colours: rows.map((e) => getComputedStyle(e).backgroundColor),
    command: [...document.querySelectorAll(".copy")].map((e) =>
      [e.scrollWidth, e.clientWidth, e.scrollHeight, e.clientHeight]) };
  parent.postMessage("found " + JSON.stringify(found), "*");
});
</script></body>"""


def drawn(report: Path, folder: Path, width: int) -> dict[str, Any]:
    """What :data:`_DRAWN` finds on the page in a window of ``width`` pixels."""
    html = _POLICY.sub("", report.read_text(encoding="utf-8"))
    (folder / "measured.html").write_text(html.replace("</body>", _DRAWN), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(_FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    options = ["--dump-dom", "--virtual-time-budget=5000", "--window-size=1400,2400"]
    dom, console = chromium(folder / "profile", frame, *options)
    assert console == ""
    found = re.search(r"<title>found (.*?)</title>", dom, re.DOTALL)
    assert found is not None, dom[:500]
    made: dict[str, Any] = json.loads(unescape(found[1]))
    return made


@pytest.mark.parametrize("width", [1400, 420])
def test_the_diagnosis_is_drawn_where_it_belongs(report: Path, tmp_path: Path, width: int) -> None:
    found = drawn(report, tmp_path, width)
    left, right, top, bottom = found["plot"]
    assert right - left > width / 4  # it is to be read on a phone, too
    assert bottom - top > 150
    line = found["line"]
    assert left <= line[0] < line[1] <= right
    assert top <= line[2] < line[3] <= bottom
    # The line ends at 99 %, near the tick of 100 %, and begins at 0; the ticks' text is not cut.
    zero, _, hundred = found["ticks"]
    assert abs(line[2] - (hundred[2] + hundred[3]) / 2) < 8
    assert abs(line[3] - (zero[2] + zero[3]) / 2) < 8
    assert all(tick[0] >= 0 for tick in found["ticks"])
    # Each row's drawing fills its cell from edge to edge, beside the name, so that lines meet.
    for cell_box, svg, name in found["rows"]:
        assert abs(svg[2] - cell_box[2]) <= 1
        assert abs(svg[3] - cell_box[3]) <= 1
        assert svg[1] <= name[0] + 1
    # c1 and sum are identical and plain, c2 and c4 each of their own colour.
    c1, c2, _, total, c4, *_ = found["colours"]
    assert c1 == total
    assert len({c1, c2, c4}) == 3
    assert found["command"]
    for wide, width_seen, high, height_seen in found["command"]:  # nothing of a command is hidden
        assert wide <= width_seen
        assert high <= height_seen


def test_a_network_of_many_branches_stays_in_its_box(tmp_path: Path) -> None:
    """Sixty nodes, each feeding the last ten: the table may scroll, the page may not."""
    nodes = tuple(
        own(f"block.{i}/long/name/of_a_node", i, distance(0.5, 10.0), *_sources(i))
        for i in range(60)
    )
    file = tmp_path / "report.html"
    html = render(everything(), {}, [parted().model_copy(update={"own": nodes})])
    file.write_text(html.replace("<details>", "<details open>"), encoding="utf-8")
    scroll, client, *_ = widths(file, tmp_path, 420)
    assert scroll <= client == 420
    for _, svg, name in drawn(file, tmp_path, 420)["rows"]:
        assert svg[1] <= name[0] + 1


def _sources(index: int) -> list[str]:
    return [f"block.{i}/long/name/of_a_node" for i in range(max(0, index - 10), index)]


def test_a_fault_in_a_page_would_be_seen(report: Path, tmp_path: Path) -> None:
    """The console is really read: a script that the policy forbids leaves a line there."""
    broken = tmp_path / "broken.html"
    html = report.read_text(encoding="utf-8")
    broken.write_text(html.replace("</body>", "<script>1</script></body>"), encoding="utf-8")
    _, console = chromium(tmp_path / "profile", broken, f"--screenshot={tmp_path / 's.png'}")
    assert "Content Security Policy" in console
