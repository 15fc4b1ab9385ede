"""A device that asks for a key and takes none: ``locked.py PORT``.

Debian's adbd is built to ask for none. This speaks the little that comes before: to CNXN and to
each signature it answers AUTH with a token, and what the screen would ask is never answered.
"""

import os
import socket
import struct
import sys

CONNECT, AUTHENTICATE = 0x4E584E43, 0x48545541
TOKEN, PUBLIC_KEY = 1, 3
HEADER = struct.Struct("<6I")


def serve(host: socket.socket) -> None:
    with host, host.makefile("rb") as sent:
        while len(header := sent.read(HEADER.size)) == HEADER.size:
            command, kind, _, length, _, _ = HEADER.unpack(header)
            sent.read(length)
            if command == CONNECT or (command == AUTHENTICATE and kind != PUBLIC_KEY):
                token = os.urandom(20)
                check = sum(token), AUTHENTICATE ^ 0xFFFFFFFF
                host.sendall(HEADER.pack(AUTHENTICATE, TOKEN, 0, len(token), *check) + token)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            serve(listener.accept()[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
