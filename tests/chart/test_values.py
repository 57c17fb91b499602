"""Every value does something, every switch switches, every mistyped key is refused."""
import itertools
import json

import jsonschema

from harness import (NEWEST, Refused, at, defaults, dotted, fixtures, leaves, objects_of, put, render, render_text, schema_problems,
                     state_of, values_schema)

def others(path, schema, now):
    """Values of one key that differ from what it is now."""
    yield from (value for value in schema.get("examples", []) if value != now)
    if "enum" in schema:
        yield from (value for value in schema["enum"] if value != now)
    elif isinstance(now, bool):
        yield not now
    elif isinstance(now, (int, float)):
        yield now + 1
        yield max(schema.get("minimum", 0), now - 1)
    elif isinstance(now, str):
        yield f"{now}-other" if now else "other"
        yield f"other-{now}"
    if isinstance(now, (list, dict)) and now:
        yield type(now)()


def effect(path, schema):
    """Changes one key in one base after the other until the output changes: (base, values), or None.

    The bases are the fixtures and, where no fixture will do, what the key needs beside it. Such a base may be one
    that is refused: then it is the effect of the change that it renders.
    """
    def nearness(item):
        """How much of the path a fixture sets: the more, the likelier that it shows the change."""
        values, depth = item[1], 0
        for step in path:
            if not isinstance(values, dict) or step not in values:
                break
            values, depth = values[step], depth + 1
        return -depth

    bases = sorted(fixtures().items(), key=nearness)
    if dotted(path) in NEEDS:
        bases.append(("needs", NEEDS[dotted(path)]))
    for name, values in bases:
        for value in others(path, schema, at(values, path)):
            changed = put(values, path, value)
            try:
                if state_of(changed) != base_state(name, values):
                    return name, changed
            except Refused:
                continue
    return None


_STATES = {}


def base_state(name, values):
    """What a base renders to, once; None when it is refused."""
    if name == "needs":
        try:
            return state_of(values)
        except Refused:
            return None
    if name not in _STATES:
        _STATES[name] = state_of(values)
    return _STATES[name]


_EFFECTS = {}


def effects():
    """Path -> where its change showed."""
    if not _EFFECTS:
        for path, schema in leaves():
            _EFFECTS[path] = effect(path, schema)
    return _EFFECTS


def test_each_value_changed_once_changes_the_output():
    for path, shown in effects().items():
        if shown is None:
            yield f"{dotted(path)} changes nothing in any fixture"


def test_each_value_changed_once_still_makes_valid_objects():
    before = {name: render_text(values) for name, values in fixtures().items()}
    for path, shown in effects().items():
        if shown is None:
            continue
        after = render_text(shown[1])
        changed = {name: text for name, text in after.items() if text != before.get(shown[0], {}).get(name)}
        for document in objects_of(changed):
            yield from (f"{dotted(path)} changed in {shown[0]}: {problem}" for problem in schema_problems(document, NEWEST))


def test_there_are_as_many_documented_keys_as_the_defaults_have():
    def count(value):
        return sum(count(v) for v in value.values()) if isinstance(value, dict) and value else 1
    documented = {path for path, _ in leaves()}
    for path in documented:
        if at({}, path, "missing") == "missing":
            yield f"{dotted(path)} is in the schema and not in values.yaml"
    if count(defaults()) < len(documented):
        yield "fewer defaults than documented keys"


