"""What the rendered objects promise."""
import copy
import tempfile

import helm_python

from harness import (CHART, KUBERNETES, Refused, chart, fixtures, named, objects_of, pod_specs, put, render, render_text,
                     schema_problems)


def each():
    """(fixture name, its objects)."""
    for name, values in fixtures().items():
        yield name, render(values)


def test_every_fixture_is_valid_on_three_kubernetes_versions():
    for name, objects in each():
        for document in objects:
            for version in KUBERNETES:
                yield from (f"{name}: {problem}" for problem in schema_problems(document, version))


def test_the_validation_refuses_a_planted_mistake_in_every_kind():
    seen = {}
    for _, objects in each():
        for document in objects:
            seen.setdefault(document["kind"], document)
    for kind, document in seen.items():
        broken = copy.deepcopy(document)
        broken.get("spec", broken)["plantedTypo"] = 1
        for version in KUBERNETES:
            if not schema_problems(broken, version):
                yield f"{kind} with an unknown key passes on {version}"


def test_helm_lint_finds_nothing():
    for name, values in fixtures().items():
        report = helm_python.lint(str(CHART), values, strict=True)
        for message in report["messages"]:
            if message["severity"] >= 2:
                yield f"{name}: {message}"


def test_the_packaged_chart_renders_the_same():
    with tempfile.TemporaryDirectory() as folder:
        archive = chart().save(folder)
        with helm_python.Chart.load(archive) as packed:
            for name, values in fixtures().items():
                if objects_of(render_text(values, of=packed)) != render(values):
                    yield f"{name} differs"
            names = [file["name"] for file in packed.files]
            if any(name.startswith("ci/") for name in names):
                yield "the package carries the test fixtures"


def test_every_container_is_hardened():
    for name, objects in each():
        for what, spec, _ in pod_specs(objects):
            where = f"{name}: {what}"
            pod = spec.get("securityContext", {})
            if not pod.get("runAsNonRoot") or pod.get("runAsUser", 0) == 0:
                yield f"{where} may run as root"
            if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
                yield f"{where} has no seccomp profile"
            if spec.get("automountServiceAccountToken") is not False:
                yield f"{where} mounts a service account token"
            if spec.get("enableServiceLinks") is not False:
                yield f"{where} gets service links"
            for container in spec["containers"] + spec.get("initContainers", []):
                if container["name"] in ("before", "beside"):  # the fixture's own
                    continue
                inner = container.get("securityContext", {})
                if inner.get("allowPrivilegeEscalation") is not False or not inner.get("readOnlyRootFilesystem"):
                    yield f"{where}/{container['name']} may escalate or write"
                if inner.get("capabilities") != {"drop": ["ALL"]}:
                    yield f"{where}/{container['name']} keeps capabilities"
                if "limits" not in container.get("resources", {}) or "requests" not in container.get("resources", {}):
                    yield f"{where}/{container['name']} has no resources"
                if any(word in str(container.get("command", "")) for word in ("/bin/", "sh -c")):
                    yield f"{where}/{container['name']} needs a shell, which the image has not"


def test_every_probe_asks_the_internal_port_and_liveness_is_not_readiness():
    for name, objects in each():
        for o in objects:
            if o["kind"] != "Deployment":
                continue
            container = next(c for c in o["spec"]["template"]["spec"]["containers"] if c["name"] == "sparkway")
            paths = {}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                paths[probe] = container[probe]["httpGet"]["path"]
                if container[probe]["httpGet"]["port"] != "internal":
                    yield f"{name}: {probe} asks another port"
            if paths != {"startupProbe": "/startupz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}:
                yield f"{name}: {paths}"


def test_selectors_find_the_gateway_pods_and_nothing_else():
    for name, objects in each():
        pods = {what: labels for what, _, labels in pod_specs(objects)}
        for o in objects:
            spec = o.get("spec", {})
            selector = {
                "Deployment": lambda: spec["selector"]["matchLabels"], "StatefulSet": lambda: spec["selector"]["matchLabels"],
                "Service": lambda: spec["selector"], "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
                "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"], "PodMonitor": lambda: spec["selector"]["matchLabels"],
            }.get(o["kind"])
            if not selector:
                continue
            want = selector().items()
            hit = [what for what, labels in pods.items() if want <= labels.items()]
            own = "StatefulSet" if o["metadata"]["name"].endswith("redis-demo") else "Deployment"
            if len(hit) != 1 or not hit[0].startswith(own):
                yield f"{name}: {o['kind']} {o['metadata']['name']} selects {hit}"
        for monitor in (o for o in objects if o["kind"] == "ServiceMonitor"):
            want = monitor["spec"]["selector"]["matchLabels"].items()
            hit = [o["metadata"]["name"] for o in objects if o["kind"] == "Service" and want <= o["metadata"]["labels"].items()]
            if len(hit) != 1 or not hit[0].endswith("-internal"):
                yield f"{name}: the ServiceMonitor selects {hit}"


