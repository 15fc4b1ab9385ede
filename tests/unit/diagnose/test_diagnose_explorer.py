"""Node data for Model Explorer, held to the schema that it documents."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel
from qdq_models import conv_stack

from chipdrift.diagnose.drift import Alone, measure_drift, measure_own
from chipdrift.diagnose.explorer import error_percent, node_data, step_of, write_node_data
from chipdrift.diagnose.files import read_diagnoses, write_diagnosis
from chipdrift.errors import RunError
from chipdrift.findings import Activation, Diagnosis, Distance, Own, Side, Verdict
from chipdrift.graph import dissect
from chipdrift.probe.ask import Asker
from chipdrift.targets import get_target

# As node_data_builder.py of ai-edge-model-explorer 0.1.34 documents it.


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Result(_Strict):
    value: Annotated[float, Field(allow_inf_nan=False)] | int
    bgColor: str | None = None  # noqa: N815
    textColor: str | None = None  # noqa: N815


class Threshold(_Strict):
    value: float | int
    bgColor: str  # noqa: N815
    textColor: str | None = None  # noqa: N815


class Graph(_Strict):
    results: dict[str, Result]
    name: str | None = None
    thresholds: list[Threshold] = []
    hideAggregatedStats: list[Literal["min", "max", "sum", "avg"]] | None = None  # noqa: N815
    hideInChildrenStatsTable: bool = False  # noqa: N815


class Document(RootModel[dict[str, Graph]]):
    pass


def far(decibels: float | None) -> Distance:
    return Distance(values=10, differing=0.0 if decibels is None else 0.5, sqnr_db=decibels)


def entry(name: str, depth: int, distance: Distance | None, *more: str) -> Own:
    return Own(
        node=name,
        op="Conv",
        nodes=(name, *more),
        tensor=f"{name}/out",
        depth=depth,
        distance=distance,
    )


def diagnosis(*own: Own, **changes: object) -> Diagnosis:
    fields: dict[str, object] = {
        "chipdrift": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "run": "run",
        "model": "model",
        "model_sha256": "a" * 64,
        "scheme": "w8a8",
        "a": Side(target="htp:a", name="a", evidence="vendor-simulator"),
        "b": Side(target="htp:b", name="b", evidence="vendor-simulator"),
        "samples": 1,
        "own_samples": 1,
        "outputs": (),
        "activations": tuple(
            Activation(tensor=o.tensor, node=o.node, op=o.op, depth=o.depth, distance=far(20.0))
            for o in own
        ),
        "first_layer": None,
        "first_op": None,
        "own": own,
        "explanations": (),
        "attributions": (),
        "unexplained": None,
        "verdict": Verdict(cause="neither", words="none."),
        "findings": (),
    }
    return Diagnosis.model_validate(fields | changes)


@pytest.mark.parametrize(
    ("decibels", "percent", "step"),
    [
        (None, 0.0, 0),
        (80.0, 0.01, 1),
        (60.0, 0.1, 1),
        (40.0, 1.0, 2),
        (20.0, 10.0, 3),
        (0.0, 100.0, 4),
        (-3000.0, 1000.0, 4),
    ],
)
def test_decibels_are_a_share_of_the_signal(
    decibels: float | None, percent: float, step: int
) -> None:
    assert error_percent(far(decibels)) == pytest.approx(percent)
    assert step_of(far(decibels)) == step


def test_documents_are_as_model_explorer_documents_them(tmp_path: Path) -> None:
    found = diagnosis(
        entry("c1", 0, far(None)),
        entry("c2", 1, far(40.0), "c2/relu"),
        entry("c2", 1, far(30.0), "c2/relu"),  # another output of the same node
        entry("c3", 2, None),
    )
    own, drift = write_node_data(tmp_path / "w8a8--a--b.json", found, "net")
    assert own.name == "w8a8--a--b.own-error.model-explorer.json"
    assert drift.name == "w8a8--a--b.drift.model-explorer.json"
    graphs = Document.model_validate_json(own.read_bytes()).root
    assert list(graphs) == ["net"]
    values = {node: result.value for node, result in graphs["net"].results.items()}
    assert values == {"c1": 0.0, "c2": 3.162, "c2/relu": 3.162}
    bounds = [threshold.value for threshold in graphs["net"].thresholds]
    assert bounds == sorted(bounds)  # the first whose bound is not exceeded colours the node
    assert bounds[-1] >= max(values.values())
    graphs = Document.model_validate_json(drift.read_bytes()).root
    assert {r.value for r in graphs["net"].results.values()} == {10.0}
    assert set(graphs["net"].results) == {"c1", "c2", "c2/relu", "c3"}
    assert not list(tmp_path.glob("*.partial"))


def test_targets_that_are_long_paths_have_files_of_their_own(tmp_path: Path) -> None:
    paths = [f"sim:/some/{'folder/' * 40}{name}.toml" for name in ("one", "two")]
    pairs = [
        diagnosis(b=Side(target=path, name=path, evidence="hypothesis"), scheme="w8a8")
        for path in paths
    ]
    for found in pairs:
        write_node_data(write_diagnosis(tmp_path, found), found, "net")
    assert {found.b.target for found in read_diagnoses(tmp_path)[0]} == set(paths)
    assert len(list(tmp_path.glob("diagnosis/*.model-explorer.json"))) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_node_data(tmp_path / "gone" / "a.json", diagnosis(), "net")


def test_ids_are_the_nodes_of_the_file_and_the_edges_its_own() -> None:
    """On a real model: every id names a node of the ONNX file, every input a tensor of it."""
    model = conv_stack(per_channel=False)
    proto = model.model()
    data = proto.SerializeToString()
    anatomy = dissect(data)
    feeds = [model.feed()]
    with Asker(get_target("sim:ort-mlas")) as a, Asker(get_target("sim:hexagon-v69")) as b:
        tapped = [
            [
                dict(zip(anatomy.tensors, answer, strict=True))
                for answer in asker.ask_each(anatomy.tapped, feeds)
            ]
            for asker in (a, b)
        ]
        drift = measure_drift(anatomy, iter(tapped[0]), iter(tapped[1]), keep=1)
        sides = (Alone(asker, data, anatomy.cut) for asker in (a, b))
        own, _, _ = measure_own(anatomy, drift, feeds, *sides)
    found = diagnosis(*own, activations=tuple(drift.activations), outputs=tuple(drift.outputs))
    documents = node_data(found, anatomy.graph)
    names = {node.name for node in proto.graph.node}
    for document in documents.values():
        assert list(json.loads(json.dumps(document))) == [proto.graph.name] == ["net"]
        assert set(document["net"]["results"]) <= names
        assert set(document["net"]["results"]) >= {"n_stem", "n_wide", "n_relu", "n_last"}
    edges = {(source, entry.node) for entry in own for source in entry.inputs}
    assert edges == {
        ("x", "n_stem"),
        ("stem_quant", "n_wide"),
        ("wide_quant", "n_point"),
        ("relu_quant", "n_last"),
    }
