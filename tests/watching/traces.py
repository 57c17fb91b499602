"""Two nodes over one Redis export to a real OTLP receiver: names, parents, links, flush, and nothing when off."""
import asyncio
import http.server
import json
import threading
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness import SOON, Client, free_port, node, redis, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TP = f"00-{TRACE}-{SPAN}-01"


class Receiver(http.server.ThreadingHTTPServer):
    """An OTLP receiver that keeps every span it is sent."""

    def __init__(self):
        self.spans, self.requests, self.resources = [], 0, []
        super().__init__(("127.0.0.1", free_port()), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, name):
        """All spans of a name."""
        return [span for span in self.spans if span.name == name]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers exports."""

    def do_POST(self):
        """Decodes the request as OpenTelemetry's own schema has it."""
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf", (self.path, self.headers)
        self.server.requests += 1
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resources.append({a.key: a.value.string_value for a in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Nothing."""


def attributes(span):
    """Name -> value."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def talk(one, two):
    """A traced publish on one node for a subscriber of the other, live and replayed after a resume."""
    reader = await Client.connect(two, headers={"traceparent": TP})
    await reader.subscribe("orders:1")
    writer = await Client.connect(one)
    await writer.publish("orders:1", "live", TP)
    live = await reader.message()
    ticket = await reader.cut()
    await writer.publish("orders:1", "missed", TP)
    again = await Client.connect(two, resume=ticket)
    replayed = await again.message()
    # A trace that the client does not record is not recorded here either.
    await writer.publish("quiet:1", "x", TP[:-1] + "0")
    await writer.ws.close()
    await again.ws.close()
    return live, replayed


def test_one_trace_shows_a_publish_its_script_and_its_delivery_on_another_node():
    receiver = Receiver()
    settings = {"tracing.otlp_endpoint": receiver.url, "tracing.sample_ratio": "0", "tracing.connection_ratio": "0"}
    # The usual five seconds between exports: what arrives early arrives by the flush at the end.
    with redis() as store, node("node-a", store.port, settings) as one, node("node-b", store.port, settings) as two:
        live, replayed = asyncio.run(talk(one, two))
        assert one.terminate() == 0 and two.terminate() == 0
        logs = one.log.read_text() + two.log.read_text()
    publishes = receiver.named("publish orders")
    assert len(publishes) == 2, [span.name for span in receiver.spans]
    for span in publishes:
        assert span.trace_id.hex() == TRACE and span.parent_span_id.hex() == SPAN
        assert span.kind == span.SPAN_KIND_SERVER and span.end_time_unix_nano >= span.start_time_unix_nano
    by_id = {attributes(span)["messaging.message.id"]: span for span in publishes}
    for frame, source in ((live, "live"), (replayed, "replay")):
        publish = by_id[frame["id"]]
        # The subscriber is told the gateway's span, so its own processing can go on from there.
        assert frame["tp"] == f"00-{TRACE}-{publish.span_id.hex()}-01", frame
        scripts = [span for span in receiver.named("EVALSHA") if span.parent_span_id == publish.span_id]
        assert len(scripts) == 1 and attributes(scripts[0])["db.system.name"] == "redis"
        delivered = [span for span in receiver.named("deliver orders") if publish.span_id in [link.span_id for link in span.links]]
        assert source in [attributes(span)["sparkway.source"] for span in delivered], [attributes(span) for span in delivered]
        there = [span for span in delivered if attributes(span)["sparkway.node"] == "node-b"]
        assert there and there[0].parent_span_id == publish.span_id and there[0].trace_id.hex() == TRACE
        assert attributes(publish)["sparkway.node"] == "node-a"
    upgrade = receiver.named("GET")[0]
    assert upgrade.trace_id.hex() == TRACE and upgrade.parent_span_id.hex() == SPAN
    connect = receiver.named("connect")[0]
    assert connect.parent_span_id == upgrade.span_id and attributes(connect)["sparkway.resumed"] is False
    assert len(receiver.named("drain")) == 2
    assert not receiver.named("publish quiet"), "a client that does not record is not recorded"
    assert f"{TRACE}" in logs and '"trace_id"' in logs, "log lines name the trace"
    assert all(resource["service.name"] == "sparkway" for resource in receiver.resources)
    text = " ".join(map(str, receiver.spans))
    assert "orders:1" not in text, "topics are named only on request"


def post(target, path, body, headers=None):
    """A request of a backend; the answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{target.internal}{path}", json.dumps(body).encode(), headers or {})
    with urllib.request.urlopen(request, timeout=SOON) as answer:
        return json.loads(answer.read())


async def hear(target, topic, told):
    """The next message of a topic, which is told only when its reader is there."""
    reader = await Client.connect(target)
    await reader.subscribe(topic)
    await asyncio.to_thread(told)
    frame = await reader.message()
    await reader.ws.close()
    return frame


def test_a_publish_over_http_is_part_of_the_trace_of_its_caller():
    receiver = Receiver()
    settings = {"tracing.otlp_endpoint": receiver.url, "tracing.sample_ratio": "0", "tracing.connection_ratio": "0"}
    with redis() as store, node("node-a", store.port, settings) as one, node("node-b", store.port, settings) as two:
        body = {"topic": "orders:1", "data": "paid"}
        frame = asyncio.run(hear(two, "orders:1", lambda: post(one, "/v1/publish", body, {"traceparent": TP})))
        post(one, "/v1/publish", {"topic": "quiet:1", "data": "x"})
        post(one, "/v1/publish", {"topic": "quiet:1", "data": "x"}, {"traceparent": "what is that"})
        assert one.terminate() == 0 and two.terminate() == 0
    publish, = receiver.named("publish orders")
    assert publish.trace_id.hex() == TRACE and publish.parent_span_id.hex() == SPAN
    assert attributes(publish)["messaging.message.id"] == frame["id"] and attributes(publish)["sparkway.node"] == "node-a"
    script, = receiver.named("EVALSHA")
    assert script.parent_span_id == publish.span_id
    there = [span for span in receiver.named("deliver orders") if attributes(span)["sparkway.node"] == "node-b"]
    assert there and there[0].trace_id.hex() == TRACE and there[0].parent_span_id == publish.span_id
    assert frame["tp"] == f"00-{TRACE}-{publish.span_id.hex()}-01", frame
    assert not receiver.named("publish quiet")


def test_a_marked_topic_or_session_is_recorded_on_every_node_until_it_is_unmarked():
    receiver = Receiver()
    settings = {"tracing.otlp_endpoint": receiver.url, "tracing.sample_ratio": "0", "tracing.connection_ratio": "0"}

    async def story(one, two):
        here, there = await Client.connect(one), await Client.connect(two)
        assert (await asyncio.to_thread(post, one, "/v1/trace", {"topic": "seen:1"}))["exported"]
        await asyncio.to_thread(post, one, "/v1/trace", {"session": there.session["session_id"], "seconds": 60})
        # The other node is told through the store: its word comes after, not with, the answer.
        while not (receiver.named("publish seen") and receiver.named("publish own")):
            await there.publish("seen:1", 1)
            await there.publish("own:1", 1)
        await here.publish("unseen:1", 1)
        await asyncio.to_thread(post, one, "/v1/trace", {"topic": "seen:1", "seconds": 0})
        await here.publish("seen:1", "no more")
        await here.ws.close()
        await there.ws.close()

    env = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    with redis() as store, node("node-a", store.port, settings, env) as one, node("node-b", store.port, settings, env) as two:
        asyncio.run(story(one, two))
        assert one.terminate() == 0 and two.terminate() == 0
    assert {attributes(span)["sparkway.node"] for span in receiver.named("publish seen")} == {"node-b"}
    assert not receiver.named("publish unseen")


def test_the_variables_of_the_standard_switch_tracing_on_and_off():
    receiver = Receiver()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_SERVICE_NAME": "gateway-of-mine", "OTEL_BSP_SCHEDULE_DELAY": "100",
           "OTEL_TRACES_SAMPLER": "always_on", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}

    async def publish(target):
        client = await Client.connect(target)
        await client.publish("a:1", "x")
        await client.ws.close()

    with redis() as store, node("node-a", store.port, {"tracing.record_topic": "true"}, env) as one:
        asyncio.run(publish(one))
        until("the publish is exported", lambda: receiver.named("publish a"))
        assert attributes(receiver.named("publish a")[0])["messaging.destination.name"] == "a:1"
    assert receiver.resources[0]["service.name"] == "gateway-of-mine" and receiver.resources[0]["deployment.environment"] == "test"
    before = receiver.requests
    with redis() as store, node("node-a", store.port, {}, env | {"OTEL_SDK_DISABLED": "true"}) as one:
        asyncio.run(publish(one))
        assert one.terminate() == 0
    assert receiver.requests == before, "a disabled SDK sends nothing"


def test_a_collector_that_is_away_costs_spans_and_nothing_else():
    settings = {"tracing.otlp_endpoint": f"http://127.0.0.1:{free_port()}", "tracing.sample_ratio": "1"}
    env = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BSP_MAX_QUEUE_SIZE": "4"}

    async def publish(target):
        client = await Client.connect(target)
        for number in range(200):
            await client.publish("a:1", number)
        await client.ws.close()

    with redis() as store, node("node-a", store.port, settings, env) as one:
        asyncio.run(publish(one))
        assert one.terminate() == 0
        assert "spans were not exported" in one.log.read_text()


TESTS = [test_one_trace_shows_a_publish_its_script_and_its_delivery_on_another_node,
         test_a_publish_over_http_is_part_of_the_trace_of_its_caller,
         test_a_marked_topic_or_session_is_recorded_on_every_node_until_it_is_unmarked,
         test_the_variables_of_the_standard_switch_tracing_on_and_off, test_a_collector_that_is_away_costs_spans_and_nothing_else]
