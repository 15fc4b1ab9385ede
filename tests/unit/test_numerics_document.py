"""docs/numerics.md and the code cite the same rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chipdrift.numerics.profile import Profile
from chipdrift.records import Record

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "numerics.md"
_RULE = re.compile(r"^- \*\*N(\d+)\*\* ", re.MULTILINE)
_CITED = re.compile(r"\bN(\d{1,2})\b(?:\s+to\s+N(\d+)\b)?")


def cited(text: str) -> set[int]:
    """The numbers in ``text``; "N10 to N14", across a line's end too, is five of them."""
    found = set()
    for first, last in _CITED.findall(re.sub(r"\n\s*#?\s*", " ", text)):
        found.update(range(int(first), int(last or first) + 1))
    return found


def sources(folder: str) -> Iterator[Path]:
    yield from (p for p in (ROOT / folder).rglob("*.py") if p != Path(__file__))


def rules() -> list[int]:
    return [int(number) for number in _RULE.findall(DOCUMENT.read_text(encoding="utf-8"))]


def test_citations_are_read() -> None:
    assert cited("Rules N10 to\n    N12, (N2), N40") == {10, 11, 12, 2, 40}
    assert cited("(N, C) and CN1 and N1x") == set()


def test_every_rule_stands_once_and_in_order() -> None:
    assert rules() == sorted(set(rules()))


@pytest.mark.parametrize("path", sorted(sources("src/chipdrift")), ids=lambda p: p.name)
def test_every_rule_that_the_code_cites_is_in_the_document(path: Path) -> None:
    # A range may reach over numbers that are not taken; its ends must be.
    text = re.sub(r"\n\s*#?\s*", " ", path.read_text(encoding="utf-8"))
    ends = {int(n) for pair in _CITED.findall(text) for n in pair if n}
    assert ends <= set(rules())


def test_every_rule_of_the_document_is_cited() -> None:
    seen = set[int]()
    for folder in ("src/chipdrift", "tests"):
        for path in sources(folder):
            seen |= cited(path.read_text(encoding="utf-8"))
    assert set(rules()) - seen == set()


def test_every_rule_that_the_document_refers_to_is_in_it() -> None:
    assert cited(DOCUMENT.read_text(encoding="utf-8")) <= set(rules())


def test_every_key_of_a_profile_is_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = []
    for table, field in Profile.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if (
                isinstance(kind, type)
                and issubclass(kind, Record)
                and table not in ("claim", "rule")
            ):
                keys = [key for key in kind.model_fields if not re.search(rf"\b{key}\b", text)]
                missing += [f"{table}.{key}" for key in keys]
                if f"{table}." not in text:
                    missing.append(table)
    assert missing == []