def test_references_between_objects_resolve():
    for name, objects in each():
        have = {(o["kind"], o["metadata"]["name"]) for o in objects}
        services = {o["metadata"]["name"]: {str(p["port"]) for p in o["spec"]["ports"]} | {p["name"] for p in o["spec"]["ports"]}
                    for o in objects if o["kind"] == "Service"}
        for o in objects:
            where = f"{name}: {o['kind']} {o['metadata']['name']}"
            spec = o.get("spec", {})
            if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
                target = spec["scaleTargetRef"]
                if (target.get("kind", "Deployment"), target["name"]) not in have:
                    yield f"{where} scales {target}"
            if o["kind"] == "Ingress":
                for rule in spec["rules"]:
                    for path in rule["http"]["paths"]:
                        service = path["backend"]["service"]
                        if service["port"]["name"] not in services.get(service["name"], ()):
                            yield f"{where} points to {service}"
            if o["kind"] == "HTTPRoute":
                for rule in spec["rules"]:
                    for backend in rule["backendRefs"]:
                        if str(backend["port"]) not in services.get(backend["name"], ()):
                            yield f"{where} points to {backend}"
        for what, spec, _ in pod_specs(objects):
            volumes = {volume["name"] for volume in spec.get("volumes", [])}
            volumes |= {"data"} if what.startswith("StatefulSet") else set()
            for container in spec["containers"] + spec.get("initContainers", []):
                for mount in container.get("volumeMounts", []):
                    if mount["name"] not in volumes:
                        yield f"{name}: {what} mounts {mount['name']}, which is no volume"
                paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
                for path in paths:
                    if any(path.startswith(other + "/") for other in paths):
                        yield f"{name}: {what} mounts {path} inside another read-only mount"


def test_the_secret_holds_every_entry_that_is_mounted():
    for name, objects in each():
        secrets = {o["metadata"]["name"]: set(o["data"]) for o in objects if o["kind"] == "Secret"}
        for what, spec, _ in pod_specs(objects):
            for volume in spec.get("volumes", []):
                secret = volume.get("secret", {})
                if secret.get("secretName") in secrets:
                    missing = {item["key"] for item in secret.get("items", [])} - secrets[secret["secretName"]]
                    if missing:
                        yield f"{name}: {what} mounts {missing} that the Secret has not"
            for container in spec["containers"]:
                for env in container.get("env", []):
                    ref = env.get("valueFrom", {}).get("secretKeyRef", {})
                    if ref.get("name") in secrets and ref["key"] not in secrets[ref["name"]]:
                        yield f"{name}: {what} reads {ref}"


def test_names_and_labels_stay_within_63_characters():
    values = put(put(fixtures()["demo"], ("console", "ingress"), {"enabled": True, "hosts": ["c.example.com"]}),
                 ("networkPolicy", "enabled"), False)
    values = put(put(values, ("metrics", "dashboard"), {"enabled": True}), ("nameOverride",), "n" * 40)
    for document in render(values, release="r" * 53):
        for text in [document["metadata"]["name"], *document["metadata"].get("labels", {}).values()]:
            if len(text) > 63:
                yield f"{document['kind']} {text} has {len(text)} characters"


