"""What phones told beside their answers, in sentences: their times, their heat.

Times are of silicon alone: an emulated phone's are the emulator's, and are shown nowhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeGuard

from chipdrift.counts import counted
from chipdrift.records import Cell, Matrix, PhoneRun, PhoneState
from chipdrift.report.figures import listing, number
from chipdrift.report.finding import Finding
from chipdrift.report.remarks import shorten

# A phone that is not hot is not waited for, but to look at it takes a moment; when it was, the
# next look came five seconds later.
_WAITED = 5.0
_MOST_SCHEMES = 4


def phones(matrix: Matrix) -> dict[str, list[Cell]]:
    """The cells that ran on phones, by target."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        if cell.phone is not None:
            found[cell.target].append(cell)
    return dict(found)


def is_silicon(cell: Cell) -> bool:
    """Whether a phone's cell was measured on silicon, so that its times are a phone's."""
    return cell.evidence == "device"


def heat(matrix: Matrix) -> list[Finding]:
    """Every phone that was hot when it was measured, or became so meanwhile."""
    found = []
    for target, cells in phones(matrix).items():
        ran = [cell for cell in cells if cell.status == "ok"]
        hot = [cell for cell in ran if _hot(_run(cell).before)]
        warmed = [cell for cell in ran if cell not in hot and _hot(_run(cell).after)]
        told = []
        if hot:
            waits = [run.cooled for cell in hot if (run := _run(cell)).cooled > 0]
            most = "up to " if len(waits) > 1 else ""
            wait = f", after {most}{seconds(max(waits))} of waiting for it to cool" if waits else ""
            status = thermal(_worst([_run(cell).before for cell in hot]))
            where = f"when it was measured under {listing([c.scheme for c in hot], _MOST_SCHEMES)}"
            told.append(f"still hot (thermal status {status}) {where}{wait}")
        if warmed:
            status = thermal(_worst([_run(cell).after for cell in warmed]))
            where = listing([cell.scheme for cell in warmed], _MOST_SCHEMES)
            told.append(f"hot (thermal status {status}) at the end of {where}")
        if told:
            text = f"{target} was {'; and '.join(told)}. {_meaning(cells[0])}"
            found.append(Finding("caution", text, "phones"))
    return found


def _meaning(cell: Cell) -> str:
    if is_silicon(cell):
        return "A hot phone is slowed down: its times may be longer than it needs when cool."
    return "It is emulated: its times mean nothing, hot or cool."


def lines(matrix: Matrix) -> list[tuple[str, bool]]:
    """One line per phone, and whether it was hot: its times by scheme, and its heat."""
    told = []
    for target, cells in phones(matrix).items():
        worst = max((h for c in cells if (h := _hottest(c)) is not None), default=None)
        status, hot = thermal(worst), [c for c in cells if warning(_run(c))]
        if hot:
            each = [f"{thermal(_hottest(c))} under {c.scheme}" for c in hot]
            status = listing(each, _MOST_SCHEMES)
        mark = "HOT: " if hot else ""
        told.append((f"{target}: {_times(cells)}; {mark}thermal status {status}", bool(hot)))
    return told


def _times(cells: Sequence[Cell]) -> str:
    """A sample's time by scheme, of silicon; why there is none."""
    if not is_silicon(cells[0]):
        return "emulated, its times mean nothing"
    ran = [cell for cell in cells if cell.status == "ok"]
    timed = [(s, c.scheme) for c in ran if (s := _run(c).median_seconds) is not None]
    if not timed:
        return f"no times: {shorten(no_times(ran[0])) if ran else 'no cell has a result'}"
    if len(timed) > _MOST_SCHEMES:
        (least, fast), (most, slow) = min(timed), max(timed)
        told = f"{span(least)} a sample under {fast} to {span(most)} under {slow}, "
        told += f"{len(timed)} schemes"
    else:
        (first, scheme), *more = timed
        told = f"{span(first)} a sample under {scheme}"
        told += "".join(f", {span(some)} under {name}" for some, name in more)
    lacks = [cell.scheme for cell in ran if _run(cell).median_seconds is None]
    return f"{told} (no times under {listing(lacks, _MOST_SCHEMES)})" if lacks else told


def no_times(cell: Cell) -> str:
    """Why a phone's cell has no time of a sample; "" where it has one."""
    run = _run(cell)
    if run.median_seconds is not None:
        return ""
    if run.trouble:
        return run.trouble.rstrip(".")
    return "no sample ran" if run.samples == 0 else "what ran the model tells none"


def warning(run: PhoneRun) -> str:
    """That a phone was hot while it was measured; "" where it was not."""
    if _hot(run.before):
        waited = f" after {seconds(run.cooled)} of waiting" if run.cooled > 0 else ""
        return f"still hot{waited} when it was measured: {thermal(run.before.thermal)}"
    if _hot(run.after):
        return f"hot at the end: {thermal(run.after.thermal)}"
    return ""


def waited(run: PhoneRun) -> str:
    """How long a phone was waited for until it was cool; "" where it was not."""
    if _hot(run.before) or run.cooled < _WAITED:
        return ""
    return f"waited {seconds(run.cooled)} for it to cool down"


def state(look: PhoneState | None) -> str:
    """Heat and battery in words: "thermal status none, hottest 32 °C, battery 84 %, charging"."""
    if look is None:
        return "not told"
    parts = []
    if look.thermal is not None:
        parts.append(f"thermal status {thermal(look.thermal)}")
    if look.hottest_celsius is not None:
        parts.append(f"hottest {look.hottest_celsius:.0f} °C")
    battery = []
    if look.battery is not None:
        battery.append(f"{look.battery} %")
    if look.battery_celsius is not None:
        battery.append(f"{look.battery_celsius:.0f} °C")
    if look.charging is not None:
        battery.append("charging" if look.charging else "not charging")
    if battery:
        parts.append(f"battery {', '.join(battery)}")
    return ", ".join(parts) or "not told"


def thermal(status: int | None) -> str:
    """Android's name of a thermal status."""
    from chipdrift.phones.health import STATUSES  # not at the top: it loads all of the phones

    if status is None:
        return "not told"
    return STATUSES[status] if 0 <= status < len(STATUSES) else str(status)


def span(time: float) -> str:
    """A time of inference, given in seconds: "1.9 ms"."""
    return f"{number(1000 * time)} ms"


def seconds(time: float) -> str:
    """A time of waiting: "35 s"."""
    return f"{time:.0f} s" if time >= 1 else "less than 1 s"


def _hot(look: PhoneState | None) -> TypeGuard[PhoneState]:
    return look is not None and look.thermal is not None and look.thermal > 0


def _worst(looks: Sequence[PhoneState | None]) -> int | None:
    known = [look.thermal for look in looks if look is not None and look.thermal is not None]
    return max(known, default=None)


def _hottest(cell: Cell) -> int | None:
    return _worst([_run(cell).before, _run(cell).after])


def _run(cell: Cell) -> PhoneRun:
    assert cell.phone is not None
    return cell.phone


def counted_away(times: int) -> str:
    """How often a phone went away and came back."""
    return f"went away and came back {counted(times, 'time')}"
