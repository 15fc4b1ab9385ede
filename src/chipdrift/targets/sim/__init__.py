"""Our own engine as a target: ``sim:<profile>`` or ``sim:<file.toml>``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from chipdrift.errors import ModelError, UnknownNameError
from chipdrift.numerics import ENGINE
from chipdrift.numerics.profiles import builtin_profiles, get_profile
from chipdrift.targets.base import RefusedError, Session, Target, TargetInfo


def resolve(rest: str) -> Target:
    """``sim:<name>`` of a profile that comes with chipdrift, or ``sim:<path>.toml``."""
    try:
        profile = get_profile(rest)
    except UnknownNameError as error:
        raise UnknownNameError(f"Target sim:{rest}: {error}") from error
    path = str(Path(rest).resolve()) if rest.endswith(".toml") else ""
    return Target(
        name=f"sim:{rest if path else profile.name}",
        runtime=__name__,
        evidence=profile.evidence,
        has_npu=True,
        options={"profile": path or profile.name, "sha256": profile.sha256},
        versions={
            "engine": ENGINE,
            "profile": profile.sha256[:16],
            "onnxruntime": metadata.version("onnxruntime"),
        },
        description=profile.description or f"chipdrift's engine, profile {profile.name}",
        profile=path or profile.name,
    )


def listed() -> list[TargetInfo]:
    """The profiles that come with chipdrift."""
    return [
        TargetInfo(
            name=f"sim:{name}",
            evidence=profile.evidence,
            available=True,
            description=profile.description,
        )
        for name, profile in builtin_profiles().items()
    ]


def preload() -> None:
    """Import the engine and what it computes with."""
    import chipdrift.targets.sim.session  # noqa: F401


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """The engine on the model at ``path``; raises ChipdriftError where the profile has changed."""
    from chipdrift.graph.program import read_program
    from chipdrift.targets.sim.session import SimSession

    profile = get_profile(options["profile"])
    if options.get("sha256", profile.sha256) != profile.sha256:
        raise RuntimeError(
            f"the profile {options['profile']} changed while the run was going on; start it again"
        )
    try:
        return SimSession(read_program(path), profile, fast=options.get("engine") != "reference")
    except ModelError as error:
        raise RefusedError(str(error)) from error
