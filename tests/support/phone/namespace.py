"""First process of the phones' namespaces: ``namespace.py FOLDER EMULATOR``, run by unshare.

It brings up the private loopback, registers the arm64 emulator with a binfmt_misc that only these
namespaces see, and starts the adb server at the socket FOLDER/adb. It ends when its input does,
which is when the process that started it ends in whatever way; the kernel then kills the rest.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

BINFMT = "/proc/sys/fs/binfmt_misc"
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
# 64-bit little-endian ELF, an executable or a shared object, machine 183 (AArch64).
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def main(folder: str, emulator: str) -> None:
    with socket.socket() as any_socket:
        up = struct.pack("16sH14x", b"lo", IFF_UP)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, up)
    # No phone has the host's thermal zones, and the server must not take a developer's USB phone.
    subprocess.run(["mount", "-t", "tmpfs", "none", "/sys"], check=True)
    subprocess.run(["mount", "-t", "binfmt_misc", "none", BINFMT], check=True)
    # F: the emulator is opened now, by its path on the host, and serves in every chroot.
    with open(f"{BINFMT}/register", "w") as register:  # noqa: PTH123
        register.write(f":chipdrift-arm64:M::{MAGIC}:{MASK}:{emulator}:F")
    serve = ["adb", "-L", f"localfilesystem:{folder}/adb", "server", "nodaemon"]
    plain = {"PATH": os.environ["PATH"], "HOME": folder, "ADB_MDNS_AUTO_CONNECT": "0"}
    with open(f"{folder}/server.log", "wb") as log:  # noqa: PTH123
        subprocess.Popen(serve, env=plain, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    print("ready", flush=True)
    sys.stdin.read()
    # The phones' files are mounted below it.
    with open("/proc/self/mounts") as mounts:  # noqa: PTH123
        places = [line.split()[1] for line in mounts]
    for place in places:
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
