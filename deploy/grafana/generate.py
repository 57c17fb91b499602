#!/usr/bin/env python3
"""Writes sparkway.json, the Grafana dashboard: 7 rows, 34 panels. With --check it only compares."""
import json
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parent / "sparkway.json"
# What every query selects by; variables are filled in by Grafana.
AT = 'job=~"$job",namespace=~"$namespace",pod=~"$pod"'
RATE = "[$__rate_interval]"


def rate(metric, by, more=""):
    """Per-second rate of a counter, summed by some labels."""
    return f"sum by ({by}) (rate({metric}{{{AT}{more}}}{RATE}))"


def total(metric, more=""):
    """Per-second rate of a counter, all in one."""
    return f"sum(rate({metric}{{{AT}{more}}}{RATE}))"


def quantile(histogram, by="", more="", q="$quantile"):
    """A quantile of a histogram, by some labels."""
    group = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({group}) (rate({histogram}_bucket{{{AT}{more}}}{RATE})))"


def heat(histogram):
    """The buckets of a histogram, for a heatmap."""
    return f"sum by (le) (increase({histogram}_bucket{{{AT}}}{RATE}))"


def gauge(metric, by, more=""):
    """A gauge, summed by some labels."""
    return f"sum by ({by}) ({metric}{{{AT}{more}}})"


