#!/usr/bin/env python3
"""What a stored message costs redis-server: the append script alone, no gateway.

Calls of 100 messages for 100 topics from 100 sessions, three at once, with three subscribers of all
topics. Prints CPU per message, or with --callgrind instructions per message: the difference between
two numbers of calls, so that start and set-up do not count.

    python3 benches/append.py                      # this tree's script
    python3 benches/append.py --script OTHER.lua   # another one of the same arguments
    python3 benches/append.py --callgrind          # needs valgrind
"""

import argparse
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "crates/store/src/redis/scripts/append.lua"
MESSAGES = 100
BUCKET_MS = 600_000
STEM = "sw:{ms3}:"
WARM_UP = 30
CALLGRIND = ["valgrind", "--tool=callgrind"]


def encoded(words) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        self.socket.sendall(encoded(words))
        return self.answer()

    def answer(self):
        kind, rest = (line := self.file.readline())[:1], line[1:-2]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return [self.answer() for _ in range(int(rest))] if kind == b"*" else rest

    def subscribe(self, channels):
        self.socket.sendall(encoded(["SUBSCRIBE", *channels]))
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        while self.socket.recv(1 << 20):
            pass


def call(sha, run_id, turn) -> bytes:
    base = int(time.time() * 1000) // BUCKET_MS
    topics = [f"room:{(turn * 37 + at) % MESSAGES}" for at in range(MESSAGES)]
    keys = [STEM + name for name in ("clock", "gen", "holes")]
    keys += [f"{STEM}idem:{base + at}" for at in (-1, 0, 1)]
    arguments = [run_id, 0, 0, BUCKET_MS, base, base + 1, "PUBLISH", MESSAGES, MESSAGES, 1, STEM + "ch:"]
    arguments += [1, 1000, 3_600_000, MESSAGES]  # All are kept as long.
    for topic in topics:
        keys += [f"{STEM}log:{topic}", f"{STEM}tip:{topic}"]
        arguments.append(f"{STEM}ch:{topic}")
    keys += [f"{STEM}sess:{at:036}" for at in range(MESSAGES)]
    arguments += [1] * MESSAGES
    arguments.append(b"".join(struct.pack(">HH", at + 1, at + 1) for at in range(MESSAGES)))
    for at in range(MESSAGES):
        arguments += [os.urandom(16), f"origin={at:036}", "", b'{"n":%d,"pad":"%s"}' % (at, b"x" * 76)]
    return encoded(["EVALSHA", sha, len(keys), *keys, *arguments])


def play(port, script, calls):
    control = Connection(port)
    sha = control.ask("SCRIPT", "LOAD", script).decode()
    run_id = re.search(r"run_id:(\w+)", control.ask("INFO", "server").decode())[1]
    for _ in range(3):
        Connection(port).subscribe([f"{STEM}ch:room:{at}" for at in range(MESSAGES)])
    for at in range(MESSAGES):
        control.ask("HSET", f"{STEM}sess:{at:036}", "ep", 1, "n", "node", "st", "a")
    nodes = [Connection(port) for _ in range(3)]
    commands = [call(sha, run_id, turn) for turn in range(WARM_UP + calls)]
    for command in commands[:WARM_UP]:
        nodes[0].socket.sendall(command)
        nodes[0].answer()
    yield
    for at in range(WARM_UP, WARM_UP + calls, 3):
        for node, command in zip(nodes, commands[at:at + 3]):
            node.socket.sendall(command)
        for node, _ in zip(nodes, commands[at:at + 3]):
            assert node.answer()[0] == b"all"
    yield


def measure(script, calls, callgrind):
    """Microseconds of CPU of all the calls; under callgrind the instructions of the whole process."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        counts = Path(folder) / "counts"
        before = [*CALLGRIND, f"--callgrind-out-file={counts}"] if callgrind else ["taskset", "-c", "0"]
        server = subprocess.Popen(
            [*before, "redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            cpu = lambda: int(Path(f"/proc/{server.pid}/schedstat").read_text().split()[0]) / 1000
            steps = play(port, script, calls)
            next(steps)
            began = cpu()
            next(steps)
            spent = cpu() - began
        finally:
            server.terminate()
            server.wait()
        return int(re.search(r"^totals: (\d+)", counts.read_text(), re.M)[1]) if callgrind else spent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=SCRIPT)
    parser.add_argument("--calls", type=int, default=1470)
    parser.add_argument("--callgrind", action="store_true")
    args = parser.parse_args()
    script = args.script.read_bytes()
    if args.callgrind:
        more = measure(script, 93, True) - measure(script, 33, True)
        print(f"{more / (60 * MESSAGES):,.0f} instructions per message")
    else:
        print(f"{measure(script, args.calls, False) / (args.calls * MESSAGES):.2f} us of CPU per message")


if __name__ == "__main__":
    main()
