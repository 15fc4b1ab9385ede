"""The store keeps what was committed, whoever dies, and says in one sentence what is wrong."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from chipdrift.errors import RunError
from chipdrift.store import Store, content_key, digest_arrays, pack_arrays, unpack_arrays


def packed(value: float) -> bytes:
    return pack_arrays([np.full(3, value, np.float32)])


def test_what_was_put_is_there_in_the_order_asked_for(tmp_path: Path) -> None:
    with Store.open(tmp_path / "run") as store:
        store.put_fact("model", {"sha256": "abc", "n": [1, 2.5, None]})
        for i, sample in enumerate("abc"):
            store.put_output("cell", sample, i / 10, packed(i))
        store.put_output("other", "a", 9.0, packed(9))
        store.put_digest("cell", "a", "d1")
        store.put_picture("a", b"\x89PNG\x00")
    with Store.read(tmp_path / "run") as store:
        assert store.fact("model") == {"sha256": "abc", "n": [1, 2.5, None]}
        assert store.fact("nothing") is None
        assert store.measured("cell") == {"a": 0.0, "b": 0.1, "c": 0.2}
        assert store.measured("none") == {}
        found = [arrays[0][0] for arrays in store.outputs("cell", ["c", "a", "c"])]
        assert found == [2, 0, 2]
        with pytest.raises(KeyError):
            list(store.outputs("cell", ["z"]))
        assert store.digests("cell") == {"a": "d1"}
        assert store.digests("other") == {}
        assert store.picture("a") == b"\x89PNG\x00"
        assert store.picture("b") is None


def test_a_later_value_replaces_an_earlier_one(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for value in (1, 2):
            store.put_fact("k", value)
            store.put_output("c", "s", value, packed(value))
            store.put_digest("c", "s", str(value))
            store.put_picture("s", bytes([value]))
        assert store.fact("k") == 2
        assert store.measured("c") == {"s": 2.0}
        assert next(store.outputs("c", ["s"]))[0][0] == 2
        assert store.digests("c") == {"s": "2"}
        assert store.picture("s") == b"\x02"
        store.drop_pictures()
        assert store.picture("s") is None


CHILD = """
import os, sys
from pathlib import Path
from chipdrift.store import Store, pack_arrays
import numpy as np
store = Store.open(Path(sys.argv[1]))
for i in range(50):
    store.put_output("cell", f"kept{i}", 0.0, pack_arrays([np.full(1000, i)]))
store.commit()
for i in range(50):
    store.put_output("cell", f"lost{i}", 0.0, pack_arrays([np.full(1000, i)]))
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_commit_survives_kill_dash_nine(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(RunError, match="another chipdrift is writing"):
            Store.open(tmp_path / "run")
        with Store.read(tmp_path / "run") as reader:
            assert len(reader.measured("cell")) == 50, "readers see what is committed"
        child.send_signal(signal.SIGKILL)
        child.wait()
    with Store.open(tmp_path / "run") as store:
        assert sorted(store.measured("cell")) == sorted(f"kept{i}" for i in range(50))
        for i in (0, 49):
            np.testing.assert_array_equal(next(store.outputs("cell", [f"kept{i}"]))[0], [i] * 1000)


def test_tick_commits_once_the_last_commit_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path) as store, Store.read(tmp_path) as reader:
        store.put_fact("a", 1)
        store.tick()
        assert reader.fact("a") is None
        monkeypatch.setattr("chipdrift.store.COMMIT_SECONDS", 0.0)
        store.tick()
        assert reader.fact("a") == 1


def test_leaving_by_an_exception_commits_and_unlocks(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Store.open(tmp_path) as store:
        store.put_fact("a", 1)
        _ = 1 / 0
    with Store.open(tmp_path) as store:
        assert store.fact("a") == 1


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Store.open(tmp_path):
        with pytest.raises(RunError, match=r"another chipdrift is writing.*another -o"):
            Store.open(tmp_path)
        with pytest.raises(RunError, match="another chipdrift"):
            Store.open(tmp_path)
    Store.open(tmp_path).__exit__()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match=r"not a chipdrift run.*no store\.sqlite"):
            Store.read(folder)
    assert not (tmp_path / "none").exists(), "reading makes nothing"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        Store.open(tmp_path / "file" / "run")


