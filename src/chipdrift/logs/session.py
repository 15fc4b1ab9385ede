"""What one process says of one session, put together from lines that belong together.

A provider's answer takes several lines: the group, its nodes, the reason. A later answer replaces
an earlier one of the same node (onnxruntime asks twice, before and after it changes the layout),
and the session's own list of placements stands above both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from chipdrift.logs.findings import ChipLine, Failure, LogSession, Share
from chipdrift.logs.processors import processor_of
from chipdrift.logs.tally import LIMIT, Tally

CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# onnxruntime's layout step calls what it touches "<name>_token_<number>", and its quantization
# step a second DequantizeLinear "<name>/duplicated".
_TOKEN = re.compile(r"_token_\d+$|/duplicated(?:_token_\d+)?$")
_PLAIN_GROUPS = frozenset({"NodeUnit", "OrtNodeUnit", "QnnNodeUnitWrapper"})
_CAUSES = 8


def plain_name(name: str) -> str:
    """A node's name before onnxruntime's layout and quantization steps renamed it."""
    return _TOKEN.sub("", name)


@dataclass
class Group:
    """A group of nodes with the provider's answer; ``expected`` nodes were announced."""

    passed: bool
    kind: str
    op: str
    by: str
    expected: int
    causes: tuple[str, ...]
    line: int
    members: list[tuple[str, str]] = field(default_factory=list)
    reason: str | None = None


@dataclass(frozen=True)
class Answer:
    """A provider's last word on one node."""

    op: str
    by: str
    passed: bool
    reason: str | None
    causes: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Outcome:
    """What became of one node in one session; ``how`` as in ``NodePlacement``."""

    node: str | None
    op: str
    provider: str
    how: str
    reason: str | None
    causes: tuple[str, ...]
    line: int
    fell: bool
    count: int = 1
    ran: bool = True


Chips = Tally[tuple[str, str], None]
"""Chips by field and value."""


