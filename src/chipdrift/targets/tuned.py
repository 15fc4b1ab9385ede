"""Options of a runtime in a target's name: ``htp:sm8550+offload_graph_io_quantization=0@2.50``.

Only what may change an answer is to be set there. An option that is set to what it is anyway is
another target all the same: its results are kept apart, and may be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets.base import Target


@dataclass(frozen=True)
class Option:
    """``key`` is the runtime's own name; ``values`` what may be said; ``words`` what it does."""

    key: str
    values: tuple[str, ...]
    words: str


def split_options(
    runtime: str, rest: str, known: Mapping[str, Option]
) -> tuple[str, dict[str, str]]:
    """What stands before the first ``+``, and the options behind it by their names here.

    ``rest`` has no release (``@``) any more. Raises ChipdriftError for an unknown option, a value
    that it does not take, and one that is set twice.
    """
    base, *given = rest.split("+")
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known:
            raise UnknownNameError.of(f"option of {runtime}:", name, list(known))
        if not equals or value not in known[name].values:
            raise ChipdriftError(
                f"Target {runtime}:{rest}: {name} is set to {value!r}, expected "
                f"{' or '.join(known[name].values)}, as in +{name}={known[name].values[0]}."
            )
        if name in found:
            raise ChipdriftError(f"Target {runtime}:{rest}: {name} is set twice. Leave one out.")
        found[name] = value
    return base, dict(sorted(found.items()))


def with_options(target: Target, given: Mapping[str, str], known: Mapping[str, Option]) -> Target:
    """``target`` with the options set, beside those that it has.

    No profile was probed from it so, nor does it share its family.
    """
    if not given:
        return target
    tuned, at, release = target.name.partition("@")
    base, *before = tuned.split("+")
    every = {**dict(text.split("=", 1) for text in before), **given}
    said = "".join(f"+{name}={value}" for name, value in sorted(every.items()))
    plain = None if target.family is None else target.family.partition("+")[0]
    return replace(
        target,
        name=f"{base}{said}{at}{release}",
        options={**target.options, **{known[n].key: value for n, value in given.items()}},
        description=", ".join(
            [target.description, *(f"{name}={value}" for name, value in given.items())]
        ),
        family=None if plain is None else f"{plain}{said}",
        profile="",
    )


def bare(target: str) -> str:
    """A target's name without its options and its release: ``htp:sm8550``."""
    return target.partition("@")[0].partition("+")[0]


def alternatives(known: Mapping[str, Option]) -> Sequence[tuple[str, str]]:
    """Every option with each of its values."""
    return [(name, value) for name, option in known.items() for value in option.values]
