"""The report: one HTML file, nothing fetched, no script but that of the buttons that copy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from chipdrift.findings import Diagnosis
from chipdrift.records import Matrix

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

REPORT_FILE = "report.html"


@final
@dataclass(frozen=True)
class Script:
    """The page's own script; its policy lets this text run, by its hash, and no other."""

    text: Markup
    sha256: str


@final
@dataclass(frozen=True)
class Head:
    """What stands over a page: the model, the version of chipdrift that wrote it, and when."""

    title: str
    chipdrift: str
    created: str


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run's or a plan's folder, whole or not at all; say where it is.

    A plan's holds the plan, and below it what was measured in ``confirm``. Raises RunError where
    the folder holds no finished run or plan, or cannot be written.
    """
    from chipdrift.report.plan_page import is_plan, write_plan_report

    if is_plan(Path(folder)):
        return write_plan_report(Path(folder))
    measured = read_measured(folder)
    from chipdrift.store import Store

    with Store.read(Path(folder)) as store:
        return store.write_file(REPORT_FILE, render(*measured).encode())


def read_measured(
    folder: str | Path,
) -> tuple[Matrix, dict[int, bytes], list[Diagnosis], str | None]:
    """What a run's folder holds: as :func:`render` takes it.

    Raises RunError where the folder holds no finished run.
    """
    from chipdrift.diagnose.files import read_diagnoses
    from chipdrift.matrix import read_matrix
    from chipdrift.store import Store

    matrix = read_matrix(folder)
    diagnoses, faults = read_diagnoses(folder)
    fault = " ".join(faults) or None  # what was measured is shown all the same
    with Store.read(Path(folder)) as store:
        keys = store.fact("samples") or []
        pictures = {}
        for index in {parting.sample for parting in matrix.partings}:
            png = store.picture(keys[index]) if index < len(keys) else None
            if png is not None:
                pictures[index] = png
    return matrix, pictures, list(diagnoses), fault


def render(
    matrix: Matrix,
    pictures: Mapping[int, bytes],
    diagnoses: Sequence[Diagnosis] = (),
    fault: str | None = None,
) -> str:
    """A run's report as text; ``pictures`` are PNG files by sample index.

    ``fault`` says why the run's diagnoses cannot be read.
    """
    head = Head(matrix.model.name, matrix.chipdrift, matrix.created)
    return fill(head, measured=told(matrix, pictures, diagnoses, fault))


def fill(head: Head, **parts: Any) -> str:
    """The page of these parts: ``measured`` (by :func:`told`), and ``plan`` with what it needs."""
    environment = _environment()
    measured = parts.pop("measured", None) or {"matrix": None, "commands": False}
    script = _script(environment) if measured.pop("commands") else None
    parts = {"plan": None, **measured, **parts}
    return environment.get_template("report.html.j2").render(head=head, script=script, **parts)


def told(
    matrix: Matrix,
    pictures: Mapping[int, bytes],
    diagnoses: Sequence[Diagnosis] = (),
    fault: str | None = None,
) -> dict[str, Any]:
    """What a run's part of the page is filled with, by the templates' names."""
    from chipdrift.report import agreement, basis, checked, diagnosis, heatmap, partings, places
    from chipdrift.report.briefly import shortened
    from chipdrift.report.figures import Figures, held, noun
    from chipdrift.report.phonerows import on_the_phones
    from chipdrift.report.summary import findings

    matrix, diagnoses = shortened(matrix), [shortened(found) for found in diagnoses]
    return {
        "commands": any(finding.command for found in diagnoses for finding in found.findings),
        "matrix": matrix,
        "figures": Figures.of(matrix),
        "noun": noun(matrix),
        "held": held(matrix),
        "findings": [*findings(matrix), *diagnosis.sentences(diagnoses)],
        "heat": heatmap.heatmap(matrix),
        "checked": checked.section(matrix),
        "on_phones": on_the_phones(matrix),
        "agreements": agreement.agreements(matrix),
        "diagnosed": diagnosis.diagnosed(matrix, diagnoses, fault),
        "cards": partings.cards(matrix, pictures),
        "places": places.placements(matrix),
        "numbers": basis.numbers(matrix),
        "evidence": basis.evidence(matrix),
        "settings": basis.settings(matrix),
    }


def _environment() -> jinja2.Environment:
    import jinja2

    from chipdrift.report.figures import pieces

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chipdrift.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pieces"] = pieces
    return environment


def _script(environment: jinja2.Environment) -> Script:
    from markupsafe import Markup

    text = environment.get_template("copy.js").render()
    digest = hashlib.sha256(text.encode()).digest()
    return Script(Markup(text), base64.b64encode(digest).decode())
