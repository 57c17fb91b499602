"""What chart, rules and dashboard expect of the real program. Run by "run.sh --binary PROGRAM" only."""
import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import queries
from harness import fixtures, named, render
from test_watching import run

BINARY = str(pathlib.Path(sys.argv[sys.argv.index("--binary") + 1]).resolve()) if "--binary" in sys.argv else ""
# What the program says of keys that are reserved and not there yet.
LATER = "not supported by this version"
# What the mounted Secrets hold, by the name of the file.
FILES = {"api-keys": "swk_test_01234567890123456789ab:read+publish", "token-key": "0123456789" * 5, "hook-secret": "0123456789" * 5,
         "redis-url": "redis://:word@127.0.0.1:6379/0"}
# What a ConfigMap that the chart did not make holds at least.
OWN_FILE = '[auth]\nmode = "off"\n'
# Variables that Kubernetes adds for a Service called sparkway, when service links are on.
SERVICE_LINKS = {"SPARKWAY_PORT": "tcp://10.0.0.1:80", "SPARKWAY_SERVICE_HOST": "10.0.0.1", "SPARKWAY_SERVICE_PORT": "80",
                 "SPARKWAY_PORT_80_TCP": "tcp://10.0.0.1:80", "SPARKWAY_PORT_80_TCP_PROTO": "tcp"}


def pod_environment(values, folder):
    """The environment of the gateway's container, with its mounts in a folder."""
    objects = render(values)
    spec = named(objects, "Deployment")["spec"]["template"]["spec"]
    container = next(c for c in spec["containers"] if c["name"] == "sparkway")
    env = {"PATH": "/nowhere", **SERVICE_LINKS}
    for entry in container["env"]:
        value = entry.get("value", "word")
        for name, known in env.items():
            value = value.replace(f"$({name})", known)
        for mount in ("/run/secrets", "/etc/sparkway"):
            value = value.replace(mount, folder) if value.startswith(mount) else value
        env[entry["name"]] = value
    configs = [o for o in objects if o["kind"] == "ConfigMap" and "sparkway.toml" in (o.get("data") or {})]
    pathlib.Path(folder, "sparkway.toml").write_text(configs[0]["data"]["sparkway.toml"] if configs else OWN_FILE)
    os.makedirs(f"{folder}/sparkway")
    for name, text in FILES.items():
        pathlib.Path(folder, "sparkway", name).write_text(text + "\n")
    cert, key = certificate()
    for name, text in (("sparkway-tls/tls.crt", cert), ("sparkway-tls/tls.key", key), ("sparkway-store-ca/ca.crt", cert)):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return env


@functools.cache
def certificate():
    """A certificate that signs itself, and its key, as PEM."""
    with tempfile.TemporaryDirectory() as folder:
        status, output = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                             "-subj", "/CN=localhost", "-keyout", f"{folder}/key", "-out", f"{folder}/cert", "-days", "2")
        assert status == 0, output
        return pathlib.Path(folder, "cert").read_text(), pathlib.Path(folder, "key").read_text()


@functools.cache
def checked():
    """(fixture, line) of everything that "config check" says against a fixture."""
    out = []
    for name, values in fixtures().items():
        with tempfile.TemporaryDirectory() as folder:
            env = pod_environment(values, folder)
            done = subprocess.run([BINARY, "config", "check"], env=env, capture_output=True, text=True, timeout=20, check=False)
            if done.returncode:
                out += [(name, line.replace(folder, "")) for line in (done.stdout + done.stderr).splitlines()[1:]]
    return out


def test_the_program_accepts_the_configuration_of_every_fixture():
    late = {name for name, line in checked() if LATER in line}
    yield from (f"{name}: {line}" for name, line in checked() if LATER not in line and not (name in late and "auth.mode" in line))


def test_the_program_has_everything_that_the_fixtures_switch_on():
    yield from (f"{name}: {line}" for name, line in checked() if LATER in line)


def test_the_program_takes_the_arguments_of_every_container():
    for name, values in fixtures().items():
        objects = render(values)
        pods = [named(objects, "Deployment")["spec"]["template"]["spec"], named(objects, "Pod")["spec"]]
        for container in [c for pod in pods for c in pod["containers"] + pod.get("initContainers", [])]:
            if "sparkway/sparkway" not in container["image"]:
                continue
            status, output = run(BINARY, *container["args"], "--help")
            if status:
                yield f"{name}: {container['name']}: {output.splitlines()[0]}"


def free():
    """A port nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answer(port, path):
    """(status, body) of a GET without any credential, as kubelet and Prometheus ask; (0, why) when there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_a_pod_of_the_default_values_gets_ready_is_scraped_and_leaves_with_zero():
    with tempfile.TemporaryDirectory() as folder:
        env = pod_environment({}, folder)
        public, internal = free(), free()
        env["SPARKWAY__SERVER__LISTEN"], env["SPARKWAY__INTERNAL__LISTEN"] = f"0.0.0.0:{public}", f"0.0.0.0:{internal}"
        env["SPARKWAY__DRAIN__READINESS_DELAY"] = "0s"
        with open(f"{folder}/log", "w+", encoding="utf-8") as log, \
                subprocess.Popen([BINARY, "serve"], env=env, stdout=log, stderr=log) as node:
            try:
                until = time.monotonic() + 20
                while answer(internal, "/readyz")[0] != 200 and node.poll() is None and time.monotonic() < until:
                    time.sleep(0.05)
                if answer(internal, "/readyz")[0] != 200:
                    yield f"never ready: {pathlib.Path(log.name).read_text()[-500:]}"
                    return
                for path in ("/startupz", "/healthz"):
                    if answer(internal, path)[0] != 200:
                        yield f"{path} answers {answer(internal, path)}"
                if answer(internal, "/v1/nodes")[0] not in (401, 403):
                    yield f"the API on 0.0.0.0 answers {answer(internal, '/v1/nodes')[0]} without a key"
                status, text = answer(internal, "/metrics")
                if status != 200:
                    yield f"/metrics answers {status}"
                yield from sorted(set(queries.missing(queries.scraped(text))))
            finally:
                node.send_signal(signal.SIGTERM)
                try:
                    node.wait(20)
                except subprocess.TimeoutExpired:
                    node.kill()
            if node.returncode:
                yield f"SIGTERM ended it with {node.returncode}"
