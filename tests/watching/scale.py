"""A fourth node joins three behind a balancer that picks at random: connections even out, nobody loses a message.

    run.py scale          400 clients, everything ten times as fast (part of make test)
    run.py scale full     3,000 clients at the usual pace: make scale-test
"""
import asyncio
import contextlib
import json
import random
import sys
import time
import urllib.request

import websockets

from harness import SOON, node, redis

TOPICS = 10
FULL = "full" in sys.argv
CLIENTS, SECONDS, WITHIN = (3000, 240, 0.10) if FULL else (400, 90, 0.15)
SETTINGS = {} if FULL else {"rebalance.rate": "0.02", "rebalance.min_connections": "50", "rebalance.threshold": "0.15"}
# How many forced reconnects a connection may have on the average. At ten times the pace more leave
# before a node hears what the others have.
RECONNECTS = 0.4 if FULL else 0.6
# What spark clients offer; the gateway sends only those on to other nodes.
NATIVE = [websockets.Subprotocol("spark.v1.json")]


class Crowd:
    """Clients that pick a node at random each time they connect, resume, and remember what they got."""

    def __init__(self, nodes):
        self.nodes, self.where, self.got, self.lost_connection, self.refused = nodes, {}, {}, 0, 0
        self.ready, self.stopping = 0, False

    async def client(self, number):
        """One client, until told to stop."""
        session, got = None, self.got.setdefault(number, [])
        while not self.stopping:
            target, held, beating = random.choice(self.nodes), False, None
            try:
                async with websockets.connect(f"ws://127.0.0.1:{target.public}/ws", subprotocols=NATIVE, ping_interval=None,
                                              open_timeout=SOON, close_timeout=1, compression=None) as ws:
                    if session:
                        await ws.send(json.dumps({"type": "ws:resume", "data": session}))
                    else:
                        await ws.send(json.dumps({"type": "ws:connect"}))
                    self.where[number], held = target, True
                    beating = asyncio.create_task(self.beat(ws, lambda: session))
                    async for text in ws:
                        frame = json.loads(text)
                        kind, data = frame["type"], frame.get("data")
                        if kind in ("ws:connect_ack", "ws:resume_ack"):
                            newest = session["last_message_id"] if session else data["last_message_id"]
                            session = {"session_id": data["session_id"], "heartbeat_token": data["heartbeat_token"], "last_message_id": newest}
                            if kind == "ws:resume_ack":
                                assert not data["gaps"], data
                                await ws.send(json.dumps({"type": "ws:ack", "ackId": frame.get("id"), "data": {"ackId": frame.get("id")}}))
                            else:
                                topics = [f"scale:{number % TOPICS}"]
                                await ws.send(json.dumps({"type": "topic:subscribe", "id": "s", "data": {"topics": topics}}))
                        elif kind == "ws:ack" and data["ackId"] == "s":
                            self.ready += 1
                        elif kind == "topic:message":
                            got.append(frame["data"])
                            session["last_message_id"] = frame["id"]
                        elif kind == "ws:drain":
                            # Not with 1000, which would end the session.
                            ws.transport.abort()
                            break
                        assert kind not in ("ws:resume_failed", "topic:gap"), frame
            except websockets.InvalidStatus as refused:
                assert refused.response.status_code == 503, refused
                self.refused += 1
            except (OSError, websockets.ConnectionClosed, TimeoutError):
                pass
            finally:
                if beating:
                    beating.cancel()
            # For whatever reason: told to leave, cut, or taken for dead.
            self.lost_connection += held
            self.where.pop(number, None)
            await asyncio.sleep(random.random() * 0.2)

    async def beat(self, ws, session):
        """Heartbeats, for as long as the connection lasts."""
        while True:
            await asyncio.sleep(20)
            with contextlib.suppress(websockets.ConnectionClosed):
                await ws.send(json.dumps({"type": "ws:heartbeat", "data": {"heartbeat_token": session()["heartbeat_token"]}}))

    def spread(self):
        """Connections per node."""
        return [sum(target is one for target in self.where.values()) for one in self.nodes]


def say(target, topic, number):
    """One publish over HTTP: a connection of its own would be sent away with the others."""
    body = json.dumps({"topic": f"scale:{topic}", "data": number}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{target.internal}/v1/publish", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=SOON) as answer:
        assert answer.status == 200, answer.status


async def publish(target, said, stop):
    """Numbers in every topic, until told to stop."""
    while not stop():
        for topic in range(TOPICS):
            said[topic] += 1
            await asyncio.to_thread(say, target, topic, said[topic])
        await asyncio.sleep(1)


async def scaled(store):
    """Three nodes, a crowd, then a fourth node; prints what happened."""
    names = [f"node-{at}" for at in range(4)]
    nodes = list(await asyncio.gather(*(asyncio.to_thread(node, name, store, SETTINGS) for name in names[:3])))
    crowd = Crowd(nodes)
    try:
        tasks = [asyncio.create_task(crowd.client(number)) for number in range(CLIENTS)]
        end = time.monotonic() + 4 * SOON
        while crowd.ready < CLIENTS:
            assert time.monotonic() < end, f"{crowd.ready} of {CLIENTS} clients are ready"
            await asyncio.sleep(0.2)
        said, done = [0] * TOPICS, []
        publishing = asyncio.create_task(publish(nodes[0], said, lambda: done))
        nodes.append(await asyncio.to_thread(node, names[3], store, SETTINGS))
        began, before = time.monotonic(), crowd.lost_connection
        mean = CLIENTS / 4
        while not all(abs(count - mean) <= WITHIN * mean for count in crowd.spread()):
            assert time.monotonic() - began < SECONDS, f"after {SECONDS} s: {crowd.spread()}, {crowd.lost_connection - before} sent away"
            await asyncio.sleep(0.2)
        took, moved = time.monotonic() - began, (crowd.lost_connection - before) / CLIENTS
        done.append(True)
        await publishing
        end = time.monotonic() + SOON
        want = {number: list(range(1, said[number % TOPICS] + 1)) for number in range(CLIENTS)}
        while any(crowd.got[number] != want[number] for number in want) and time.monotonic() < end:
            await asyncio.sleep(0.2)
        wrong = {number: crowd.got[number] for number in want if crowd.got[number] != want[number]}
        assert not wrong, f"{len(wrong)} clients lost, repeated or mixed up messages: {dict(list(wrong.items())[:2])}"
        assert moved <= RECONNECTS, f"{moved:.2f} forced reconnects per connection"
        print(f"     {CLIENTS} clients, 3 -> 4 nodes: {crowd.spread()} after {took:.0f} s, {moved:.2f} forced reconnects per connection, "
              f"{crowd.refused} sent on, 0 lost, 0 repeated", flush=True)
        crowd.stopping = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for one in nodes:
            one.__exit__()


def test_a_fourth_node_gets_its_share_and_nobody_loses_a_message():
    with redis() as store:
        asyncio.run(scaled(store.port))


TESTS = [test_a_fourth_node_gets_its_share_and_nobody_loses_a_message]
