"""Facts of single lines, put together: sessions, tables of what was said and how often."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chipdrift.logs.findings import LogSession
from chipdrift.logs.grammar import Fact, Form
from chipdrift.logs.lines import words
from chipdrift.logs.processors import processor_of
from chipdrift.logs.quantizers import read_quantizer
from chipdrift.logs.session import Answer, Group, Outcome, Session
from chipdrift.logs.tally import Tally
from chipdrift.records import Quantizer

Stream = tuple[bytes, bytes] | None
Match = re.Match[bytes]

_STREAMS = 1_000
_TROUBLES = 10_000
_TEXT = 500
_NUMBERS = 1_000_000
_DIGITS = re.compile(r"0x[0-9a-fA-F]+|\d+")
_LISTED = re.compile(r"\{ ?name: (.*?), type: ([\w.]+) ?\}")
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}
_CHIP_FIELDS = {
    "soc": "soc",
    "soc_model": "soc_model",
    "soc_id": "soc_id",
    "arch": "arch",
    "ro_soc_model": "ro.soc.model",
    "vtcm_mb": "vtcm_mb",
    "detected": "detected",
}


# JSON's escape of a high surrogate without its low one, or of a low one alone.
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


@dataclass
class Times:
    """The sum and the extremes of one name's times."""

    total: float = 0.0
    least: float = float("inf")
    most: float = 0.0


@dataclass
class Parameters:
    """A tensor's quantizer, and how many later lines gave it another."""

    quantizer: Quantizer
    differing: int = 0


