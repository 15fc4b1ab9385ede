"""Content-addressed, crash-safe: what was measured, kept under the hash of all it depends on.

One SQLite file in write-ahead mode. A commit survives ``kill -9``; what is not committed is at most
:data:`COMMIT_SECONDS` old. One process writes a run at a time (a lock file says who).
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import io
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from chipdrift.errors import RunError

COMMIT_SECONDS = 0.5
# Raised when the tables, or what the facts mean, change.
_FORMAT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outputs (
    cell TEXT NOT NULL, sample TEXT NOT NULL, seconds REAL NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (cell, sample));
CREATE TABLE IF NOT EXISTS digests (
    cell TEXT NOT NULL, sample TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (cell, sample));
CREATE TABLE IF NOT EXISTS pictures (sample TEXT PRIMARY KEY, png BLOB NOT NULL);
"""


def content_key(value: object) -> str:
    """The SHA-256 of a JSON value, its keys sorted: the address of what depends on it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def pack_arrays(arrays: Iterable[np.ndarray[Any, Any]]) -> bytes:
    """Write arrays one after the other in NumPy's own format; bit-exact, no pickles."""
    stream = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


def unpack_arrays(data: bytes) -> list[np.ndarray[Any, Any]]:
    """Read what :func:`pack_arrays` wrote."""
    arrays, at = [], 0
    while at < len(data):
        if len(data) < at + 12:
            raise ValueError("packed arrays are cut off")
        start = at + (10 if data[at + 6] == 1 else 12)
        start += int.from_bytes(data[at + 8 : start], "little")
        dtype, shape, fortran = _header(data[at:start])
        count = math.prod(shape)
        flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
        arrays.append(flat.reshape(shape, order="F" if fortran else "C"))
        at = start + count * dtype.itemsize
    return arrays


@functools.lru_cache(maxsize=1024)
def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Parse NumPy's array header; a cell's samples all have the same one."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = read[version](stream)
    return dtype, shape, fortran


