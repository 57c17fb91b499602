#!/usr/bin/env python3
"""A backend for Sparkway's hooks, with Python's standard library alone.

    SPARKWAY_HOOK_SECRET=... python3 backend.py [PORT]

It checks the signature of every request, answers all hooks, and prints the events that it is told,
one JSON object per line. Tokens are made up: `user-NAME` is NAME, everything else nobody.
"""
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300  # an older request may be a repeated one
SECRETS = [s.encode() for s in os.environ["SPARKWAY_HOOK_SECRET"].split(",")]
told = set()  # ids of events that were handled: they may come more than once


def is_genuine(headers, body):
    """Whether the gateway sent these bytes, lately. Several signatures stand side by side while
    a secret is being replaced; one is enough."""
    request, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdigit() or abs(time.time() - int(sent)) > TOLERANCE_S:
        return False
    signed = f"{request}.{sent}.".encode() + body
    wanted = [
        b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
        for secret in SECRETS
    ]
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(one, other) for one in wanted for other in given)


def connect(client, asked):
    """Who is it, and what may he do?"""
    token = asked.get("token") or ""
    if not token.startswith("user-"):
        return {"allow": False}
    return {
        "allow": True,
        "user": token.removeprefix("user-"),
        "subscribe": ["*"],
        "publish": ["*"],
        "expires_at": int((time.time() + 3600) * 1000),
    }


def subscribe(client, asked):
    """A user may receive `private:HIS-NAME:...`."""
    own = f"private:{client.get('user')}:"
    return {"allow": [topic for topic in asked["topics"] if topic.startswith(own)]}


def publish(client, asked):
    """Nobody shouts."""
    data = asked["data"]
    if isinstance(data, str):
        return {"allow": True, "data": data.lower()}
    return {"allow": True}


def message(client, asked):
    """The response to a message of a conversation."""
    return {"content": f"You said: {asked['content']}"}


def rpc(client, asked):
    """`rpc:call`."""
    if asked["method"] == "add":
        return {"result": {"sum": sum(asked["params"])}}
    return {"error": "not_found"}


def refresh(client, asked):
    """Another hour for everybody."""
    return {"allow": True, "expires_at": int((time.time() + 3600) * 1000)}


def events(body):
    for event in body["events"]:
        if event["id"] not in told:
            told.add(event["id"])
            print(json.dumps(event), flush=True)
    return {}


HOOKS = {
    "connect": connect,
    "subscribe": subscribe,
    "publish": publish,
    "message": message,
    "rpc": rpc,
    "refresh": refresh,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_genuine(self.headers, body):
            return self.answer(401, {})
        asked = json.loads(body)
        hook = asked["hook"]
        if hook == "events":
            return self.answer(200, events(asked))
        self.answer(200, HOOKS[hook](asked["client"], asked[hook]))

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()