def test_a_file_that_is_no_database_and_the_lock_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    file.write_bytes(b"this is no database, but long enough to look like one" * 100)
    for attempt in (Store.open, Store.open, Store.read):
        with pytest.raises(RunError, match=r"its store cannot be used.*not a database"):
            attempt(tmp_path)
    file.unlink()
    with Store.open(tmp_path) as store:
        store.put_fact("a", 1)


def test_damage_in_the_middle_is_a_run_error_on_every_read(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for i in range(60):
            store.put_fact(f"k{i}", "v" * 1000)
            store.put_output("cell", f"s{i}", 0.0, packed(i) * 20)
            store.put_digest("cell", f"s{i}", "d" * 500)
            store.put_picture(f"s{i}", b"p" * 2000)
    file = tmp_path / "store.sqlite"
    whole = file.read_bytes()
    # The first page holds the schema; damage everything behind it.
    file.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    with Store.read(tmp_path) as store:
        for read in (
            lambda: store.fact("k1"),
            lambda: store.measured("cell"),
            lambda: list(store.outputs("cell", ["s1"])),
            lambda: store.digests("cell"),
            lambda: store.picture("s1"),
        ):
            with pytest.raises(RunError, match="Move the folder away") as caught:
                read()
            assert "\n" not in str(caught.value)


def test_write_file_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """The kernel refuses the write half way through, as a full disk does."""

    def child(connection: object) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with Store.open(tmp_path / "run") as store:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            try:
                store.write_file("models/a.onnx", b"y" * 3_000_000)
            except RunError as error:
                connection.send(str(error))  # type: ignore[attr-defined]

    with Store.open(tmp_path / "run") as store:
        path = store.write_file("models/a.onnx", b"x" * 2000)
    assert path == tmp_path / "run" / "models" / "a.onnx"
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
    process.start()
    assert ours.poll(30)
    assert "run the same command again" in ours.recv()
    process.join()
    ours.close()
    theirs.close()
    assert path.read_bytes() == b"x" * 2000
    with Store.open(tmp_path / "run") as store:
        store.write_file("models/a.onnx", b"z")
    assert path.read_bytes() == b"z"
    assert os.listdir(path.parent) == ["a.onnx"], "nothing half-written is left"  # noqa: PTH208


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from chipdrift.store import Store
        Path.replace = lambda *_: os.kill(os.getpid(), 9)
        with Store.open(Path(sys.argv[1])) as store:
            store.write_file("matrix.json", b"new")
        """
    )
    with Store.open(tmp_path) as store:
        store.write_file("matrix.json", b"old")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "matrix.json").read_bytes() == b"old"


def test_content_key_is_of_the_value_not_of_its_writing() -> None:
    import hashlib

    assert content_key({"b": 1, "a": [1, "x"]}) == content_key({"a": [1, "x"], "b": 1})
    assert content_key({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()
    assert content_key({"a": 1}) != content_key({"a": "1"})
    assert content_key([1, 2]) != content_key([2, 1])


def test_digests_tell_type_shape_and_bits_apart() -> None:
    zero = np.zeros(4, np.float32)
    others = [zero.reshape(2, 2), zero.astype(np.int32), -zero, zero[:3], zero.reshape(1, 4)]
    digests = {digest_arrays([array]) for array in [zero, *others]}
    assert len(digests) == 6
    assert digest_arrays([zero, zero[:0]]) != digest_arrays([zero])
    assert digest_arrays([zero[::-1]]) == digest_arrays([zero])
    matrix = np.arange(6.0).reshape(2, 3)
    assert digest_arrays([np.asfortranarray(matrix)]) == digest_arrays([matrix])


def test_a_store_written_by_plain_sqlite_can_be_read(tmp_path: Path) -> None:
    """The file is an ordinary SQLite database in write-ahead mode."""
    with Store.open(tmp_path) as store:
        store.put_fact("a", [1])
        store.commit()
        db = sqlite3.connect(tmp_path / "store.sqlite")
        try:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert db.execute("SELECT value FROM facts").fetchall() == [("[1]",)]
        finally:
            db.close()


def test_unpacking_what_is_cut_off_raises(tmp_path: Path) -> None:
    data = pack_arrays([np.arange(5), np.arange(3.0)])
    for cut in (1, 30, len(data) - 1):
        with pytest.raises((ValueError, EOFError)):
            unpack_arrays(data[:cut])
    assert unpack_arrays(b"") == []