class Gathered:
    """What a log's lines say, by table; keys are what makes two lines say the same."""

    def __init__(self) -> None:
        self.sources: dict[str, int] = {}
        self.versions: Tally[tuple[str, str], None] = Tally()
        self.chips: Tally[tuple[str, str], None] = Tally()
        self.options: dict[str, str] = {}
        self.outcomes: Tally[tuple[str | None, str, str, str], None] = Tally()
        self.fell: Tally[tuple[str | None, str, str | None, tuple[str, ...], bool], None] = Tally()
        self.sessions: list[LogSession] = []
        self.listed = False
        self.taken: Tally[tuple[str, int | None, int | None, int | None], None] = Tally()
        self.refused: Tally[
            tuple[str | None, str | None, str, str | None, tuple[str, ...]], None
        ] = Tally()
        self.profiled: Tally[tuple[str, str, str], None] = Tally()
        self.subgraphs: Tally[tuple[str, str], None] = Tally()
        self.fused: Tally[tuple[str, tuple[str, ...]], None] = Tally()
        self.tensors: Tally[str, Parameters] = Tally()
        self.times: Tally[tuple[str, str, str | None, str | None, str], Times] = Tally()
        self.troubles: Tally[tuple[str, str, str], tuple[str, str | None]] = Tally(_TROUBLES)
        self.damage: Tally[str, None] = Tally()
        self._sessions: dict[Stream, Session] = {}
        self._numbers = 0
        self._known: dict[tuple[object, ...], tuple[str, tuple[str, str, str]]] = {}
        self._tensors: dict[tuple[bytes, ...], str] = {}
        self._takes: dict[Fact, Callable[[Form, Match, Session, int, str], None]] = {
            Fact.VERSION: self._version,
            Fact.CHIP: self._chip,
            Fact.OPTION: self._option,
            Fact.VERDICT: self._verdict,
            Fact.MEMBER: self._member,
            Fact.REASON: self._reason,
            Fact.ANSWER: self._answer,
            Fact.REFUSED: self._refused,
            Fact.REFUSED_LIST: self._refused_list,
            Fact.PLACES: self._places,
            Fact.PLACED: self._placed,
            Fact.ASSIGNED: self._assigned,
            Fact.TAKEN: self._taken,
            Fact.FUSION: self._fusion,
            Fact.TENSOR: self._tensor,
            Fact.TIME: self._time,
            Fact.EVENT: self._event,
            Fact.ERROR: self._trouble,
            Fact.WARNING: self._trouble,
        }

    def take(self, form: Form, match: Match, source: str, stream: Stream, line: int) -> None:
        """One line that ``form`` reads, of the ``source`` named, in the process ``stream``."""
        fact = form.fact
        if fact is Fact.NOTHING:
            return
        session = self._sessions.get(stream)
        if session is None:
            if len(self._sessions) >= _STREAMS:
                self.settle()
            session = self._sessions[stream] = Session(line=line)
        if fact is Fact.SESSION:
            self._sessions[stream] = session.next(line)
            self._settle(session)
        elif fact is Fact.SETUP:
            session.upcoming = Tally()
        elif fact is Fact.READY:
            session.become_ready()
        elif fact is Fact.TRYING:
            self._close(session)
            session.causes.clear()
        else:
            self._takes[fact](form, match, session, line, source)

    def settle(self) -> None:
        """End all sessions: the file ends, or there are too many processes to keep apart."""
        for session in self._sessions.values():
            self._settle(session)
        self._sessions.clear()

    def note(self, what: str, line: int = 0) -> None:
        """A part of the file that could not be read as it should."""
        self.damage.add(what, line, _none)

    def _settle(self, session: Session) -> None:
        self._close(session)
        outcomes = list(session.outcomes())
        for outcome in outcomes:
            key = (outcome.node, outcome.op, outcome.provider, outcome.how)
            self.outcomes.add(key, outcome.line, _none, outcome.count)
            if outcome.fell:
                self._fall(outcome)
        if not session.says_something:
            return
        if len(self.sessions) < _STREAMS:
            self.sessions.append(session.summary(outcomes))
        else:
            self.note("more sessions than are listed: they are in the sums only", session.line)

    def _fall(self, outcome: Outcome) -> None:
        key = (outcome.node, outcome.op, outcome.reason, outcome.causes, outcome.ran)
        self.fell.add(key, outcome.line, _none, outcome.count)

    def _close(self, session: Session) -> None:
        group = session.close()
        if group is None:
            return
        if len(group.members) != group.expected:
            self.note("a provider's answer has lost some of its lines", group.line)
        if session.is_fused(group):
            nodes = tuple(node for _, node in group.members)
            self.fused.add((group.kind, nodes), group.line, _none)
        if not group.passed:
            mine = [(o, n) for o, n in group.members if o == group.op] or [(group.op, "")]
            for op, node in mine:
                key = (node or None, op, group.by, group.reason, group.causes)
                self.refused.add(key, group.line, _none)

    def _version(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        what = form.fixed.get("what") or words(match["what"])
        self.versions.add((what, words(match["version"])), line, _none)

    def _chip(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        for group, value in match.groupdict().items():
            if value is not None:
                self.chips.add((_CHIP_FIELDS[group], words(value)), line, _none)
                session.name_chip(_CHIP_FIELDS[group], words(value), line)

    def _option(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        if len(self.options) < _STREAMS:
            self.options[words(match["name"])] = words(match["value"])[:_TEXT]

    def _verdict(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        self._close(session)
        session.open(
            Group(
                match["verdict"] == b"PASSED",
                words(match["group"]),
                words(match["op"]),
                form.fixed["by"],
                int(match["count"]),
                tuple(session.causes),
                line,
            )
        )

    def _member(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        group = session.group
        if group is None or len(group.members) >= group.expected:
            self.note("a node's line stands apart from the answer it belongs to", line)
            return
        group.members.append((words(match["op"]), words(match["node"])))

    def _reason(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        if session.group is None or session.group.passed:
            self.note("a reason stands apart from the answer it belongs to", line)
            return
        session.group.reason = words(match["reason"])[:_TEXT]
        self._close(session)

    def _answer(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        node, op, passed = words(match["node"]), words(match["op"]), match["verdict"] == b"1"
        session.answer(node, Answer(op, form.fixed["by"], passed, None, (), line))
        if not passed:
            self.refused.add((node or None, op, form.fixed["by"], None, ()), line, _none)

    def _refused(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        said = {**form.fixed, **{k: words(v) for k, v in match.groupdict().items() if v}}
        node, op, by, reason = said.get("node"), said.get("op"), said["by"], said.get("reason")
        reason = reason and reason[:_TEXT]
        self.refused.add((node, op, by, reason, ()), line, _none)
        if node and op:
            session.answer(node, Answer(op, by, False, reason, (), line))

    def _refused_list(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        for node, op in _LISTED.findall(words(match["nodes"])):
            self.refused.add((node, op, form.fixed["by"], None, ()), line, _none)
            if node not in session.answers:
                session.answer(node, Answer(op, form.fixed["by"], False, None, (), line))

    def _places(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        provider = words(match["provider"])
        session.section = provider
        session.providers.add(provider)
        count = None if match["nodes"] is None else int(match["nodes"])
        # Providers that compile count each of their subgraphs as a node.
        self.listed = True
        if processor_of(provider) == "npu" or provider.startswith("Nnapi"):
            session.counts.setdefault(provider, (None, line))
            self.taken.add((provider, None, None, count), line, _none)
        else:
            session.counts[provider] = count, line
            total = count if match["all"] else None
            self.taken.add((provider, count, total, None), line, _none)

    def _placed(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        if session.section is None:
            self.note("a placement has lost the line with its provider", line)
            return
        op, node = words(match["op"]), words(match["node"])
        # A provider's own subgraph bears its name: the nodes in it are known from its answers.
        if session.section not in node:
            session.place(node, op, session.section, line)

    def _assigned(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        provider = form.fixed.get("provider") or words(match["provider"])
        self.outcomes.add((None, words(match["op"]), provider, "placed"), line, _none)

    def _taken(self, form: Form, match: Match, session: Session, line: int, _: str) -> None:
        said = match.groupdict()
        provider = form.fixed.get("provider") or words(said["provider"])
        nodes, total, parts = (
            int(said[name]) if said.get(name) else None for name in ("nodes", "total", "partitions")
        )
        if provider == "QNNExecutionProvider" and (nodes == parts or parts == 0):
            nodes = 0 if parts == 0 else None  # the trap: partitions printed as nodes
        session.providers.add(provider)
        if nodes is not None or provider not in session.counts:
            session.counts[provider] = nodes, line
        self.taken.add((provider, nodes, total, parts), line, _none)

    def _fusion(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        self.fused.add((words(match["name"]), ()), line, _none)

    def _tensor(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        raw = match.groups()
        if same := self._tensors.get(raw):  # printed again at each session and for each op
            self.tensors.add(same, line, _never)
            return
        found = read_quantizer(words(match["dtype"]), words(match["rest"]))
        if found is None:
            return
        if self._numbers + len(found.scale) > _NUMBERS:
            self.note("more quantization parameters than are kept", line)
            return
        tensor = words(match["tensor"])
        known = self.tensors.get(tensor)
        kept = self.tensors.add(tensor, line, lambda: Parameters(found))
        if known is None:
            self._numbers += len(found.scale)
        elif kept is not None and kept.quantizer != found:
            kept.differing += 1
            return
        if len(self._tensors) < _TROUBLES:
            self._tensors[raw] = tensor

    def _time(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        said = {**form.fixed, **{k: words(v) for k, v in match.groupdict().items() if v}}
        unit = said["unit"].lower()
        try:
            value = float(said["value"]) * _UNITS.get(unit, 1.0)
        except ValueError:
            self.note("a time is no number", line)
            return
        name = said.get("node") or said.get("name") or said["op"]
        if "runs_on" in said and not name.startswith(("Input OpId_", "Output OpId_")):
            self.profiled.add((name, said.get("op", ""), said["runs_on"]), line, _none)
        unit = "cycles" if unit == "cycles" else "us"
        self._clock(
            (said["kind"], name[:_TEXT], said.get("op"), said.get("provider"), unit), value, line
        )

    def _clock(
        self, key: tuple[str, str, str | None, str | None, str], value: float, line: int
    ) -> None:
        times = self.times.add(key, line, Times)
        if times is not None:
            times.total += value
            times.least = min(times.least, value)
            times.most = max(times.most, value)

    def _event(self, form: Form, match: Match, _: Session, line: int, __: str) -> None:
        try:
            # Half a surrogate pair is no character, and nothing could be written with it.
            event: dict[str, Any] = json.loads(_HALF_PAIR.sub(rb"\\ufffd", match["event"]))
            name, duration = str(event["name"]), float(event["dur"])
            said = event.get("args") or {}
            kind = event["cat"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self.note("an event of the profile is broken and was left out", line)
            return
        if kind == "Session":
            self._clock(("phase", name[:_TEXT], None, None, "us"), duration, line)
        elif kind == "Node" and name.endswith("_kernel_time") and isinstance(said, dict):
            node = name.removesuffix("_kernel_time")
            op, provider = str(said.get("op_name", "")), str(said.get("provider", ""))
            self._clock(("node", node, op or None, provider or None, "us"), duration, line)
            if provider and provider not in node:
                self.profiled.add((node, op, provider), line, _none)
            elif provider:
                self.subgraphs.add((provider, node), line, _none)

    def _trouble(self, form: Form, match: Match, session: Session, line: int, source: str) -> None:
        severity = "error" if form.fact is Fact.ERROR else "warning"
        raw = match.groups()
        if known := self._known.get((severity, source, *raw)):  # the same words as before
            text, key = known
            self.troubles.add(key, line, lambda: (text, None))
            if severity == "error":
                self._blame(form, session, text, line, source)
            return
        said = match.groupdict()
        text = words(said["text"])[:_TEXT]
        node = words(said["node"]) if said.get("node") else None
        key = (severity, source, _DIGITS.sub("#", text))
        self.troubles.add(key, line, lambda: (text, node))
        if len(self._known) < _TROUBLES:
            self._known[severity, source, *raw] = text, key
        if severity == "error":
            self._blame(form, session, text, line, source)

    def _blame(self, form: Form, session: Session, text: str, line: int, source: str) -> None:
        session.blame(text)
        if stops := form.fixed.get("stops"):
            session.fail(stops, source, text, line)


def _none() -> None:
    return None


def _never() -> Parameters:
    raise AssertionError("a tensor that was kept is there")
