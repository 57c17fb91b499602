#!/usr/bin/env python3
"""Clients behind the balancers of deploy/: an idle client stays connected, a rolling restart loses nothing.

The files are taken as they are, with names and times replaced: everything runs 30 times faster than in
production (heartbeat 25 s -> 0.8 s, timeouts 60 s -> 2 s, ten idle minutes -> 20 s).
"""
import asyncio, json, os, pathlib, random, re, shutil, signal, socket, subprocess, sys, tempfile

import websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("SPARKWAY_BIN", str(ROOT / "target/debug/sparkway"))
FASTER = 30
IDLE_S = 600 / FASTER
HEARTBEAT_MS = 25_000 // FASTER


def free_port():
    while True:
        port = random.randint(10_000, 29_999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


async def reachable(port, seconds=30):
    for _ in range(int(seconds * 20)):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


class Node:
    """One `sparkway serve`."""

    def __init__(self, redis):
        self.redis, self.port, self.internal = redis, free_port(), free_port()

    async def start(self):
        settings = {
            "server.listen": f"127.0.0.1:{self.port}", "internal.listen": f"127.0.0.1:{self.internal}",
            "server.allowed_origins": '["*"]', "auth.mode": "off", "store.url": f"redis://127.0.0.1:{self.redis}",
            "session.heartbeat_interval": f"{HEARTBEAT_MS}ms", "drain.readiness_delay": "300ms", "drain.duration": "1s",
            "log.level": "warn",
        }
        arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self.process = subprocess.Popen([BINARY, "serve", *arguments], stderr=subprocess.DEVNULL)
        await reachable(self.port)
        await reachable(self.internal)

    async def restart(self):
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.process.wait, 30)
        assert code == 0, f"the drained node exited {code}"
        await self.start()


class Client:
    """A Spark client that heartbeats, resumes after a loss, and remembers what it got."""

    def __init__(self, url):
        self.url, self.got, self.session, self.connections = url, [], None, 0
        self.ready = asyncio.Event()

    async def run(self):
        while True:
            try:
                async with websockets.connect(self.url, ping_interval=None, open_timeout=5) as ws:
                    self.connections += 1
                    await self.greet(ws)
                    beating = asyncio.create_task(self.beat(ws))
                    try:
                        async for text in ws:
                            self.hear(json.loads(text))
                    finally:
                        beating.cancel()
            except (OSError, websockets.WebSocketException, asyncio.TimeoutError):
                pass
            self.ready.clear()
            await asyncio.sleep(0.05)

    async def greet(self, ws):
        if self.session:
            await ws.send(json.dumps({"type": "ws:resume", "data": self.session}))
        else:
            await ws.send(json.dumps({"type": "ws:connect"}))
            await ws.send(json.dumps({"type": "topic:subscribe", "id": "s", "data": {"topics": ["road"]}}))

    async def beat(self, ws):
        while True:
            await asyncio.sleep(HEARTBEAT_MS / 1000)
            if self.session:
                await ws.send(json.dumps({"type": "ws:heartbeat", "data": {"heartbeat_token": self.session["heartbeat_token"]}}))

    def hear(self, frame):
        kind, data = frame["type"], frame.get("data")
        if kind in ("ws:connect_ack", "ws:resume_ack"):
            newest = self.session and self.session["last_message_id"]
            self.session = {key: data[key] for key in ("session_id", "heartbeat_token")}
            self.session["last_message_id"] = newest or data["last_message_id"]
            if kind == "ws:resume_ack":
                self.ready.set()
        elif kind == "ws:heartbeat_ack" and (data or {}).get("updated_token"):
            self.session["heartbeat_token"] = data["updated_token"]
        elif kind == "ws:ack" and data["ackId"] == "s":
            self.ready.set()
        elif kind == "ws:resume_failed":
            raise AssertionError(f"resume refused: {data}")
        elif kind == "topic:message":
            self.got.append(data)
            self.session["last_message_id"] = frame["id"]
        elif kind == "topic:gap":
            raise AssertionError(f"gap: {frame}")


def faster(text):
    """Times of a configuration in seconds, divided; short ones stay."""
    return re.sub(r"\b(\d+)s\b", lambda m: f"{int(m[1]) * 1000 // FASTER}ms" if int(m[1]) >= 30 else m[0], text)


def nginx(nodes, folder, port, read_timeout=None):
    text = (ROOT / "deploy/nginx/nginx.conf").read_text()
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"node-{number}:8000", f"127.0.0.1:{node.port}")
    text = re.sub(r"\n\s*server node-\d:8000[^\n]*", "", text)
    # As many proxies have it: 60 s.
    text = re.sub(r"(proxy_(?:read|send)_timeout) 120s", rf"\g<1> {read_timeout or f'{60_000 // FASTER}ms'}", text)
    text = text.replace("listen 8000", f"listen 127.0.0.1:{port}").replace("/tmp/nginx.pid", f"{folder}/nginx.pid")
    text = text.replace("worker_rlimit_nofile 65536;", "").replace("worker_connections 32768", "worker_connections 1000")
    text = text.replace("worker_processes auto", "worker_processes 1; daemon off; error_log stderr crit")
    path = pathlib.Path(folder) / "nginx.conf"
    path.write_text(text)
    return ["nginx", "-c", str(path), "-p", folder, "-e", "stderr"]


