#!/usr/bin/env python3
"""Runs the Autobahn WebSocket suite against the room dialect as an echo, and fails on any case that fails.

    run.py BINARY [--cases 1.*,2.*] [--record] [--keep]

The suite needs Python 2.7 (see README.md here). It exits with 0 even where cases fail, so its
index.json is read. The verdicts are written to result.json beside this file when all cases ran;
--record writes the conversations of the small cases to scripts.json, which `cargo test` replays
where there is no Python 2.7.
"""

import argparse
import base64
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.21.1"
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
PATIENCE_S = 3600
# Conversations that are kept for the replay: the rest says the same with more bytes.
RECORDED = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
RECORDED_BYTES = 70_000


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def python27():
    """A Python 2.7, or None."""
    names = [os.environ.get("PYTHON27")]
    names += [str(path) for path in pathlib.Path.home().glob(".pyenv/versions/2.7.*/bin/python")]
    names += ["/usr/bin/python2.7", "/usr/local/bin/python2.7"]
    return next((name for name in names if name and os.path.exists(name)), None)


def suite():
    """The suite's program, installed under target/ if it is not there yet."""
    home = ROOT / "target" / "autobahn"
    program = home / "ab27" / "bin" / "wstest"
    if program.exists():
        return program
    python = python27()
    if python is None:
        sys.exit("autobahn: no Python 2.7 (set PYTHON27, or install one with pyenv)")
    helper = home / "helper"
    subprocess.run([sys.executable, "-m", "venv", helper], check=True)
    subprocess.run([helper / "bin" / "pip", "install", "-q", VIRTUALENV], check=True)
    subprocess.run([helper / "bin" / "python", "-m", "virtualenv", "-q", "-p", python, home / "ab27"], check=True)
    subprocess.run([home / "ab27" / "bin" / "pip", "install", "-q", SUITE], check=True)
    return program


def start(binary, port, internal, log):
    """A node whose room echoes texts and bytes of up to 16 MiB, and deflates."""
    settings = {
        "server.listen": f"127.0.0.1:{port}",
        "internal.listen": f"127.0.0.1:{internal}",
        "server.compression": "deflate",
        "auth.mode": "off",
        "room.relay_binary": "true",
        "limits.message_bytes": "16MiB",
        "limits.outbox_bytes": "64MiB",
        "limits.frames_per_second": "0",
        "limits.fragments_per_message": "1000000",
        "limits.publishes_in_flight": "10000",
        "topics.history_entries": "100",
        "log.level": "warn",
    }
    arguments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    node = subprocess.Popen([binary, "serve", *arguments], stdout=log, stderr=log)
    end = time.monotonic() + 30
    while time.monotonic() < end and node.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{internal}/readyz", timeout=2)
            return node
        except OSError:
            time.sleep(0.05)
    node.kill()
    sys.exit("autobahn: the node does not start")


class Recorder:
    """A line between suite and node that notes what the suite sends and what it gets, in order."""

    def __init__(self, port):
        self.target = port
        self.talks = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk = []
            self.talks.append(talk)
            lock = threading.Lock()
            for who, source, sink in (("c", near, far), ("s", far, near)):
                threading.Thread(target=self.pump, args=(talk, lock, who, source, sink), daemon=True).start()

    @staticmethod
    def pump(talk, lock, who, source, sink):
        try:
            while data := source.recv(65536):
                with lock:
                    if talk and talk[-1][0] == who:
                        talk[-1][1] += data
                    else:
                        talk.append([who, data])
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def frames(data):
    """Server frames in `data`, past an HTTP head: [first byte, payload]."""
    if data.startswith(b"HTTP/"):
        data = data.split(b"\r\n\r\n", 1)[1]
    found = []
    while len(data) >= 2:
        length, at = data[1] & 0x7F, 2
        if length == 126:
            length, at = struct.unpack(">H", data[2:4])[0], 4
        elif length == 127:
            length, at = struct.unpack(">Q", data[2:10])[0], 10
        if len(data) < at + length:
            break
        found.append([data[0], data[at : at + length]])
        data = data[at + length :]
    return found


def packed(data):
    return base64.b64encode(zlib.compress(data, 9)).decode()


def plain(talk):
    """The client's side with masks of zeros, turn by turn: it compresses, and says the same."""
    client = unmasked(b"".join(data for who, data in talk if who == "c").split(b"\r\n\r\n", 1)[1])
    at, turns = 0, []
    for who, data in talk:
        if who == "c":
            if data.startswith(b"GET "):
                turns.append([who, data.split(b"\r\n\r\n", 1)[0] + b"\r\n\r\n"])
                data = data.split(b"\r\n\r\n", 1)[1]
            turns.append([who, client[at : at + len(data)]])
            at += len(data)
        else:
            turns.append([who, data])
    return turns