# (row, [(title, kind, unit, what it tells, [(legend, expr)...])...])
ROWS = [
    ("Overview", [
        ("Connections", "stat", "short", "Open now, all nodes.", [("", f"sum(sparkway_connections{{{AT}}})")]),
        ("Nodes by state", "stat", "short", "Draining ones are leaving; none should be starting for long.",
         [("{{state}}", gauge("sparkway_node_state", "state"))]),
        ("Delivered messages", "stat", "ops", "Messages queued to sockets per second.",
         [("", total("sparkway_deliveries_total", ',result="queued"'))]),
        ("p99 publish to socket", "stat", "s", "Time from a message's id to its acceptance by the socket, live only.",
         [("", quantile("sparkway_delivery_latency_seconds", more=',source="live"', q="0.99"))]),
        ("Resume success", "stat", "percentunit", "Share of resumes that found everything.",
         [("", f'{total("sparkway_resumes_total", ",result=" + chr(34) + "ok" + chr(34))} / {total("sparkway_resumes_total")}')]),
        ("Gaps not repaired (24 h)", "stat", "short", "Must be 0: each one is loss that clients were told of.",
         [("", f'sum(increase(sparkway_gap_repairs_total{{{AT},result=~"trimmed|failed"}}[24h])) or vector(0)')]),
    ]),
    ("Connections", [
        ("Per node", "stacked", "short", "Height: all connections. Bands of the same width: balanced.",
         [("{{pod}}", gauge("sparkway_connections", "pod"))]),
        ("Balance: max / mean", "timeseries", "none", "1 is even. Above 1.3 for long: see SparkwayImbalance.",
         [("max / mean", f'max({gauge("sparkway_connections", "pod")}) / avg({gauge("sparkway_connections", "pod")})')]),
        ("Opened and closed", "timeseries", "cps", "Apart for long: the number of clients changes.",
         [("opened {{result}}", rate("sparkway_connections_opened_total", "result")),
          ("closed", total("sparkway_connections_closed_total"))]),
        ("Closes by code", "timeseries", "cps", "1012 is drain, 1001 and network are clients leaving.",
         [("{{code}} {{initiator}}", rate("sparkway_connections_closed_total", "code, initiator"))]),
        ("Handshake results", "timeseries", "reqps", "Anything but ok is a client that did not get in.",
         [("{{result}}", rate("sparkway_handshakes_total", "result"))]),
        ("Handshake duration", "timeseries", "s", "TCP accept to connected.",
         [(f"p{q}", quantile("sparkway_handshake_duration_seconds", q=f"0.{q}")) for q in (50, 95, 99)]),
        ("Connection lifetime", "heatmap", "s", "A band at 60 s or 350 s is a balancer's idle timeout.",
         [("{{le}}", heat("sparkway_connection_duration_seconds"))]),
    ]),
    ("Sessions and resume", [
        ("Sessions", "timeseries", "short", "Detached ones wait for their client until the resume window ends.",
         [("{{state}}", gauge("sparkway_sessions", "state"))]),
        ("Resumes by result and source", "timeseries", "cps", "trimmed: came back too late. ring: cheap, stream: from the store.",
         [("{{result}} {{source}}", rate("sparkway_resumes_total", "result, source"))]),
        ("Resume duration by source", "timeseries", "s", "Request to last replayed frame queued, at the chosen quantile.",
         [("{{source}}", quantile("sparkway_resume_duration_seconds", "source"))]),
        ("Replayed per resume", "heatmap", "short", "How much clients miss while away.",
         [("{{le}}", heat("sparkway_resume_replayed_messages"))]),
        ("Takeovers and fenced writes", "timeseries", "cps", "Sessions moved to a new connection; writes of the old owner refused.",
         [("takeover {{kind}}", rate("sparkway_session_takeovers_total", "kind")),
          ("fenced write", total("sparkway_fenced_writes_total"))]),
    ]),
    ("Publish and fan-out", [
        ("Publishes by origin and result", "timeseries", "cps", "unavailable: the store. duplicate: a client's retry, stored once.",
         [("{{origin}} {{result}}", rate("sparkway_publishes_total", "origin, result"))]),
        ("Publish duration by origin", "timeseries", "s", "Received to acknowledged, at the chosen quantile.",
         [("{{origin}}", quantile("sparkway_publish_duration_seconds", "origin"))]),
        ("Delivery latency", "heatmap", "s", "All sources; replay shows far to the top.",
         [("{{le}}", heat("sparkway_delivery_latency_seconds"))]),
        ("Deliveries per publish", "timeseries", "none", "How many clients one message reaches.",
         [("amplification", f'{total("sparkway_deliveries_total")} / {total("sparkway_publishes_total", ",result=" + chr(34) + "ok" + chr(34))}')]),
        ("Encode-once ratio", "timeseries", "percentunit", "Share of deliveries that reuse bytes encoded before.",
         [("shared", f'{total("sparkway_encodes_total", ",result=" + chr(34) + "shared" + chr(34))} / {total("sparkway_encodes_total")}')]),
        ("Slow consumers and send queues", "timeseries", "short", "Bytes that wait for clients to read, and what was done about it.",
         [("{{action}} /s", rate("sparkway_slow_consumer_events_total", "action")),
          ("queued bytes", f"sum(sparkway_send_queue_bytes{{{AT}}})")]),
    ]),
    ("Redis and bus", [
        ("Command duration by op", "timeseries", "s", "At the chosen quantile.",
         [("{{op}}", quantile("sparkway_redis_command_duration_seconds", "op"))]),
        ("Errors by result", "timeseries", "cps", "oom and readonly need hands; the rest is retried.",
         [("{{op}} {{result}}", rate("sparkway_redis_commands_total", "op, result", ',result!="ok"'))]),
        ("Bus lag by shard", "timeseries", "s", "A message's id to its arrival on the other nodes, at the chosen quantile.",
         [("shard {{shard}}", quantile("sparkway_bus_lag_seconds", "shard"))]),
        ("Gaps and repairs", "timeseries", "cps", "ok: missed by the bus, read from the log. Others are loss.",
         [("{{result}}", rate("sparkway_gap_repairs_total", "result"))]),
    ]),
    ("HTTP API and hooks", [
        ("Requests by route and status", "timeseries", "reqps", "Calls of backends and operators.",
         [("{{route}} {{status}}", rate("sparkway_http_requests_total", "route, status"))]),
        ("Hook duration", "timeseries", "s", "Calls to your backend, at the chosen quantile.",
         [("{{hook}}", quantile("sparkway_hook_duration_seconds", "hook"))]),
    ]),
    ("Runtime", [
        ("CPU cores", "timeseries", "none", "Cores in use, per node.", [("{{pod}}", rate("process_cpu_seconds_total", "pod"))]),
        ("Memory per connection", "timeseries", "bytes", "Resident memory over connections: rises when few are left.",
         [("bytes", f"sum(process_resident_memory_bytes{{{AT}}}) / clamp_min(sum(sparkway_connections{{{AT}}}), 1)")]),
        ("Worker busy ratio", "timeseries", "percentunit", "Near 1: the node is out of CPU.",
         [("{{pod}}", f"avg by (pod) (rate(sparkway_tokio_worker_busy_seconds_total{{{AT}}}{RATE}))")]),
        ("File descriptors in use", "timeseries", "percentunit", "Each client is one.",
         [("{{pod}}", f"max by (pod) (process_open_fds{{{AT}}} / process_max_fds{{{AT}}})")]),
    ]),
]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def panel(ident, spec, x, y, width):
    """One panel of the grid, which is 24 wide."""
    title, kind, unit, description, queries = spec
    height = 4 if kind == "stat" else 8
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 40} if kind == "stacked" else {}
    out = {
        "id": ident, "title": title, "description": description, "datasource": SOURCE,
        "type": "timeseries" if kind == "stacked" else kind,
        "gridPos": {"x": x, "y": y, "w": width, "h": height},
        "fieldConfig": {"defaults": {"unit": unit, "custom": custom}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto",
             **({"format": "heatmap"} if kind == "heatmap" else {})}
            for i, (legend, expr) in enumerate(queries)
        ],
    }
    if kind == "stat":
        out["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    elif kind == "heatmap":
        out["options"] = {"calculate": False, "yAxis": {"unit": unit}, "color": {"scheme": "Oranges"}}
        out["fieldConfig"] = {"defaults": {}, "overrides": []}
    else:
        out["options"] = {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
                          "tooltip": {"mode": "multi", "sort": "desc"}}
    return out


def panels():
    """Rows and their panels. The first four are open, the rest folded: their panels hang under the row."""
    out, ident, y = [], 0, 0
    for number, (title, specs) in enumerate(ROWS):
        ident += 1
        folded = number >= 4
        row = {"id": ident, "type": "row", "title": title, "collapsed": folded,
               "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        out.append(row)
        y += 1
        width = 4 if specs[0][1] == "stat" else 8
        x, placed = 0, []
        for spec in specs:
            ident += 1
            if x + width > 24:
                x, y = 0, y + 8
            placed.append(panel(ident, spec, x, y, width))
            x += width
        (row["panels"] if folded else out).extend(placed)
        y += placed[0]["gridPos"]["h"]
    return out


def variable(name, label, query):
    """A multi-value variable read from label values."""
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query, "definition": query,
            "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "sort": 1,
            "current": {"text": "All", "value": "$__all"}}


def annotation(name, color, expr, title):
    """Marks over all panels."""
    return {"name": name, "datasource": SOURCE, "enable": True, "iconColor": color, "expr": expr, "titleFormat": title,
            "step": "60s"}


def dashboard():
    """The whole dashboard."""
    quantiles = ["0.5", "0.9", "0.95", "0.99", "0.999"]
    return {
        "uid": "sparkway", "title": "Sparkway", "tags": ["sparkway"], "schemaVersion": 39, "version": 1,
        "description": "Generated by deploy/grafana/generate.py",
        "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser", "editable": True,
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
             "current": {"text": "default", "value": "default"}},
            variable("job", "Job", "label_values(sparkway_build_info, job)"),
            variable("namespace", "Namespace", 'label_values(sparkway_build_info{job=~"$job"}, namespace)'),
            variable("pod", "Pod", 'label_values(sparkway_build_info{job=~"$job",namespace=~"$namespace"}, pod)'),
            {"name": "quantile", "label": "Quantile", "type": "custom", "query": ",".join(quantiles),
             "options": [{"text": q, "value": q, "selected": q == "0.99"} for q in quantiles],
             "current": {"text": "0.99", "value": "0.99"}},
        ]},
        "annotations": {"list": [
            annotation("Drains", "orange", f'changes(sparkway_node_state{{{AT},state="draining"}}[1m]) > 0', "{{pod}} drains"),
            annotation("Deploys", "blue", f"changes(sparkway_build_info{{{AT}}}[5m]) > 0", "{{pod}} is {{version}}"),
        ]},
        "panels": panels(),
    }


def main():
    """Writes, or compares."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" in sys.argv:
        if not OUT.exists() or OUT.read_text() != text:
            print("out of date, run deploy/grafana/generate.py: deploy/grafana/sparkway.json")
            return 1
        return 0
    OUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