def haproxy(nodes, folder, port):
    text = faster((ROOT / "deploy/haproxy/haproxy.cfg").read_text().replace("timeout tunnel 120s", "timeout tunnel 60s")).replace("inter 2s", "inter 100ms")
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"node-{number}:8000", f"127.0.0.1:{node.port} port {node.internal}")
    text = re.sub(r"\n\s*server node-\d node-\d:8000", "", text).replace("check port 9000", "check").replace("maxconn 65536", "maxconn 1000")
    text = text.replace("bind :8000", f"bind 127.0.0.1:{port}")
    path = pathlib.Path(folder) / "haproxy.cfg"
    path.write_text(text)
    return ["haproxy", "-q", "-f", str(path)]


async def behind(command, port, story):
    proxy = subprocess.Popen(command)
    try:
        await reachable(port)
        await story(f"ws://127.0.0.1:{port}/ws")
    finally:
        proxy.terminate()
        proxy.wait(10)


async def stays_connected(url):
    clients = [Client(url) for _ in range(5)]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    await asyncio.gather(*(asyncio.wait_for(client.ready.wait(), 20) for client in clients))
    # The time that passes is the test.
    await asyncio.sleep(IDLE_S)
    for client, task in zip(clients, tasks):
        assert client.connections == 1, f"an idle client was cut {client.connections - 1} times"
        task.cancel()


async def is_cut(url):
    client = Client(url)
    task = asyncio.create_task(client.run())
    await asyncio.wait_for(client.ready.wait(), 20)
    for _ in range(200):
        if client.connections > 1:
            task.cancel()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a balancer that times out before the heartbeat must cut: the test sees nothing")


def survives_a_rolling_restart(nodes):
    async def story(url):
        clients = [Client(url) for _ in range(40)]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        await asyncio.gather(*(asyncio.wait_for(client.ready.wait(), 20) for client in clients))
        stop, sent = asyncio.Event(), []

        async def publish():
            number = 0
            while not stop.is_set():
                try:
                    async with websockets.connect(url, open_timeout=5) as ws:
                        await ws.send(json.dumps({"type": "ws:connect"}))
                        await ws.recv()
                        while not stop.is_set():
                            await ws.send(json.dumps({"type": "topic:publish", "id": f"p{number}", "topic": "road", "data": number}))
                            while (json.loads(await ws.recv()).get("data") or {}).get("ackId") != f"p{number}":
                                pass
                            sent.append(number)
                            number += 1
                            await asyncio.sleep(0.02)
                except (OSError, websockets.WebSocketException, asyncio.TimeoutError):
                    # Whether the last one is stored is not known, so it is not said again.
                    number += 1
        publisher = asyncio.create_task(publish())
        for node in nodes:
            await node.restart()
        stop.set()
        await publisher
        for client in clients:
            for _ in range(400):
                if sent[-1] in client.got:
                    break
                await asyncio.sleep(0.05)
            missed = set(sent) - set(client.got)
            for task in tasks:
                assert not task.done(), f"a client gave up: {task.exception()}"
            assert not missed, f"{len(missed)} of {len(sent)} lost: {sorted(missed)}"
            assert len(client.got) == len(set(client.got)), "delivered twice"
            assert client.got == sorted(client.got), "out of order"
        moved = sum(client.connections - 1 for client in clients)
        assert moved > 0, "nobody was moved: the restart was not seen"
        print(f"     {len(sent)} messages, 40 clients, {moved} reconnects, 0 lost, 0 twice")
        for task in tasks:
            task.cancel()
    return story


async def side(cases):
    """Runs one balancer's cases on a cluster of its own; answers how many passed and failed."""
    failed = passed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        redis, port = free_port(), free_port()
        server = subprocess.Popen(["redis-server", "--port", str(redis), "--save", "", "--dir", folder], stdout=subprocess.DEVNULL)
        nodes = [Node(redis), Node(redis)]
        try:
            await reachable(redis)
            for node in nodes:
                await node.start()
            for name, command, story in cases:
                try:
                    await behind(command(nodes, folder, port), port, story(nodes))
                    passed += 1
                    print(f"ok   {name}")
                except (AssertionError, asyncio.TimeoutError, RuntimeError) as error:
                    failed += 1
                    print(f"FAIL {name}: {error!r}")
        finally:
            for node in nodes:
                node.process.kill()
            server.kill()
    return passed, failed


async def main():
    for tool in ("nginx", "haproxy", "redis-server"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: make setup")

    def hasty(nodes, folder, port):
        return nginx(nodes, folder, port, f"{HEARTBEAT_MS // 3}ms")

    sides = await asyncio.gather(
        side([
            ("nginx with 60 s timeouts keeps an idle client for ten minutes", nginx, lambda _: stays_connected),
            ("nginx with a timeout below the heartbeat cuts", hasty, lambda _: is_cut),
            ("a rolling restart behind nginx loses nothing", nginx, survives_a_rolling_restart),
        ]),
        side([
            ("HAProxy with 60 s timeouts keeps an idle client for ten minutes", haproxy, lambda _: stays_connected),
            ("a rolling restart behind HAProxy loses nothing", haproxy, survives_a_rolling_restart),
        ]),
    )
    passed, failed = (sum(counts) for counts in zip(*sides))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


asyncio.run(main())
