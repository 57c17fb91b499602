"""The files under deploy/, as far as they can be checked without starting them."""
import os
import re
import tempfile

import yaml

from harness import CHART, DEPLOY, LOADER, ROOT, defaults
from test_config import KNOWN
from test_watching import run


def compose():
    """compose.yaml with its anchors resolved."""
    return yaml.load((DEPLOY / "compose.yaml").read_text(), Loader=LOADER)


def nodes():
    """The gateway's services."""
    return {name: service for name, service in compose()["services"].items() if name.startswith("node-")}


def test_what_is_generated_is_up_to_date():
    status, output = run("python3", str(ROOT / "helm" / "generate.py"), "--check")
    if status:
        yield output


def test_rules_and_dashboard_are_kept_once():
    for name, target in (("rules.yaml", DEPLOY / "prometheus" / "rules.yaml"), ("dashboard.json", DEPLOY / "grafana" / "sparkway.json")):
        link = CHART / "files" / name
        if not link.is_symlink() or link.resolve() != target:
            yield f"{link} is no link to {target}"


def test_yaml_files_are_tidy():
    rules = "{extends: default, rules: {line-length: disable, document-start: disable, braces: {max-spaces-inside: 1}, comments: disable, " \
            "comments-indentation: disable, indentation: {indent-sequences: whatever}, truthy: {check-keys: false}}}"
    files = [*DEPLOY.rglob("*.y*ml"), CHART / "values.yaml", CHART / "Chart.yaml", *(CHART / "ci").glob("*.yaml"), *(ROOT / "tests" / "chart").glob("*.yaml")]
    status, output = run("yamllint", "-d", rules, "-f", "parsable", *map(str, files))
    if status:
        yield from output.splitlines()


def test_the_compose_file_has_the_schema_of_compose():
    status, output = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))
    if status:
        yield from output.splitlines()


def test_the_compose_file_starts_three_nodes_that_can_drain():
    if len(nodes()) != 3:
        yield f"{sorted(nodes())}"
    ids = set()
    for name, service in nodes().items():
        env = service["environment"]
        unknown = {key.removesuffix("__FILE") for key in env} - {key.removesuffix("__FILE") for key in KNOWN}
        if unknown - {"SPARKWAY__SERVER__NODE_ID", "SPARKWAY__SERVER__TRUSTED_PROXIES"}:
            yield f"{name}: unknown settings {unknown}"
        seconds = sum(int(env[f"SPARKWAY__DRAIN__{key}"].removesuffix("s")) for key in ("READINESS_DELAY", "DURATION"))
        if int(service["stop_grace_period"].removesuffix("s")) < seconds + 15:
            yield f"{name} is killed before its drain ends"
        if not service["read_only"] or service["cap_drop"] != ["ALL"]:
            yield f"{name} is not hardened"
        if any(not str(port).startswith("127.0.0.1:") for port in service["ports"]):
            yield f"{name} shows its internal port to the world"
        if ":?" not in env["SPARKWAY__API__KEYS"] or ":?" not in env["SPARKWAY__AUTH__HS256_SECRET"]:
            yield f"{name} has a built-in secret"
        ids.add(env["SPARKWAY__SERVER__NODE_ID"])
    if len(ids) != 3:
        yield f"node ids {ids}"


def test_every_file_that_compose_mounts_exists_and_every_address_is_a_service():
    services = compose()["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not (DEPLOY / source).exists():
                yield f"{name}: {source} does not exist"
            elif not source.startswith("./") and source not in compose()["volumes"]:
                yield f"{name}: {source} is no volume"
    upstream = set(re.findall(r"server ([\w-]+):8000", (DEPLOY / "nginx" / "nginx.conf").read_text()))
    prometheus = yaml.load((DEPLOY / "prometheus" / "prometheus.yml").read_text(), Loader=LOADER)
    targets = {t.split(":")[0] for job in prometheus["scrape_configs"] for c in job["static_configs"] for t in c["targets"]}
    if upstream != set(nodes()) or targets != set(nodes()):
        yield f"nginx knows {upstream}, Prometheus {targets}, there are {set(nodes())}"
    source = yaml.load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text(), Loader=LOADER)
    if source["datasources"][0]["url"] != "http://prometheus:9090" or "prometheus" not in services:
        yield "Grafana asks another Prometheus"


