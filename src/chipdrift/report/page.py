"""The report: one HTML file, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chipdrift.findings import Diagnosis
from chipdrift.records import Matrix

REPORT_FILE = "report.html"


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

    from chipdrift.report import agreement, basis, diagnosis, heatmap, partings, places
    from chipdrift.report.figures import Figures, noun, pieces
    from chipdrift.report.summary import findings

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("chipdrift.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pieces"] = pieces
    return environment.get_template("report.html.j2").render(
        matrix=matrix,
        figures=Figures.of(matrix),
        noun=noun(matrix),
        findings=[*findings(matrix), *diagnosis.sentences(diagnoses)],
        heat=heatmap.heatmap(matrix),
        agreements=agreement.agreements(matrix),
        diagnosed=diagnosis.diagnosed(matrix, diagnoses, fault),
        cards=partings.cards(matrix, pictures),
        places=places.placements(matrix),
        numbers=basis.numbers(matrix),
        evidence=basis.evidence(matrix),
        settings=basis.settings(matrix),
    )
