"""The selectors that an app carries, as sources: Java, C++ and Python."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from chipdrift.bundle.layout import write_whole
from chipdrift.errors import ChipdriftError

_SUFFIXES = {"java": (".java",), "cpp": (".h", ".cpp"), "python": (".py",)}
LANGUAGES = tuple(_SUFFIXES)


def write_selector(language: str, out: Path) -> list[Path]:
    """Write the sources for ``language`` below the folder ``out``; the files.

    Raises ChipdriftError where one exists with another content.
    """
    found = selector_files(language)
    for name, data in found.items():
        file = out / name
        if file.exists() and (not file.is_file() or file.read_bytes() != data):
            raise ChipdriftError(
                f"-o {out}: {name} is there and is another one. Remove it, or give another -o."
            )
    try:
        for name, data in found.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / name, data)
    except OSError as error:
        raise ChipdriftError(f"-o {out}: cannot be written ({error.strerror}).") from error
    return [out / name for name in found]


def selector_files(language: str) -> dict[str, bytes]:
    """The sources by their path: Java's lie in their package's folder."""
    root = Path(str(resources.files(__name__))) / language
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.suffix in _SUFFIXES[language] and file.name != "__init__.py"
    }
