"""Real nodes over a real Redis, and clients that give them something to measure."""
import asyncio
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SPARKWAY_BIN", str(ROOT / "target/debug/sparkway"))
# Longest wait for something that should come at once: the machine may be busy.
SOON = 60


def free_port():
    """A port below those of outgoing connections that nobody uses now."""
    while True:
        port = random.randint(10_000, 27_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def get(port, path):
    """The body of a GET."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        return response.read().decode()


def until(what, look, seconds=SOON):
    """Looks until there is something; answers it."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = look()
        except OSError:
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Process:
    """A program that dies with its block."""

    def __init__(self, arguments, env=None):
        self.folder = tempfile.mkdtemp(prefix="watching-")
        self.log = pathlib.Path(self.folder, "log")
        with open(self.log, "w", encoding="utf-8") as log:
            environment = {"PATH": os.environ["PATH"], **(env or {})}
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=self.folder, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SOON)


def redis():
    """A Redis without persistence; its port stands in `.port`."""
    port = free_port()
    server = Process(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"])
    server.port = port
    until("redis answers", lambda: "PONG" in subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True, text=True, check=False).stdout)
    return server


def node(name, store, settings=(), env=None, under=()):
    """One `sparkway serve`, perhaps under a tool; its ports stand in `.public` and `.internal`."""
    public, internal = free_port(), free_port()
    own = {"server.listen": f"127.0.0.1:{public}", "internal.listen": f"127.0.0.1:{internal}", "server.node_id": name,
           "auth.mode": "off", "store.url": f"redis://127.0.0.1:{store}", "drain.readiness_delay": "0s", "drain.duration": "1s",
           "limits.frames_per_second": "0", "log.level": "info,sparkway_gateway=debug", **dict(settings)}
    process = Process([*under, BINARY, "serve", *(part for key, value in own.items() for part in ("--set", f"{key}={value}"))], env)
    process.name, process.public, process.internal = name, public, internal
    try:
        until(f"{name} is ready", lambda: get(internal, "/readyz"))
    except AssertionError:
        raise AssertionError(process.log.read_text()[-2000:]) from None
    return process


class Client:
    """A Spark client of one connection."""

    def __init__(self, ws):
        self.ws, self.token, self.last = ws, None, None

    @classmethod
    async def connect(cls, target, headers=None, resume=None):
        """A new session, or one taken up again."""
        ws = await websockets.connect(f"ws://127.0.0.1:{target.public}/ws", additional_headers=headers, ping_interval=None, open_timeout=SOON)
        client = cls(ws)
        await ws.send(json.dumps({"type": "ws:resume", "data": resume} if resume else {"type": "ws:connect"}))
        data = (await client.until("ws:resume_ack" if resume else "ws:connect_ack"))["data"]
        client.session = {key: data[key] for key in ("session_id", "heartbeat_token", "last_message_id")}
        if resume:
            client.session["last_message_id"] = resume["last_message_id"]
        return client

    async def until(self, kind):
        """The next frame of a kind."""
        while True:
            frame = json.loads(await asyncio.wait_for(self.ws.recv(), SOON))
            if frame["type"] == kind:
                return frame
            assert frame["type"] not in ("ws:error", "ws:resume_failed"), frame

    async def subscribe(self, *topics):
        """Receives topics from now on."""
        await self.ws.send(json.dumps({"type": "topic:subscribe", "id": "s", "data": {"topics": topics}}))
        await self.until("ws:ack")

    async def publish(self, topic, data, tp=None):
        """Says something; its id."""
        frame = {"type": "topic:publish", "id": f"p{random.random()}", "topic": topic, "data": data}
        await self.ws.send(json.dumps(frame | ({"tp": tp} if tp else {})))
        return (await self.until("ws:ack"))["data"]["result"]["id"]

    async def message(self):
        """The next message, noted as the newest one."""
        frame = await self.until("topic:message")
        self.session["last_message_id"] = frame["id"]
        return frame

    async def cut(self):
        """Loses the connection without a close; what a resume needs."""
        self.ws.transport.abort()
        await self.ws.wait_closed()
        return self.session