def unmasked(data):
    """The same frames with a mask of zeros where they are whole: they compress, and say the same."""
    out, at = bytearray(), 0
    while at + 2 <= len(data):
        length, head = data[at + 1] & 0x7F, at + 2
        if not data[at + 1] & 0x80:
            break
        if length == 126 and len(data) >= head + 2:
            length, head = struct.unpack(">H", data[head : head + 2])[0], head + 2
        elif length == 127 and len(data) >= head + 8:
            length, head = struct.unpack(">Q", data[head : head + 8])[0], head + 8
        mask = data[head : head + 4]
        if len(data) < head + 4 + length:
            break
        payload = data[head + 4 : head + 4 + length]
        out += data[at:head] + bytes(4)
        out += bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        at = head + 4 + length
    return bytes(out) + data[at:]


def scripts(talks, order):
    """What the client said, and the frames that came back, for each case that is small."""
    found = {}
    for case, talk in zip(order, talks):
        if sum(len(data) for _, data in talk) > RECORDED_BYTES * 2 + 1000:
            continue
        turns, said, heard, told = [], b"", b"", 0
        for who, data in plain(talk):
            if who == "c":
                said += data
                continue
            # The client's turn ends where the node has said something whole.
            heard += data
            answers = frames(heard)
            if said:
                if said.startswith(b"GET "):
                    said = said.split(b"\r\n\r\n", 1)[1]
                if said:
                    turns.append(packed(said))
                said = b""
            if answers[told:]:
                turns.append([[first, packed(payload)] for first, payload in answers[told:]])
                told = len(answers)
        if said:
            turns.append(packed(said.split(b"\r\n\r\n", 1)[-1] if said.startswith(b"GET ") else said))
        found[case] = turns
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--cases", default="*")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--write", action="store_true", help="write result.json also for a part of the cases")
    parser.add_argument("--keep", action="store_true", help="leave the reports in target/autobahn")
    options = parser.parse_args()
    program = suite()
    cases = RECORDED if options.record else options.cases.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = ROOT / "target" / "autobahn" / "report" if options.keep else pathlib.Path(scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        port, internal = free_port(), free_port()
        with open(scratch / "node.log", "w") as log:
            node = start(options.binary, port, internal, log)
            recorder = Recorder(port) if options.record else None
            try:
                url = f"ws://127.0.0.1:{recorder.port if recorder else port}/ws/room/autobahn"
                spec = {
                    "outdir": str(scratch / "cases"),
                    "servers": [{"agent": "sparkway", "url": url}],
                    "cases": cases,
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
                (scratch / "spec.json").write_text(json.dumps(spec))
                command = [program, "-m", "fuzzingclient", "-s", scratch / "spec.json"]
                began = time.monotonic()
                with open(scratch / "suite.log", "w") as suite_log:
                    subprocess.run(command, check=True, timeout=PATIENCE_S, cwd=scratch, stdout=suite_log, stderr=suite_log)
                took = time.monotonic() - began
                alive = node.poll() is None
            finally:
                node.send_signal(signal.SIGKILL)
                node.wait()
        verdicts = json.loads((scratch / "cases" / "index.json").read_text())["sparkway"]
    key = lambda case: [int(part) for part in case.split(".")]
    order = sorted(verdicts, key=key)
    failed = [
        case
        for case in order
        if verdicts[case]["behavior"] not in PASSED or verdicts[case]["behaviorClose"] not in PASSED
    ]
    counts = {}
    for case in order:
        counts[verdicts[case]["behavior"]] = counts.get(verdicts[case]["behavior"], 0) + 1
    print(f"autobahn: {len(order)} cases in {took:.0f} s: {counts}")
    for case in failed:
        print(f"autobahn: {case} {verdicts[case]['behavior']} / {verdicts[case]['behaviorClose']}")
    if not alive:
        sys.exit("autobahn: the node ended")
    if options.record:
        kept = scripts(recorder.talks, order)
        lines = (f"{json.dumps(case)}: {json.dumps(turns, separators=(',', ':'))}" for case, turns in kept.items())
        (HERE / "scripts.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"autobahn: {len(kept)} conversations recorded of {len(recorder.talks)}")
    elif options.cases == "*" or options.write:
        result = {
            "suite": SUITE,
            "cases": len(order),
            "counts": counts,
            "failed": failed,
            "behavior": {case: verdicts[case]["behavior"] for case in order},
            "not OK": {case: verdicts[case]["behavior"] for case in order if verdicts[case]["behavior"] != "OK"},
            "behaviorClose": {case: verdicts[case]["behaviorClose"] for case in order if verdicts[case]["behaviorClose"] != "OK"},
        }
        (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.exit(1 if failed or not order else 0)


if __name__ == "__main__":
    main()