# Switch -> kinds that are there only while it is on (empty: it changes what is inside other objects).
SWITCHES = {
    "autoscaling.enabled": ["HorizontalPodAutoscaler"], "keda.enabled": ["ScaledObject"], "ingress.enabled": ["Ingress"],
    "gateway.httpRoute.enabled": ["HTTPRoute"], "gateway.create.enabled": ["Gateway"], "tls.certManager.enabled": ["Certificate"],
    "podDisruptionBudget.enabled": ["PodDisruptionBudget"], "networkPolicy.enabled": ["NetworkPolicy"],
    "metrics.serviceMonitor.enabled": ["ServiceMonitor"], "metrics.podMonitor.enabled": ["PodMonitor"],
    "metrics.prometheusRule.enabled": ["PrometheusRule"], "metrics.dashboard.enabled": ["ConfigMap"], "tests.enabled": ["Pod"],
    "store.redis.demo.enabled": ["StatefulSet", "Secret", "Service"], "serviceAccount.create": ["ServiceAccount"],
    "console.ingress.enabled": ["Ingress"],
    "tls.enabled": [], "tracing.enabled": [], "store.redis.sentinel.enabled": [], "store.redis.cluster.enabled": [],
    "store.redis.tls.enabled": [], "store.redis.demo.persistence.enabled": [], "autoscaling.connections.enabled": [],
    "autoscaling.load.enabled": [], "topologySpread.zone.enabled": [], "topologySpread.host.enabled": [],
    "store.redis.demo.acknowledge": [], "configCheck": [], "rolloutOnConfigChange": [], "serviceAccount.automount": [],
    "enableServiceLinks": [], "rebalance.enabled": [], "maxConnectionAge.enabled": [], "metrics.scrapeAnnotations": [], "networkPolicy.dnsEgress": [],
}
URL = {"store": {"mode": "redis", "redis": {"url": "redis://r:6379"}}}
# What a key needs beside it, where the default values are not enough.
NEEDS = {
    "autoscaling.enabled": URL, "keda.enabled": {**URL, "keda": {"triggers": [{"type": "cpu", "metadata": {"value": "60"}}]}},
    "ingress.enabled": {"ingress": {"hosts": [{"host": "a.example.com"}]}},
    "gateway.httpRoute.enabled": {"gateway": {"httpRoute": {"parentRefs": [{"name": "g"}]}}},
    "gateway.create.enabled": {"gateway": {"create": {"className": "c"}}},
    "tls.certManager.enabled": {"tls": {"enabled": True, "existingSecret": "s", "certManager": {"issuerRef": {"name": "i"}}}},
    "podDisruptionBudget.enabled": {**URL, "replicaCount": 2},
    "store.redis.demo.enabled": {"store": {"mode": "redis"}},
    "console.ingress.enabled": {"console": {"ingress": {"hosts": ["c.example.com"]}}},
    "tls.enabled": {"tls": {"existingSecret": "s"}}, "tracing.enabled": {"tracing": {"endpoint": "http://o:4318"}},
    "store.redis.sentinel.enabled": {"store": {"mode": "redis", "redis": {"sentinel": {"nodes": ["s:26379"]}}}},
    "store.redis.cluster.enabled": {"store": {"mode": "redis", "redis": {"cluster": {"nodes": ["c:6379"]}}}},
    "store.redis.tls.enabled": {"store": {"mode": "redis", "redis": {"cluster": {"enabled": True, "nodes": ["c:6379"]}}}},
    "store.redis.demo.persistence.enabled": {"store": {"mode": "redis", "redis": {"demo": {"enabled": True}}}},
    "store.redis.demo.acknowledge": {"replicaCount": 2, "store": {"mode": "redis", "redis": {"demo": {"enabled": True}}}},
    "autoscaling.connections.enabled": {**URL, "autoscaling": {"enabled": True, "connections": {"targetAverage": 9}}},
    "autoscaling.load.enabled": {**URL, "autoscaling": {"enabled": True}},
    "networkPolicy.dnsEgress": {"networkPolicy": {"enabled": True}},
    "store.mode": {"store": {"redis": {"url": "redis://r:6379"}}},
    "secrets.keys.redisUrl": {"store": {"mode": "redis"}, "secrets": {"existingSecret": "s"}},
}
# States that are refused by design: the store would have no address, or the demo no acknowledgement.
REFUSED = {("store.redis.sentinel.enabled", False), ("store.redis.cluster.enabled", False), ("store.redis.demo.acknowledge", False),
           ("store.redis.demo.enabled", False)}


