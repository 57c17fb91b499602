"""What reaches the gateway: its file, its environment, its secrets."""
import base64
import json
import tomllib

import yaml

from harness import fixtures, named, pod_specs, render, render_text

# Environment the chart may set: configuration keys of docs/reference/config.md in their environment form.
KNOWN = {
    "SPARKWAY_CONFIG", "SPARKWAY__SERVER__LISTEN", "SPARKWAY__INTERNAL__LISTEN", "SPARKWAY__SERVER__TLS__CERT", "SPARKWAY__SERVER__TLS__KEY",
    "SPARKWAY__API__KEYS__FILE", "SPARKWAY__AUTH__HS256_SECRET__FILE", "SPARKWAY__HOOKS__SECRET__FILE", "SPARKWAY__STORE__URL",
    "SPARKWAY__STORE__URL__FILE", "SPARKWAY__STORE__KEY_PREFIX", "SPARKWAY__STORE__PARTITIONS", "SPARKWAY__DRAIN__READINESS_DELAY",
    "SPARKWAY__DRAIN__DURATION", "SPARKWAY__DRAIN__MAX_RATE", "SPARKWAY__LIMITS__CONNECTIONS", "SPARKWAY__LIMITS__HANDSHAKES_PER_SECOND",
    "SPARKWAY__TRACING__OTLP_ENDPOINT", "SPARKWAY__TRACING__SAMPLE_RATIO", "SPARKWAY__LOG__LEVEL", "SPARKWAY__LOG__FORMAT",
    "SPARKWAY__STORE__CA_FILE", "REDIS_PASSWORD", "SPARKWAY__REBALANCE__ENABLED", "SPARKWAY__REBALANCE__THRESHOLD",
    "SPARKWAY__REBALANCE__RATE", "SPARKWAY__REBALANCE__MIN_CONNECTIONS", "SPARKWAY__REBALANCE__MAX_CONNECTION_AGE",
}


def environment(values):
    """Name -> value (or the reference) of the gateway's container."""
    spec = named(render(values), "Deployment")["spec"]["template"]["spec"]
    container = next(c for c in spec["containers"] if c["name"] == "sparkway")
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


def toml(values):
    """The file as the gateway reads it."""
    return tomllib.loads(named(render(values), "ConfigMap")["data"]["sparkway.toml"])


AWKWARD = {
    "topics": {"history_entries": 1000000, "history_age": "10m"}, "session": {"heartbeat_interval": "25s"},
    "limits": {"frames_per_second": 50, "message_bytes": 65536}, "deep": {"a": {"b": {"c": 1, "d": {"e": True}}, "z": 0.25}},
    "namespaces": {"chat:v2": {"presence": True, "publish": ["a", "b"]}, "plain": {}, "späte Räume": {"ephemeral": False}},
    "routes": {"/ws": "spark", "/ws/room/{room}": {"dialect": "room", "options": [1, 2]}},
    "text": {"quotes": 'a "b" \\ c', "lines": "one\ntwo\tthree", "markup": "<a>&'b'", "uni": "grün ☂", "empty": "", "like": "= # ["},
    "numbers": {"negative": -5, "tiny": 0.000001, "huge": 9007199254740991, "big": 1e21, "zero": 0},
    "list": {"tables": [{"name": "x", "n": 1}, {"name": "y", "inner": {"k": [True, False]}}], "nested": [[1, 2], ["a"]], "none": []},
    "top": 5,
}


def test_the_configuration_arrives_as_it_was_given():
    got = toml({"config": AWKWARD})
    if got != AWKWARD:
        yield f"{json.dumps(got, sort_keys=True)} is not {json.dumps(AWKWARD, sort_keys=True)}"
    for path in ("topics.history_entries", "limits.message_bytes", "numbers.huge"):
        section, key = path.split(".")
        if not isinstance(got[section][key], int):
            yield f"{path} became {got[section][key]!r}"
    if toml({}) != {} or toml({"config": {"a": None, "b": {"c": None}}}) != {"b": {}}:
        yield "an empty value does not give an empty file"


def test_the_environment_names_only_keys_the_gateway_has():
    for name, values in fixtures().items():
        own = {e["name"] for e in values.get("extraEnv", [])}
        yield from (f"{name}: {key}" for key in set(environment(values)) - KNOWN - own)


def test_the_configuration_check_sees_what_the_gateway_sees():
    for name, values in fixtures().items():
        spec = named(render(values), "Deployment")["spec"]["template"]["spec"]
        serve = next(c for c in spec["containers"] if c["name"] == "sparkway")
        check = next(c for c in spec["initContainers"] if c["name"] == "config-check")
        if serve["args"] != ["serve"] or check["args"] != ["config", "check"]:
            yield f"{name}: {serve['args']} {check['args']}"
        for part in ("image", "env", "envFrom", "volumeMounts"):
            if serve.get(part) != check.get(part):
                yield f"{name}: {part} differs"


def test_the_internal_port_listens_for_the_pod_network_and_has_a_key():
    for name, values in fixtures().items():
        env = environment(values)
        if not env["SPARKWAY__INTERNAL__LISTEN"].startswith(("0.0.0.0:9000", "[::]:9000")):
            yield f"{name}: {env['SPARKWAY__INTERNAL__LISTEN']}"
        if env["SPARKWAY__API__KEYS__FILE"] != "/run/secrets/sparkway/api-keys":
            yield f"{name}: no key file"


