"""The disk that a search takes: its model files are made again when they are asked for again."""

from __future__ import annotations

import contextlib
from pathlib import Path

# Bytes of model files that a search leaves on the disk: it makes hundreds, and the answers stay.
_MOST = 2 << 30


class Space:
    """The model files in ``folder``, of which those used last stay, up to ``most`` bytes."""

    def __init__(self, folder: Path, most: int = _MOST) -> None:
        self._most = most
        there = sorted((file.stat().st_mtime_ns, file) for file in folder.glob("*.onnx"))
        self._sizes = {file: file.stat().st_size for _, file in there}  # used last at the end
        self._used: set[Path] = set()

    def has(self, file: Path) -> bool:
        """Whether it was used before and is still there; what an earlier process left is not."""
        return file in self._used and file.exists()

    def use(self, file: Path) -> None:
        """Say that ``file`` is there and is used now."""
        self._sizes.pop(file, None)
        self._sizes[file] = file.stat().st_size
        self._used.add(file)

    def tidy(self) -> None:
        """Remove what was used longest ago; the last one stays, whatever its size."""
        size = sum(self._sizes.values())
        for file in list(self._sizes)[:-1]:
            if size <= self._most:
                break
            size -= self._sizes.pop(file)
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