def test_prometheus_accepts_its_configuration():
    with tempfile.TemporaryDirectory() as folder:
        for name in ("prometheus.yml", "rules.yaml"):
            with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write((DEPLOY / "prometheus" / name).read_text())
        status, output = run(os.environ["PROMTOOL"], "check", "config", f"{folder}/prometheus.yml")
    if status:
        yield from output.splitlines()


def test_nginx_accepts_its_configuration_and_upgrades_to_the_least_loaded_node():
    text = (DEPLOY / "nginx" / "nginx.conf").read_text()
    for line in ("least_conn;", "proxy_set_header Upgrade $http_upgrade;", "proxy_http_version 1.1;", "zone sparkway"):
        if line not in text:
            yield f"no {line}"
    timeouts = [int(seconds) for seconds in re.findall(r"proxy_(?:read|send)_timeout (\d+)s", text)]
    if len(timeouts) != 2 or min(timeouts) < 60:
        yield f"timeouts {timeouts} are shorter than two heartbeats of 25 s"
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/nginx.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r"server node-(\d):", r"server 127.0.0.\1:", text).replace("/tmp/nginx.pid", f"{folder}/pid"))
        status, output = run(os.environ["NGINX"], "-t", "-c", path, "-e", f"{folder}/error.log")
    if status:
        yield from output.splitlines()


def test_the_image_is_from_scratch_without_root_and_checks_its_own_health():
    text = (DEPLOY / "Dockerfile").read_text()
    status, output = run("hadolint", str(DEPLOY / "Dockerfile"))
    if status:
        yield from output.splitlines()
    last = text[text.rindex("\nFROM "):]
    for line in ("FROM scratch", "USER 65532:65532", 'CMD ["/sparkway", "health"]', 'ENTRYPOINT ["/sparkway"]', 'CMD ["serve"]', "STOPSIGNAL SIGTERM"):
        if line not in last:
            yield f"the last stage has no {line}"
    user = defaults()["podSecurityContext"]["runAsUser"]
    if f"USER {user}:" not in last:
        yield f"the chart runs it as {user}"
    if re.search(r"(?m)^(RUN|ADD) ", last):
        yield "the last stage runs something, on nothing"


def test_the_systemd_unit_is_valid_and_hardened():
    text = (DEPLOY / "systemd" / "sparkway.service").read_text()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/sparkway.service"
        with open(path, "w", encoding="utf-8") as file:  # systemd looks whether the program is there
            file.write(text.replace("/usr/local/bin/sparkway", "/bin/true"))
        status, output = run(os.environ["SYSTEMD_ANALYZE"], "verify", "--man=no", "--recursive-errors=no", path)
        if status or "sparkway.service" in output:
            yield from output.splitlines() or [f"systemd-analyze verify: {status}"]
        status, output = run(os.environ["SYSTEMD_ANALYZE"], "security", "--offline=true", "--threshold=20", path)
        if status:
            yield output.splitlines()[-1]
    stop = int(re.search(r"TimeoutStopSec=(\d+)s", text)[1])
    if stop < 80:
        yield f"killed after {stop} s, the drain takes up to 80"
    used = set(re.findall(r"%d/([\w-]+)", text))
    if used != set(re.findall(r"LoadCredential=([\w-]+):", text)):
        yield f"credentials used: {used}"
    unknown = set(re.findall(r"Environment=(\w+)=", text)) - KNOWN
    yield from (f"unknown setting {name}" for name in unknown)


def test_no_file_holds_a_secret():
    for path in [*DEPLOY.rglob("*"), *CHART.rglob("*")]:
        if path.is_file() and re.search(r"swk_[a-z]+_[A-Za-z0-9]{20,}", path.read_text(errors="replace")) and "ci" not in path.parts:
            if path.name not in ("values.yaml", "values.schema.json"):  # an example that says it is none
                yield str(path)