def digest_arrays(arrays: Iterable[np.ndarray[Any, Any]]) -> str:
    """The SHA-256 over dtype, shape and bits of arrays, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Store:
    """The measurements of one run folder.

    Outputs lie under (cell key, sample hash). Use as a context manager: leaving commits and
    unlocks. ``Store.open`` takes the write lock, ``Store.read`` does not.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: int | None) -> None:
        self.folder = folder
        self._db = db
        self._lock = lock
        self._committed = time.monotonic()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open for writing, creating the folder; raises RunError if another process writes."""
        lock: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)  # type: ignore[arg-type]
            raise RunError(
                f"Run {folder}: another chipdrift is writing it. Wait for it, or give another -o."
            ) from error
        except OSError as error:
            raise RunError(
                f"Run {folder}: cannot be written ({error.strerror}). Give another -o."
            ) from error
        try:
            db = _connect(folder, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL")
        except RunError:
            os.close(lock)
            raise
        return cls(folder, db, lock)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Open what a run left; raises RunError where there is no run."""
        file = folder / "store.sqlite"
        if not file.exists():
            raise RunError(
                f"{folder} is not a chipdrift run: it has no store.sqlite. Make one with "
                f"chipdrift matrix MODEL --data DATA -o {folder}."
            )
        with _explained(folder):
            db = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
            try:
                db.execute("PRAGMA schema_version").fetchone()
            except sqlite3.OperationalError as error:
                db.close()
                if not any(word in str(error) for word in ("unable to open", "readonly")):
                    raise
                # A read-only folder: SQLite cannot place its lock files. Nobody writes there.
                db = sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True)
            try:
                _check_version(folder, db)
            except BaseException:
                db.close()
                raise
        return cls(folder, db, None)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Turn what a damaged or foreign store makes of reading it into one RunError."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"Run {self.folder}: its store is damaged, or another version of chipdrift wrote "
                f"it ({type(error).__name__}). Give another -o, or move the folder away."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._lock is not None:
                self.commit()
        finally:
            self._db.close()
            if self._lock is not None:
                os.close(self._lock)

    def commit(self) -> None:
        """Make everything put so far survive a kill."""
        with _explained(self.folder):
            self._db.commit()
        self._committed = time.monotonic()

    def tick(self) -> None:
        """Commit if the last commit is older than :data:`COMMIT_SECONDS`."""
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit()

    def put_fact(self, key: str, value: object) -> None:
        """Keep a JSON value under ``key``."""
        with _explained(self.folder):
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def fact(self, key: str) -> Any:
        """The JSON value under ``key``, or None."""
        rows = self._rows("SELECT value FROM facts WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def put_output(self, cell: str, sample: str, seconds: float, data: bytes) -> None:
        """Keep one sample's packed outputs."""
        with _explained(self.folder):
            self._db.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?)", (cell, sample, seconds, data)
            )

    def measured(self, cell: str) -> dict[str, float]:
        """The samples a cell has outputs for, with the seconds each took."""
        return dict(self._rows("SELECT sample, seconds FROM outputs WHERE cell = ?", cell))

    def outputs(self, cell: str, samples: Iterable[str]) -> Iterator[list[np.ndarray[Any, Any]]]:
        """One list of arrays per sample, in the order asked for; KeyError if one is missing."""
        kept: Mapping[str, bytes] = dict(
            self._rows("SELECT sample, data FROM outputs WHERE cell = ?", cell)
        )
        for sample in samples:
            yield unpack_arrays(kept[sample])

    def put_digest(self, cell: str, sample: str, digest: str) -> None:
        """Keep the hash of all activations of one sample."""
        with _explained(self.folder):
            self._db.execute(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (cell, sample, digest)
            )

    def digests(self, cell: str) -> dict[str, str]:
        """The activation hashes a cell has, by sample."""
        return dict(self._rows("SELECT sample, digest FROM digests WHERE cell = ?", cell))

    def put_picture(self, sample: str, png: bytes) -> None:
        """Keep a sample's picture for the report."""
        with _explained(self.folder):
            self._db.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", (sample, png))

    def picture(self, sample: str) -> bytes | None:
        """A sample's picture, or None."""
        rows = self._rows("SELECT png FROM pictures WHERE sample = ?", sample)
        return bytes(rows[0][0]) if rows else None

    def drop_pictures(self) -> None:
        """Forget every picture: ``--no-samples`` holds for what an earlier run kept, too."""
        with _explained(self.folder):
            self._db.execute("DELETE FROM pictures")

    def _rows(self, query: str, key: str) -> list[Any]:
        with _explained(self.folder):
            return self._db.execute(query, (key,)).fetchall()

    def remove_files(self, *names: str) -> None:
        """Remove files of the run folder that may be there."""
        with _explained(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)

    def write_file(self, name: str, data: bytes) -> Path:
        """Write ``name`` in the run folder, whole or not at all."""
        path = self.folder / name
        with _explained(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(data)
            partial.replace(path)
        return path


def _connect(folder: Path, *pragmas: str) -> sqlite3.Connection:
    with _explained(folder):
        db = sqlite3.connect(folder / "store.sqlite")
        try:
            for pragma in pragmas:
                db.execute(pragma)
            _check_version(folder, db)
            db.executescript(_TABLES)
            db.execute(f"PRAGMA user_version={_FORMAT}")
        except BaseException:
            db.close()
            raise
        return db


def _check_version(folder: Path, db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _FORMAT):
        raise RunError(
            f"Run {folder}: another version of chipdrift wrote its store (format {version}, this "
            f"one reads {_FORMAT}). Give another -o."
        )


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say in one sentence why the run folder could not be written."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        words = str(error)
        if "full" in words or "disk I/O" in words:
            raise RunError(
                f"Run {folder}: the disk is full ({words}). What was committed is kept: free some "
                "space and run the same command again."
            ) from error
        raise RunError(
            f"Run {folder}: its store cannot be used ({words}). Move the folder away, or give "
            "another -o."
        ) from error
    except OSError as error:
        raise RunError(
            f"Run {folder}: cannot be written ({error.strerror}). What was committed is kept: "
            "mend that and run the same command again."
        ) from error