def test_store_addresses_have_the_documented_form():
    def redis(**keys):
        return {"store": {"mode": "redis", "redis": keys}}
    login = {"passwordSecret": {"name": "s"}}
    sentinel = {"sentinel": {"enabled": True, "nodes": ["a:1", "b:2"]}}
    cluster = {"cluster": {"enabled": True, "nodes": ["a:1", "b:2"]}}
    for values, want in (
        ({}, "memory:"),
        (redis(url="redis://h:6379/2"), "redis://h:6379/2"),
        (redis(url="rediss://h:6379", username="u", **login), "rediss://u:$(REDIS_PASSWORD)@h:6379"),
        (redis(**sentinel), "redis+sentinel://a:1,b:2/mymaster"),
        (redis(**sentinel, **login, tls={"enabled": True}), "rediss+sentinel://:$(REDIS_PASSWORD)@a:1,b:2/mymaster"),
        (redis(**cluster), "redis+cluster://a:1,b:2"),
        (redis(**cluster, **login, tls={"enabled": True}), "rediss+cluster://:$(REDIS_PASSWORD)@a:1,b:2"),
        (redis(demo={"enabled": True}), "redis://:$(REDIS_PASSWORD)@rel-sparkway-redis-demo:6379/0"),
    ):
        env = environment(values)
        if env.get("SPARKWAY__STORE__URL") != want:
            yield f"{env.get('SPARKWAY__STORE__URL')}, not {want}"
        if "$(REDIS_PASSWORD)" in want and list(env).index("REDIS_PASSWORD") > list(env).index("SPARKWAY__STORE__URL"):
            yield "the password is declared after its use, so Kubernetes would not insert it"
    env = environment({"store": {"mode": "redis"}, "secrets": {"create": {"redisUrl": "redis://h"}}})
    if "SPARKWAY__STORE__URL" in env or env["SPARKWAY__STORE__URL__FILE"] != "/run/secrets/sparkway/redis-url":
        yield f"an address from a Secret is not read from its file: {env}"


PLANTED = {"apiKeys": "swk_a_PlantedOne01234567890", "tokenKey": "planted-two-of-at-least-32-characters", "redisUrl": "redis://:planted-three@h:6379", "hookSecret": "planted-four"}


def test_no_secret_stands_in_clear_anywhere():
    cases = {"all": {"store": {"mode": "redis"}, "secrets": {"create": PLANTED}}}
    cases |= {name: values for name, values in fixtures().items() if "create" in values.get("secrets", {})}
    for name, values in cases.items():
        for value in values["secrets"]["create"].values():
            encoded = base64.b64encode(value.encode()).decode()
            where = [path for path, text in render_text(values).items() if value in text or value.split("@")[0].split(":")[-1] in text]
            if where:
                yield f"{name}: {value} stands in {where}"
            holders = {o["kind"] for o in render(values) if encoded in json.dumps(o)}
            if holders != {"Secret"}:
                yield f"{name}: {value} is held by {holders}"


def test_random_secrets_differ_and_are_long():
    data = [named_secret() for _ in range(2)]
    for key in ("api-keys", "token-key"):
        if data[0][key] == data[1][key] or len(base64.b64decode(data[0][key])) < 40:
            yield f"{key} is not random or too short"
    if not base64.b64decode(data[0]["api-keys"]).startswith(b"swk_"):
        yield "the API key has not the form swk_<id>_<secret>"


def named_secret():
    """The Secret as rendered, before random values are hidden."""
    return yaml.safe_load(render_text({})["sparkway/templates/secret.yaml"])["data"]


def test_a_change_of_configuration_or_secrets_rolls_the_pods_and_nothing_else_does():
    def annotation(values):
        return named(render(values), "Deployment")["spec"]["template"]["metadata"].get("annotations", {}).get("checksum/config")
    base = annotation({})
    if not base or base != annotation({}):
        yield "without a change the pods would roll at each upgrade"
    for values in ({"config": {"a": 1}}, {"secrets": {"create": {"tokenKey": "x" * 32}}}):
        if annotation(values) == base:
            yield f"{values} does not roll the pods"
    if annotation({"service": {"port": 81}, "metrics": {"dashboard": {"enabled": True}}}) != base:
        yield "an unrelated change rolls the pods"
    if annotation({"rolloutOnConfigChange": False, "config": {"a": 1}}):
        yield "rolloutOnConfigChange=false is not obeyed"


def test_a_token_key_is_made_only_when_nothing_else_authenticates_clients():
    for config, want in (({}, True), ({"auth": {"mode": "optional"}}, True), ({"auth": {"mode": "off"}}, False),
                         ({"auth": {"jwks_url": "https://x/y"}}, False), ({"auth": {"public_key": "pem"}}, False), ({"auth": {"keys": {"a": {"public_key": "pem"}}}}, False)):
        env = environment({"config": config})
        if ("SPARKWAY__AUTH__HS256_SECRET__FILE" in env) != want:
            yield f"{config}: {sorted(env)}"


def test_the_test_pod_publishes_cuts_resumes_and_counts_on_the_public_service():
    for name, values in fixtures().items():
        objects = render(values)
        pod = named(objects, "Pod")
        args = pod["spec"]["containers"][0]["args"]
        if args[:2] != ["bench", "resume"] or pod["metadata"]["annotations"]["helm.sh/hook"] != "test":
            yield f"{name}: {args}"
        service = named(objects, "Service", named(objects, "Deployment")["metadata"]["name"])
        host = f"//{service['metadata']['name']}.ns.svc:{service['spec']['ports'][0]['port']}"
        if host not in args[args.index("--url") + 1]:
            yield f"{name}: {args}"
        if len([1 for what, _, _ in pod_specs(objects) if what.startswith("Pod")]) != 1:
            yield f"{name}: more than one pod"
