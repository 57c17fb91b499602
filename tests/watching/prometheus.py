"""A real Prometheus with the rules of deploy/ scrapes real nodes; what dashboard and rules ask for is there."""
import asyncio
import contextlib
import json
import pathlib
import sys
import urllib.parse

import yaml

from harness import ROOT, Client, Process, free_port, get, node, redis, until

sys.path.insert(0, str(ROOT / "tests" / "chart"))
import queries  # noqa: E402  (of the chart's tests: what dashboard and rules ask for)

# What a Grafana would put in place of its variables.
VARIABLES = {"$job": ".+", "$namespace": ".*", "$ns": ".*", "$pod": ".*", "$quantile": "0.99", "$__rate_interval": "10s", "${datasource}": ""}


def filled(expression):
    """A dashboard's query as Grafana would send it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def asked(port, path, **parameters):
    """The data of an answer of Prometheus' API."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    answer = json.loads(get(port, f"/api/v1/{path}{query}"))
    assert answer["status"] == "success", answer
    return answer["data"]


async def load(one, two, stop):
    """Publishes, deliveries, cuts and resumes, until told to stop."""
    writer = await Client.connect(one)
    reader = await Client.connect(two)
    await reader.subscribe("orders:1", "news")
    number = 0
    while not stop():
        for _ in range(20):
            number += 1
            await writer.publish("orders:1" if number % 2 else "news", {"number": number})
            await reader.message()
        ticket = await reader.cut()
        await writer.publish("news", "missed")
        reader = await Client.connect(two if number % 40 else one, resume=ticket)
        await reader.message()
        await asyncio.sleep(0.05)
    await writer.ws.close()
    await reader.ws.close()


@contextlib.contextmanager
def scraping(nodes, interval="1s"):
    """A Prometheus that scrapes nodes as compose's does; its port."""
    port = free_port()
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yaml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{one.internal}" for one in nodes]}]
    config["scrape_configs"][0]["relabel_configs"] = [{"target_label": "namespace", "replacement": "test"}] + [
        {"source_labels": ["__address__"], "regex": f".*:{one.internal}", "target_label": "pod", "replacement": one.name} for one in nodes]
    with Process(["true"]) as scratch:
        path = pathlib.Path(scratch.folder, "prometheus.yml")
        path.write_text(yaml.safe_dump(config))
        arguments = ["prometheus", f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={scratch.folder}/data"]
        with Process(arguments) as server:
            until(f"prometheus answers; {server.log}", lambda: get(port, "/-/ready"))
            yield port


@contextlib.contextmanager
def watched(interval="1s"):
    """Two nodes over one Redis, and a Prometheus; its port."""
    settings = {"topics.presence": "true", "namespaces.orders.presence": "false"}
    with redis() as store, node("node-a", store.port, settings) as one, node("node-b", store.port, settings) as two:
        with scraping([one, two], interval) as port:
            yield port, one, two


def test_every_query_of_dashboard_and_rules_finds_its_families_in_a_real_prometheus():
    with watched() as (port, one, two):
        rounds = []
        asyncio.run(load(one, two, lambda: rounds.append(1) or len(rounds) > 20))
        until("both nodes are scraped", lambda: len([t for t in asked(port, "targets")["activeTargets"] if t["health"] == "up"]) == 2)
        until("deliveries are stored", lambda: asked(port, "query", query="sum(sparkway_deliveries_total) > 0")["result"])
        names = set(asked(port, "label/__name__/values"))
        wanted = {family for _, expression in queries.queries() for family, _ in queries.selectors(expression)}
        missing = {family for family in wanted if family not in names and f"{family}_bucket" not in names}
        assert not missing, f"asked for and not scraped: {sorted(missing)}"
        for port_of_node in (one.internal, two.internal):
            problems = sorted(set(queries.missing(queries.scraped(get(port_of_node, "/metrics")))))
            assert not problems, problems
        rules = [rule for group in asked(port, "rules")["groups"] for rule in group["rules"]]
        assert len(rules) == 20, len(rules)
        until("every rule was evaluated", lambda: all(rule["health"] == "ok" for group in asked(port, "rules")["groups"] for rule in group["rules"]))
        firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
        assert not firing, f"alerts of a healthy cluster: {firing}"
        for where, expression in queries.queries():
            asked(port, "query", query=filled(expression))
        # What healthy clients do must be seen, not only be there.
        for expression in ('sum(sparkway_resumes_total{result="ok"}) > 0', 'sum(sparkway_publishes_total{topic_ns="orders"}) > 0',
                           'sum(sparkway_delivery_latency_seconds_count{source="live"}) > 0', 'sum(sparkway_redis_commands_total{result="ok"}) > 0',
                           "sum(sparkway_bus_lag_seconds_count) > 0", "max(sparkway_load_ratio) >= 0"):
            until(expression, lambda expression=expression: asked(port, "query", query=expression)["result"])
        for target in asked(port, "targets")["activeTargets"]:
            assert target["lastScrapeDuration"] < 5, target
        series = asked(port, "query", query='count by (pod) ({__name__=~"sparkway_.+"})')["result"]
        assert all(float(found["value"][1]) <= 2000 for found in series), series


TESTS = [test_every_query_of_dashboard_and_rules_finds_its_families_in_a_real_prometheus]