@dataclass
class Session:
    """The lines of one process and thread since its last session began.

    ``started`` and ``ready``: the log has the lines that say so. ``upcoming`` are chips that were
    named for the session after this one. ``counts`` are nodes by provider, with the line, where the
    log only counts them; None where it counts subgraphs.
    """

    line: int = 0
    started: bool = False
    ready: bool = False
    chips: Chips = field(default_factory=Tally)
    upcoming: Chips | None = None
    failures: dict[str, Failure] = field(default_factory=dict)
    counts: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    group: Group | None = None
    causes: list[str] = field(default_factory=list)
    section: str | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    placed: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    providers: set[str] = field(default_factory=set)
    # Nodes without a name, by op: what refused the op last, and how many are where.
    nameless: dict[str, Answer] = field(default_factory=dict)
    counted: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def blame(self, cause: str) -> None:
        """Keep an error: it is a cause if a refusal follows."""
        if cause not in self.causes and len(self.causes) < _CAUSES:
            self.causes.append(cause)

    def next(self, line: int) -> Session:
        """The session that starts at ``line``, with the chip that was named for it."""
        chips, self.upcoming = self.upcoming, None
        if chips is None:
            chips = Tally() if self.says_something else self.chips
        return Session(line=line, started=True, chips=chips)

    @property
    def says_something(self) -> bool:
        """Whether it says where nodes are, or that it failed."""
        return bool(
            self.answers
            or self.placed
            or self.nameless
            or self.counted
            or self.counts
            or self.failures
        )

    def name_chip(self, field: str, value: str, line: int) -> None:
        """A chip, of this session or, where the next one's provider was made, of that."""
        chips = self.chips if self.upcoming is None else self.upcoming
        chips.add((field, value), line, lambda: None)

    def become_ready(self) -> None:
        """The session came to be, whatever went wrong on the way."""
        self.ready = True
        self.failures.pop("session", None)

    def fail(self, stops: str, source: str, text: str, line: int) -> None:
        """Something that ends a session, a run or, ``either``, what of the two was under way."""
        if stops == "either":
            stops = "run" if self.ready else "session" if self.started else "unknown"
        if stops not in self.failures:
            self.failures[stops] = Failure.model_validate(
                {"kind": stops, "source": source, "text": text, "line": line}
            )

    def summary(self, outcomes: list[Outcome]) -> LogSession:
        """What it says, with its own ``outcomes``."""
        nodes: dict[str, tuple[int | None, int]] = {}
        refused = 0
        for outcome in outcomes:
            if outcome.op in CONVERSIONS:
                continue
            if outcome.ran:
                count, line = nodes.get(outcome.provider, (0, outcome.line))
                nodes[outcome.provider] = (count or 0) + outcome.count, min(line, outcome.line)
            else:
                refused += outcome.count
        for provider, counted in self.counts.items():
            nodes.setdefault(provider, counted)
        said = [*self.chips, *(self.upcoming or ())]
        return LogSession(
            line=self.line,
            chips=tuple(
                ChipLine.model_validate(
                    {"field": field, "value": value, "count": seen.count, "line": seen.line}
                )
                for (field, value), seen in said
            ),
            shares=tuple(
                Share(provider=provider, processor=processor_of(provider), nodes=count, line=line)
                for provider, (count, line) in nodes.items()
            ),
            listed=self.section is not None,
            refused=refused,
            failures=tuple(self.failures.values()),
        )

    def open(self, group: Group) -> None:
        """Begin a group with what went wrong since the last one."""
        self.group = group
        self.causes.clear()
        self.providers.add(group.by)

    def close(self) -> Group | None:
        """Take the answers of the open group, and give it back."""
        group, self.group = self.group, None
        if group is not None:
            for op, node in group.members:
                # Of a refused group the node in its middle has the reason; its Q and DQ follow it.
                own = op == group.op or len(group.members) == 1
                self.answer(
                    node,
                    Answer(
                        op,
                        group.by,
                        group.passed,
                        group.reason if own or op not in CONVERSIONS else None,
                        group.causes if own else (),
                        group.line,
                    ),
                )
        return group

    def answer(self, node: str, answer: Answer) -> None:
        """The provider's answer to one node; a later one replaces it."""
        self.providers.add(answer.by)
        if not node:
            if not answer.passed:
                self.nameless[answer.op] = answer
        elif node in self.answers or len(self.answers) < LIMIT:
            self.answers[node] = answer

    def place(self, node: str, op: str, provider: str, line: int) -> None:
        """The session's own word on one node."""
        if not node:
            self.counted.setdefault((op, provider), []).append(line)
        elif node in self.placed or len(self.placed) < LIMIT:
            self.placed[node] = (op, provider, line)

    def outcomes(self) -> Iterator[Outcome]:
        """Every node's outcome; the layout step's own Transposes are left out."""
        names = {*self.answers, *self.placed}
        answers: dict[str, Answer] = {}
        for node, answer in self.answers.items():
            answers[_own(node, names)] = answer
        placed = {_own(node, names): entry for node, entry in self.placed.items()}
        npu = any(processor_of(provider) == "npu" for provider in self.providers)
        came = "session" not in self.failures
        for node, (op, provider, line) in placed.items():
            refused = answers.get(node)
            why = refused if refused is not None and not refused.passed else None
            fell = npu and processor_of(provider) == "cpu"
            yield Outcome(
                node,
                op,
                provider,
                "placed",
                why.reason if why and fell else None,
                why.causes if why and fell else (),
                line,
                fell,
                ran=came or not fell,
            )
        for node, answer in answers.items():
            if node in placed or (answer.op == "Transpose" and plain_name(node) != node):
                continue
            yield Outcome(
                node,
                answer.op,
                answer.by if answer.passed else "CPUExecutionProvider",
                "validated" if answer.passed else "refused",
                answer.reason,
                answer.causes,
                answer.line,
                not answer.passed,
                ran=answer.passed or came,
            )

        yield from self._nameless_outcomes(npu, came)

    def _nameless_outcomes(self, npu: bool, came: bool) -> Iterator[Outcome]:
        """Of nodes without a name the reason is that of their op; ``came``: the session did."""
        for (op, provider), lines in self.counted.items():
            fell = npu and processor_of(provider) == "cpu"
            why = self.nameless.get(op) if fell else None
            yield Outcome(
                None,
                op,
                provider,
                "placed",
                why.reason if why else None,
                why.causes if why else (),
                lines[0],
                fell,
                len(lines),
                ran=came or not fell,
            )
        if not self.placed and not self.counted:
            for op, answer in self.nameless.items():
                yield Outcome(
                    None,
                    op,
                    "CPUExecutionProvider",
                    "refused",
                    answer.reason,
                    answer.causes,
                    answer.line,
                    True,
                    ran=came,
                )

    def is_fused(self, group: Group) -> bool:
        """Whether the provider takes the group's nodes as one op of its own."""
        return group.passed and group.kind not in _PLAIN_GROUPS and len(group.members) > 1


def _own(node: str, names: set[str]) -> str:
    """The name without the layout step's suffix, where the log has a node of that name."""
    plain = plain_name(node)
    return plain if plain in names else node
