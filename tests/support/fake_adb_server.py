"""An adb server that only answers what phones it sees: for states that no emulated phone can have.

It speaks the server's protocol as AOSP's OVERVIEW.TXT and SERVICES.TXT describe it: a request is
four hexadecimal digits of length and the words, an answer ``OKAY`` or ``FAIL`` and such a block.
The real server, with real phones, is in tests/system.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def adb_server_that_sees(phones: Mapping[str, str], version: int = 41) -> Iterator[int]:
    """Its port on this host. ``phones`` maps serials to states."""
    listed = "".join(f"{serial}\t{state}\n" for serial, state in phones.items())

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            size = self.request.recv(4)
            asked = self.request.recv(int(size, 16)).decode() if len(size) == 4 else ""
            if asked == "host:version":
                self._block(f"{version:04x}")
            elif asked in ("host:devices", "host:devices-l"):
                self._block(listed)
            else:
                words = f"unknown host service {asked!r}".encode()
                self.request.sendall(b"FAIL%04x%s" % (len(words), words))

        def _block(self, words: str) -> None:
            self.request.sendall(b"OKAY%04x%s" % (len(words), words.encode()))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
