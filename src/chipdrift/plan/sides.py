"""Which target stands for a chip, who answers while the search goes on, and who is searched with
whom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chipdrift.chips import Chip, get_chip, recognize
from chipdrift.errors import ChipdriftError
from chipdrift.plan.records import PlanChip
from chipdrift.schemes import Scheme
from chipdrift.targets import Target, get_target
from chipdrift.targets.tuned import bare


@dataclass(frozen=True, eq=False)
class Side:
    """A chip to plan for.

    ``target`` confirms; ``searcher`` judges candidates while the search goes on, but for those with
    activations of a type in ``far``, where the engine is not near; ``ranker`` says which layers
    matter and is calibrated on: the engine, even where it is not near enough to judge.
    """

    chip: PlanChip
    target: Target
    searcher: Target
    ranker: Target
    silicon: Chip | None
    far: frozenset[str] = frozenset()

    @property
    def engine(self) -> bool:
        """Whether the chip is our engine: what that leaves to onnxruntime left no NPU."""
        return self.chip.evidence in ("prediction", "hypothesis")

    def judge_of(self, scheme: Scheme) -> Target:
        """Who judges a scheme in the search; no engine stands for a chip's own float arithmetic."""
        if scheme.kind != "qdq":
            return self.target
        types = {layer.activations or scheme.activations for layer in scheme.layer}
        return self.target if (types | {scheme.activations}) & self.far else self.searcher


def resolve_sides(names: Sequence[str]) -> list[Side]:
    """Chips of the catalogue by name (their simulator confirms), or targets (``adb:SERIAL``).

    Raises ChipdriftError for an unknown name, a chip that cannot be simulated, and one named twice.
    """
    if not names:
        raise ChipdriftError("No chip is named. Give --chips sm8450,sm8550, say.")
    sides: list[Side] = []
    for name in names:
        side = _side(name)
        twin = next((s for s in sides if s.target.name == side.target.name), None)
        if twin is not None:
            raise ChipdriftError(
                f"--chips: {twin.chip.name} and {name} are the same target ({side.target.name}). "
                "Leave one out."
            )
        sides.append(side)
    return sides


def judged_by_target(side: Side, far: Mapping[str, str]) -> Side:
    """The side where the engine is not near; ``far`` has the reason by the type of activations.

    Candidates with such activations are judged by the target; all of them are where 8 bits are far.
    """
    if not far:
        return side
    whole = "uint8" in far
    judge = side.target if whole else side.searcher
    what = "the target itself" if whole else f"{judge.name}; with {', '.join(far)} the target"
    chip = side.chip.model_copy(
        update={
            "searcher": judge.name,
            "why": f"{what}: {'; '.join(far.values())}. {side.ranker.name} ranks the layers",
            "group": f"{side.chip.group}|far={','.join(sorted(far))}",
        }
    )
    return replace(side, chip=chip, searcher=judge, far=frozenset(far))


def _side(name: str) -> Side:
    if ":" in name:
        target = get_target(name)
        silicon = _chip_of(target)
    else:
        silicon = get_chip(name)
        try:
            target = get_target(f"htp:{silicon.soc.lower()}")
        except ChipdriftError as error:
            raise ChipdriftError(
                f"Chip {name}: no simulator can stand in for it here. {error} Name a target in its "
                "place: a phone (adb:SERIAL), or a profile (sim:FILE.toml)."
            ) from error
    engine = get_target(f"sim:{target.profile or 'ort-mlas'}")
    searcher = target
    if target.runtime == engine.runtime:
        ranker, why = target, "the target is the engine itself"
    elif target.profile:
        searcher = ranker = engine
        why = "the engine, under the profile probed from this target"
    else:
        ranker = engine
        why = (
            "the target itself: no profile of its numerics comes with chipdrift; "
            f"{engine.name} ranks the layers"
        )
    fp16 = silicon.fp16 if silicon is not None else None
    chip = PlanChip(
        name=name,
        words=target.description,
        target=target.name,
        evidence=target.evidence,
        searcher=searcher.name,
        why=why,
        group=_group(target, searcher, fp16),
        fp16=fp16,
        soc=silicon.soc if silicon is not None else None,
        soc_model=silicon.soc_model if silicon is not None else None,
        ro_soc_models=_android_names(silicon),
    )
    return Side(chip, target, searcher, ranker, silicon)


def _group(target: Target, searcher: Target, fp16: bool | None) -> str:
    """Equal for chips that may be searched together."""
    refused = ",".join(sorted(target.refuses))
    return f"{searcher.name}|refuses={refused}|cautions={','.join(target.cautions)}|fp16={fp16}"


def _chip_of(target: Target) -> Chip | None:
    """The catalogue's chip that a target is of, as far as it says so; an emulated one is none."""
    if target.name.startswith("htp:"):
        return get_chip(bare(target.name).partition(":")[2])
    told = target.versions.get("soc", "")
    return recognize(told) if told and target.evidence == "device" else None


def _android_names(chip: Chip | None) -> tuple[str, ...]:
    """What ``ro.soc.model`` says on phones with this chip."""
    if chip is None:
        return ()
    return tuple(dict.fromkeys(filter(None, (chip.ro_soc_model, chip.soc))))