def test_each_switch_works_on_and_off():
    switches = {dotted(path) for path, schema in leaves() if schema.get("type") == "boolean"}
    yield from (f"{name}: a switch without a test" for name in switches ^ set(SWITCHES))
    for name in switches & set(SWITCHES):
        path = tuple(name.split("."))
        seen = {}
        for state in (False, True):
            values = put(NEEDS.get(name, {}), path, state)
            try:
                seen[state] = objects_of(render_text(values))
            except Refused as error:
                if (name, state) not in REFUSED:
                    yield f"{name}={state}: {error}"
        if True not in seen:
            continue
        off, on = seen.get(False, render(URL)), seen[True]
        if json.dumps(off) == json.dumps(on):
            yield f"{name} changes nothing"
        for kind in SWITCHES[name]:
            count = [sum(o["kind"] == kind for o in objects) for objects in (off, on)]
            if count[1] != count[0] + 1:
                yield f"{name}: {kind} {count[0]} times when off, {count[1]} when on"
        if not SWITCHES[name] and False in seen and [o["kind"] for o in off] != [o["kind"] for o in on]:
            yield f"{name} makes or removes objects"


def test_a_mistyped_key_is_refused_by_name_on_every_level():
    def levels(schema, path):
        yield path, schema
        for key, inner in schema.get("properties", {}).items():
            if inner.get("type") == "object":
                yield from levels(inner, path + (key,))
    for path, schema in levels(values_schema(), ()):
        if schema.get("additionalProperties") is not False:
            continue
        try:
            render(put({}, path + ("tyypo",), 5))
            yield f"{dotted(path + ('tyypo',))} is accepted"
        except Refused as error:
            if "tyypo" not in str(error):
                yield f"{dotted(path)}: the error does not name the key: {error}"


def test_a_value_of_the_wrong_type_is_refused_by_name():
    fits = {"boolean": bool, "integer": int, "number": (int, float), "string": str, "array": list, "object": dict, "null": type(None)}
    for path, schema in leaves():
        if "enum" in schema:
            continue
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        wrong = [value for value in ("text", 5, {"a": 1}, ["a"], True) if not any(isinstance(value, fits[kind]) for kind in kinds)]
        yield from (f"{dotted(path)}={value!r} is accepted" for value in wrong if jsonschema.Draft7Validator(schema).is_valid(value))
        try:  # one of them through Helm, for the message
            render_text(put({}, path, wrong[0]))
            yield f"{dotted(path)}={wrong[0]!r} renders"
        except Refused as error:
            if path[-1] not in str(error):
                yield f"{dotted(path)}={wrong[0]!r}: the error does not name the key: {error}"


def test_an_enumerated_value_outside_of_its_list_is_refused():
    for path, schema in leaves():
        if "enum" not in schema:
            continue
        try:
            render(put({}, path, "none-of-them"))
            yield f"{dotted(path)} takes anything"
        except Refused:
            pass


def test_the_chart_works_as_a_dependency_with_globals_of_others():
    render({"global": {"imageRegistry": "r", "somethingElse": {"a": 1}}})
    images = [c["image"] for o in render({"global": {"imageRegistry": "r"}}) if o["kind"] == "Deployment"
              for c in itertools.chain(*(o["spec"]["template"]["spec"][k] for k in ("containers", "initContainers")))]
    if any(not image.startswith("r/") for image in images):
        yield f"{images}"


def test_a_block_set_to_null_is_refused_and_not_a_template_error():
    for path in ("store", "autoscaling", "metrics", "drain"):
        try:
            render({path: None})
            yield f"{path}: null is accepted"
        except Refused as error:
            if "nil pointer" in str(error) or path not in str(error):
                yield str(error)[:300]
