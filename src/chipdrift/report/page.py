"""The report: one HTML file, nothing fetched, no script but that of the buttons that copy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

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


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into a run folder, whole or not at all, and say where it lies.

    Raises RunError where the folder holds no finished run or cannot be written.
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
        return store.write_file(REPORT_FILE, render(matrix, pictures, diagnoses, fault).encode())


def render(
    matrix: Matrix,
    pictures: Mapping[int, bytes],
    diagnoses: Sequence[Diagnosis] = (),
    fault: str | None = None,
) -> str:
    """The report as text; ``pictures`` are PNG files by sample index.

    ``fault`` says why the run's diagnoses cannot be read.
    """
    import jinja2

    from chipdrift.report import agreement, basis, checked, diagnosis, heatmap, partings, places
    from chipdrift.report.briefly import shortened
    from chipdrift.report.figures import Figures, held, noun, pieces
    from chipdrift.report.phonerows import on_the_phones
    from chipdrift.report.summary import findings

    matrix, diagnoses = shortened(matrix), [shortened(found) for found in diagnoses]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chipdrift.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pieces"] = pieces
    commands = any(finding.command for found in diagnoses for finding in found.findings)
    return environment.get_template("report.html.j2").render(
        script=_script(environment) if commands else None,
        matrix=matrix,
        figures=Figures.of(matrix),
        noun=noun(matrix),
        held=held(matrix),
        findings=[*findings(matrix), *diagnosis.sentences(diagnoses)],
        heat=heatmap.heatmap(matrix),
        checked=checked.section(matrix),
        on_phones=on_the_phones(matrix),
        agreements=agreement.agreements(matrix),
        diagnosed=diagnosis.diagnosed(matrix, diagnoses, fault),
        cards=partings.cards(matrix, pictures),
        places=places.placements(matrix),
        numbers=basis.numbers(matrix),
        evidence=basis.evidence(matrix),
        settings=basis.settings(matrix),
    )


def _script(environment: jinja2.Environment) -> Script:
    from markupsafe import Markup

    text = environment.get_template("copy.js").render()
    digest = hashlib.sha256(text.encode()).digest()
    return Script(Markup(text), base64.b64encode(digest).decode())