def test_the_grace_period_covers_the_drain():
    for drain, want in (({}, 80), ({"duration": "2m"}, 140), ({"readinessDelay": "30s", "duration": "1h"}, 3645),
                        ({"terminationGracePeriodSeconds": 300}, 300)):
        deployment = named(render({"drain": drain}), "Deployment")
        got = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        if got != want:
            yield f"{drain}: {got}, not {want}"


def test_a_single_pod_has_no_disruption_budget():
    redis = {"store": {"mode": "redis", "redis": {"url": "redis://r:6379"}}}
    for values, want in (({}, 0), (redis, 0), ({**redis, "replicaCount": 2}, 1), ({**redis, "autoscaling": {"enabled": True}}, 1)):
        got = sum(o["kind"] == "PodDisruptionBudget" for o in render(values))
        if got != want:
            yield f"{values}: {got} budgets"


def test_an_autoscaler_owns_the_number_of_pods():
    for name, objects in each():
        scaled = any(o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject") for o in objects)
        if scaled == ("replicas" in named(objects, "Deployment")["spec"]):
            yield name


def test_a_network_policy_merely_switched_on_leaves_every_needed_way_open():
    base = {"networkPolicy": {"enabled": True}}
    redis = {**base, "store": {"mode": "redis", "redis": {"url": "redis://r:6390/0"}}}
    called = {**redis, "tracing": {"enabled": True, "endpoint": "http://otel:4318"},
              "config": {"hooks": {"connect": "https://b/x", "events": "http://c:8081"}, "auth": {"jwks_url": "https://id:8443/k"}},
              "metrics": {"serviceMonitor": {"enabled": True}}}
    sentinel = {**base, "store": {"mode": "redis", "redis": {"sentinel": {"enabled": True, "nodes": ["s:26379"]}}}}
    cluster = {**base, "store": {"mode": "redis", "redis": {"cluster": {"enabled": True, "nodes": ["a:7000", "b:7001"]}}}}
    demo = {**base, "store": {"mode": "redis", "redis": {"demo": {"enabled": True}}}}
    secret = {**base, "store": {"mode": "redis"}, "secrets": {"create": {"redisUrl": "redis://x:1"}}}
    for values, out in ((base, {53}), (redis, {53, 6390}), (called, {53, 6390, 4318, 443, 8081, 8443}), (sentinel, {53, 26379, 6379}),
                        (cluster, {53, 7000, 7001}), (demo, {53, 6379}), (secret, {53, 6379})):
        policy = named(render(values), "NetworkPolicy", "rel-sparkway")["spec"]
        got = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        if got != out:
            yield f"egress {got}, not {out}"
        if any("to" in rule for rule in policy["egress"]):
            yield "egress is limited to peers nobody named"
        ways = {port["port"]: rule.get("from") for rule in policy["ingress"] for port in rule["ports"]}
        if set(ways) != {8000, 9000} or ways[8000] is not None or {"podSelector": {}} not in ways[9000]:
            yield f"ingress {ways}"
        prometheus = any("namespaceSelector" in peer for peer in ways[9000])
        if prometheus != ("metrics" in values):
            yield "Prometheus reaches the internal port when nothing asks for it, or does not when something does"


def test_the_rollout_drains_are_counted_as_kubernetes_rounds():
    # 3 pods, 50 % surge = 2 pods at once; 2 x 15,000 in 60 s at 500/s is exactly enough.
    values = {"replicaCount": 3, "store": {"mode": "redis", "redis": {"url": "redis://r:6379"}}, "limits": {"connectionsPerPod": 15000}}
    render(values)
    try:
        render(put(values, ("limits", "connectionsPerPod"), 15001))
        yield "30,002 connections pass through a drain for 30,000"
    except Refused as error:
        if "at least 61s" not in str(error):
            yield str(error)
    render(put(values, ("strategy",), {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}))


def test_nothing_renders_a_hole():
    for name, values in fixtures().items():
        for path, text in render_text(values).items():
            for hole in ("<no value>", "<nil>", "%!", "map["):
                if hole in text:
                    yield f"{name}: {path} contains {hole}"
