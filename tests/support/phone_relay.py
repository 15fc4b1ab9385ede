"""An adb server that listens at a socket in the file system: a port for it, and questions."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path


class Relay:
    """Carries every connection to ``address`` on to ``place``, in threads of this process."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those there end with the server."""
        # Closing alone would leave the thread in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = _connected(self._place)
            except OSError:
                client.close()
                continue
            threading.Thread(target=_carry, args=(client, server), daemon=True).start()


def ask_server(place: Path, service: str, patience: float) -> str:
    """One question to an adb server; raises RuntimeError where it says FAIL, or OSError."""
    with _connected(place) as server, server.makefile("rb") as answers:
        server.settimeout(patience)
        server.sendall(f"{len(service):04x}{service}".encode())
        status = answers.read(4)
        answer = answers.read(int(answers.read(4) or b"0", 16)).decode()
    if status != b"OKAY":
        raise RuntimeError(f"adb server, {service}: {answer or 'no answer'}")
    return answer


def _connected(place: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(str(place))
    except OSError:
        server.close()
        raise
    return server


def _carry(client: socket.socket, server: socket.socket) -> None:
    """Both directions until both have ended."""
    with client, server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes until the source's end, which is passed on."""
    try:
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    except OSError:
        # Reset: the other side shall see an end, too.
        for end in (source, sink):
            _end(end, socket.SHUT_RDWR)
        return
    _end(sink, socket.SHUT_WR)


def _end(side: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        side.shutdown(how)
