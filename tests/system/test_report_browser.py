"""The report in Debian's Chromium: nothing on the console, something on the screen, no overflow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

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
    file.write_text(render(everything(), {0: picture(), 1: picture(200)}), encoding="utf-8")
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


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_is_no_wider_than_the_window(report: Path, tmp_path: Path, width: int) -> None:
    scroll, client, *_ = widths(report, tmp_path, width)
    assert client == width
    assert scroll <= client


def test_a_paragraph_about_a_target_does_not_push_the_others_out(tmp_path: Path) -> None:
    """Three targets, one described in 400 characters and one named by a long path: all in sight."""
    path = f"sim:/home/someone/{'abcdefghij' * 15}.toml"
    found = engine(cell("w8a8", path, evidence="prediction"))
    file = tmp_path / "report.html"
    file.write_text(render(found, {}), encoding="utf-8")
    *_, content, box = widths(file, tmp_path, 1200)
    assert content <= box


def test_a_fault_in_a_page_would_be_seen(report: Path, tmp_path: Path) -> None:
    """The console is really read: a script that the policy forbids leaves a line there."""
    broken = tmp_path / "broken.html"
    html = report.read_text(encoding="utf-8")
    broken.write_text(html.replace("</body>", "<script>1</script></body>"), encoding="utf-8")
    _, console = chromium(tmp_path / "profile", broken, f"--screenshot={tmp_path / 's.png'}")
    assert "Content Security Policy" in console
