"""Three nodes under load, watched by a real Prometheus: every panel of the dashboard has something to show.

    run.py panels            draws target/dashboard.png
    UPDATE=1 run.py panels   draws docs/dashboard.png as well
"""
import asyncio
import contextlib
import http.server
import json
import math
import os
import random
import shutil
import threading
import time
import urllib.request

import websockets

from harness import ROOT, SOON, Client, free_port, node, redis, until
from prometheus import asked, filled, queries, scraping

import drawing

SECONDS = 75
# When the third node is told to leave.
LEAVES = 50
READERS, TOPICS = 48, 6
# Panels that are empty or stay at zero in a healthy cluster, and why.
QUIET = {
    "Gaps not repaired (24 h)": "nothing was lost: any other figure is an alert",
    "Errors by result": "Redis answered everything",
    "Gaps and repairs": "no message was lost between Redis and a node",
}
NODE = {"session.heartbeat_interval": "2m", "namespaces.asked.subscribe": "hook", "drain.duration": "5s", "rebalance.enabled": "false",
        "namespaces.orders.history_entries": "500"}


class Backend(http.server.BaseHTTPRequestHandler):
    """Lets everybody subscribe."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Any hook."""
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"allow":true}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing."""


class Load:
    """What clients do, for as long as `running`."""

    def __init__(self, nodes):
        self.nodes, self.running, self.got, self.resumed, self.ended = nodes, True, 0, 0, None

    def serving(self):
        """A node that is still there."""
        return random.choice([one for one in self.nodes if one.process.poll() is None and not getattr(one, "leaving", False)])

    async def reader(self, number):
        """Reads, loses its connection now and then, and comes back elsewhere; sometimes before the old one is gone."""
        client = await Client.connect(self.serving())
        await client.subscribe(f"orders:{number % TOPICS}", "news")
        while self.running:
            cut_at = time.monotonic() + random.uniform(4, 15)
            with contextlib.suppress(websockets.ConnectionClosed):
                while self.running and time.monotonic() < cut_at:
                    # Short, since a timeout that ends together with what it waits for is not heard of.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await client.message()
                            self.got += 1
            if random.random() < 0.3:
                ticket, old = client.session, client.ws
            else:
                ticket, old = await client.cut(), None
                await asyncio.sleep(random.uniform(0.1, 1.5))
            client = await Client.connect(self.serving(), resume=ticket)
            self.resumed += 1
            if old:
                await old.close()
        await client.ws.close()

    async def again(self, work):
        """Something on a connection, anew when it is gone."""
        while self.running:
            with contextlib.suppress(websockets.ConnectionClosed, websockets.InvalidStatus, OSError):
                client = await Client.connect(self.serving())
                while self.running:
                    await work(client)

    async def say(self, client):
        """One publish, to one topic or to all."""
        topic = "news" if random.random() < 0.1 else f"orders:{random.randrange(TOPICS)}"
        await client.publish(topic, {"at": time.time(), "text": "x" * random.randint(20, 400)})
        await asyncio.sleep(random.uniform(0.01, 0.1))

    async def ask(self, client):
        """A topic that only the backend can grant."""
        await client.subscribe(f"asked:{random.randrange(1000)}")
        await asyncio.sleep(0.3)

    def request(self):
        """What a backend does over HTTP."""
        port = self.serving().internal
        body = json.dumps({"topic": f"orders:{random.randrange(TOPICS)}", "data": {"from": "a backend"}}).encode()
        for path, data in (("publish", body), ("topics?limit=10", None), ("sessions?limit=10", None)):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{path}", data)
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=SOON) as answer:
                answer.read()

    async def backend(self):
        """Requests, one set after the other."""
        while self.running:
            await asyncio.to_thread(self.request)
            await asyncio.sleep(0.2)

    async def run(self):
        """All of it; the last node leaves before the end."""
        tasks = [asyncio.create_task(self.reader(number)) for number in range(READERS)]
        tasks += [asyncio.create_task(self.again(work)) for work in (self.say, self.say, self.say, self.ask)]
        tasks.append(asyncio.create_task(self.backend()))
        # The time that passes is what the panels show.
        await asyncio.sleep(LEAVES)
        self.nodes[-1].leaving = True
        assert await asyncio.to_thread(self.nodes[-1].terminate) == 0
        await asyncio.sleep(SECONDS - LEAVES)
        self.ended, self.running = time.time(), False
        done, late = await asyncio.wait(tasks, timeout=SOON)
        assert not late, f"{len(late)} clients wait for ever"
        for task in done:
            task.result()


def read(port, began, ended):
    """(panel, series of each query) of the dashboard over the run."""
    for panel in queries.panels():
        series = []
        for target in panel["targets"]:
            data = asked(port, "query_range", query=filled(target["expr"]), start=began, end=ended, step=1)
            series += [(target, found["metric"], [(float(at), float(value)) for at, value in found["values"]]) for found in data["result"]]
        yield panel, series


def moves(series):
    """Whether something other than zero is to be seen."""
    return any(math.isfinite(value) and value != 0 for _, _, points in series for _, value in points)


def test_every_panel_shows_something_of_a_cluster_under_load():
    hooks = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Backend)
    threading.Thread(target=hooks.serve_forever, daemon=True).start()
    settings = NODE | {"hooks.secret": "a secret of this test alone", "hooks.subscribe": f"http://127.0.0.1:{hooks.server_address[1]}/"}
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(redis())
        nodes = [stack.enter_context(node(f"node-{name}", store.port, settings)) for name in "abc"]
        port = stack.enter_context(scraping(nodes))
        until("all nodes are scraped", lambda: len([t for t in asked(port, "targets")["activeTargets"] if t["health"] == "up"]) == 3)
        began, load = time.time(), Load(nodes)
        asyncio.run(load.run())
        panels = list(read(port, began, load.ended))
    hooks.shutdown()
    assert load.got and load.resumed, (load.got, load.resumed)
    assert len(panels) == 34, len(panels)
    still = {panel["title"] for panel, series in panels if not moves(series)}
    unknown = still - set(QUIET)
    assert not unknown, f"nothing to see in {sorted(unknown)}"
    picture = ROOT / "target" / "dashboard.png"
    drawing.draw(panels, QUIET, picture)
    if os.environ.get("UPDATE"):
        shutil.copy(picture, ROOT / "docs" / "dashboard.png")
    print(f"     {load.got} messages read, {load.resumed} resumes; {len(panels) - len(still)} panels move, at rest: {', '.join(sorted(still)) or 'none'}",
          flush=True)


TESTS = [test_every_panel_shows_something_of_a_cluster_under_load]
