#!/usr/bin/env python3
"""Runs the gateway beside reference servers, alternating, and prints ratios.

    python3 benches/run.py                      everything, three repeats
    python3 benches/run.py --only single,burst --repeats 5
    python3 benches/run.py --quick              shorter, to see that it works
    python3 benches/run.py --beside old=PATH    another build of the gateway in the same run

The server has core 0, the client core 1. The figure that counts is CPU time of the server per
unit of work: wall time is the machine's, and says little when others use it too.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = HERE.parent / "target" / "release"
SERVER_CORE, CLIENT_CORE = "0", "1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, seconds=15.0):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def touch(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


def ready(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
        answer.read()


class Servers:
    """Processes under test; ended by their id when the block is left."""

    def __init__(self, log):
        self.log, self.processes, self.addresses, self.pids = log, [], [], []
        self.speech, self.folder, self.store = "plain", None, []
        self.cores, self.store_core, self.client_core = SERVER_CORE, SERVER_CORE, CLIENT_CORE

    def start(self, *command, env=None):
        process = subprocess.Popen(
            ["taskset", "-c", self.cores, *map(str, command)],
            stdout=self.log, stderr=self.log, cwd=self.folder, env={**os.environ, **(env or {})})
        self.processes.append(process)
        self.pids.append(process.pid)

    def plain(self, name, speech="plain"):
        self.speech = speech
        port = free_port()
        self.start(BIN / f"bench-{name}", f"127.0.0.1:{port}")
        self.addresses.append(f"127.0.0.1:{port}")
        wait_for(lambda: touch(port))

    def redis(self) -> str:
        port = free_port()
        self.folder = tempfile.mkdtemp(prefix="bench-store-")
        self.cores = self.store_core
        self.start("redis-server", "--port", port, "--save", "", "--appendonly", "no",
                   "--maxclients", 1000, "--dir", self.folder)
        self.cores = SERVER_CORE
        wait_for(lambda: touch(port))
        self.store = [self.pids[-1]]
        return f"redis://127.0.0.1:{port}"

    def gateway(self, nodes=1, store="memory:", settings=(), env=None, binary=None):
        self.speech = "spark"
        for _ in range(nodes):
            public, internal = free_port(), free_port()
            # Clients of the load do not follow a node that evens out.
            chosen = {"auth.mode": "off", "limits.frames_per_second": 0, "store.url": store,
                      "rebalance.enabled": "false",
                      "server.listen": f"127.0.0.1:{public}", "log.level": "warn",
                      "internal.listen": f"127.0.0.1:{internal}", **dict(settings)}
            options = [text for key, value in chosen.items() for text in ("--set", f"{key}={value}")]
            self.start(binary or BIN / "sparkway", "serve", *options, env=env)
            self.addresses.append(f"127.0.0.1:{public}")
            wait_for(lambda port=internal: ready(port))

    def socket_io(self, *store):
        self.speech = "socket-io"
        port = free_port()
        folder = HERE / "reference" / "socket-io"
        if not (folder / "node_modules").is_dir():
            subprocess.run(["npm", "ci", "--silent"], cwd=folder, check=True, timeout=300)
        self.start("node", folder / "server.js", f"127.0.0.1:{port}", *store,
                   env={"NODE_ENV": "production"})
        self.addresses.append(f"127.0.0.1:{port}")
        wait_for(lambda: touch(port))

    def nats(self):
        self.speech = "nats"
        port = free_port()
        self.folder = tempfile.mkdtemp(prefix="bench-nats-")
        conf = Path(self.folder) / "nats.conf"
        conf.write_text(
            f"listen: 127.0.0.1:{free_port()}\n"
            f"websocket {{ listen: 127.0.0.1:{port}, no_tls: true, compression: false }}\n",
            encoding="utf-8")
        self.start("nats-server", "-c", conf)
        self.addresses.append(f"127.0.0.1:{port}")
        wait_for(lambda: touch(port))

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


SERVERS = {
    "sparkway": lambda servers, **build: servers.gateway(**build),
    "sparkway-redis": lambda servers, **build: servers.gateway(store=servers.redis(), **build),
    "sparkway-2-redis": lambda servers, **build: servers.gateway(nodes=2, store=servers.redis(), **build),
    "sparkway-3-redis": lambda servers, **build: servers.gateway(nodes=3, store=servers.redis(), **build),
    "bare": lambda servers: servers.plain("bare"),
    "preframed": lambda servers: servers.plain("preframed"),
    "preframed-spark": lambda servers: servers.plain("preframed", "spark"),
    "socket-io": lambda servers: servers.socket_io(),
    "socket-io-redis": lambda servers: servers.socket_io(servers.redis()),
    "nats": lambda servers: servers.nats(),
}
PEERS = ["socket-io", "socket-io-redis", "nats"]

# name: (title, arguments of the load, servers, figures; the first one is compared)
WORKLOADS = {
    "single": ("W1, 1000 subscribers, single messages",
               lambda q: ["fanout", "--seconds", 1.5 if q else 3],
               ["sparkway", "preframed", "bare", *PEERS],
               ["deliveries_per_cpu_s", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms"]),
    "burst": ("W1, 1000 subscribers, bursts of 8, 32 in flight",
              lambda q: ["fanout", "--window", 32, "--burst", 8, "--seconds", 1.5 if q else 3],
              ["sparkway", "preframed", "bare", *PEERS],
              ["deliveries_per_cpu_s", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms"]),
    "topics": ("W2, 100 topics of 10, a member of each publishes, 50 in flight",
               lambda q: ["fanout", "--topics", 100, "--window", 50, "--seconds", 1.5 if q else 3],
               ["sparkway", "preframed", "bare", *PEERS],
               ["deliveries_per_cpu_s", "server_cpu_us", "client_cpu_us", "p50_ms", "p99_ms"]),
    "idle": ("W3, idle connections with one subscription, 10 to a topic",
             lambda q: ["idle", "--clients", "1000,4000" if q else "1000,5000,15000",
                        "--settle", 1, "--hold", 0 if q else 15],
             ["sparkway", "preframed", "preframed-spark", "socket-io", "nats"],
             ["bytes_last", "bytes_per_connection", "peak_bytes", "kept_share", "idle_us_per_s"]),
    "connect": ("W4, 4000 connects, 64 at once: upgrade, session, subscription",
                lambda q: ["connect", "--clients", 2000 if q else 4000],
                ["sparkway", "preframed", "preframed-spark", "bare", *PEERS],
                ["connects_per_cpu_s", "server_cpu_us", "client_cpu_us", "connects_per_s"]),
    "connect-at-once": ("W4, the same, the subscription sent behind ws:connect without waiting",
                        lambda q: ["--at-once", "connect", "--clients", 2000 if q else 4000],
                        ["sparkway", "preframed-spark", "nats"],
                        ["connects_per_cpu_s", "server_cpu_us", "client_cpu_us", "connects_per_s"]),
    "publish": ("Through Redis, 100 topics with a member on each of 3 nodes, 400 publishes in flight",
                lambda q: ["fanout", "--clients", 300, "--topics", 100, "--window", 400,
                           "--seconds", 1.5 if q else 3],
                ["sparkway-redis", "sparkway-3-redis", "socket-io-redis"],
                ["publishes_per_cpu_s", "publish_cpu_us", "store_cpu_us", "publishes_per_s",
                 "p50_ms", "p99_ms"]),
    "storm": ("W5, 4000 clients on 10 topics reset at once, 100 messages/s go on",
              lambda q: ["storm", "--clients", 1000 if q else 4000],
              ["sparkway", "sparkway-2-redis", "preframed", "bare"],
              ["resumes_per_cpu_s", "recovered_ms", "server_cpu_us", "server_cpu_us_net",
               "replayed", "lost", "repeated"]),
}
_, PUBLISH, PUBLISH_SERVERS, PUBLISH_FIGURES = WORKLOADS["publish"]
WORKLOADS["publish-apart"] = (
    "Through Redis, redis-server on a core of its own, the client on that of the nodes",
    PUBLISH, [*PUBLISH_SERVERS], PUBLISH_FIGURES)
# What takes long and hardly varies is done once, unless more is asked for.
ONCE = {"idle"}
# Other builds of the gateway, named on the command line.
BESIDE = []
# Figures of which less is better: their ratios are turned round.
LESS = {"bytes_last"}
# Servers that cannot resume lose messages in a storm; that is a result, not a failure.
MAY_LOSE = {("storm", "bare"), ("storm", "preframed")}


def machine_busy() -> tuple[float, float]:
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(text) for text in stat.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def cpu_seconds(pids) -> float:
    """Of these processes and of all children that have ended."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ticks / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime


def measure(workload, server, quick, log):
    _, arguments, _, _ = WORKLOADS[workload]
    servers = Servers(log)
    if workload.endswith("-apart"):
        # Redis is disturbed by nobody, as it is where it has a machine of its own.
        servers.store_core, servers.client_core = CLIENT_CORE, SERVER_CORE
    with contextlib.ExitStack() as stack:
        stack.callback(servers.stop)
        SERVERS[server](servers)
        command = ["taskset", "-c", servers.client_core, str(BIN / "bench-load"),
                   "--address", ",".join(servers.addresses), "--speech", servers.speech,
                   "--pid", ",".join(map(str, servers.pids)), *map(str, arguments(quick))]
        if servers.store:
            command[4:4] = ["--apart", ",".join(map(str, servers.store))]
        busy, ours = machine_busy(), cpu_seconds(servers.pids)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=600, check=False)
        ours = cpu_seconds(servers.pids) - ours
        busy, all_ticks = (after - before for before, after in zip(busy, machine_busy()))
    if not done.stdout.strip():
        raise SystemExit(f"{workload} on {server}: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    others = busy - ours * os.sysconf("SC_CLK_TCK")
    result["others_busy"] = round(max(others, 0) / max(all_ticks, 1), 2)
    if "bytes_per_connection" in result:
        steps = sorted(result["bytes_per_connection"].items(), key=lambda step: int(step[0]))
        result["bytes_per_connection"] = dict(steps)
        result["bytes_last"] = steps[-1][1]
    if done.returncode != 0 and (workload, server) not in MAY_LOSE:
        print(f"FAILED {workload} on {server}: {result}", file=sys.stderr)
        result["failed"] = True
    return result


def span(values, digits=3):
    values = [value for value in values if isinstance(value, (int, float))]
    if not values:
        return ""
    show = lambda value: f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"
    middle = show(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))}-{show(max(values))})"


def table(workload, runs):
    title, _, _, figures = WORKLOADS[workload]
    names = [name for name in WORKLOADS[workload][2] if name in runs]
    others = [name for name in runs
              if name in ("bare", "preframed", "preframed-spark", *PEERS) or name in BESIDE]
    head = [*(["server"] + [f.replace("_", " ") for f in figures]),
            *[f"{figures[0].split('_')[0]}: times {name}" for name in others], "taken by others"]
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for name in names:
        row = [name]
        for figure in figures:
            values = [run.get(figure) for run in runs[name]]
            if values and isinstance(values[0], dict):
                row.append(" / ".join(span([value[step] for value in values])
                                      for step in values[0]))
            else:
                row.append(span(values))
        for other in others:
            pairs = zip([run[figures[0]] for run in runs[name]],
                        [run[figures[0]] for run in runs[other]])
            row.append(span([b / a if figures[0] in LESS else a / b for a, b in pairs]))
        row.append(span([run["others_busy"] for run in runs[name]], 2))
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True, check=False).stdout.strip()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit,
            "load_average": os.getloadavg(), "time": time.strftime("%Y-%m-%d %H:%M:%S")}


def lay_beside(name, path, chosen):
    """Adds the servers of another build behind those of the gateway that are chosen."""
    own = [known for known in SERVERS if known.startswith("sparkway") and known in chosen]
    if name.startswith("sparkway") or not own:
        raise SystemExit(f"--beside {name}: another name than sparkway, beside a server of that name")
    for ours in own:
        other = ours.replace("sparkway", name, 1)
        chosen.add(other)
        BESIDE.append(other)
        SERVERS[other] = lambda servers, start=SERVERS[ours]: start(servers, binary=path)
        for _, _, names, _ in WORKLOADS.values():
            if ours in names:
                names.insert(names.index(ours) + 1, other)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORKLOADS), help="names of workloads")
    parser.add_argument("--servers", default=",".join(SERVERS), help="names of servers")
    parser.add_argument("--repeats", type=int, help="default 3; idle once")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=PATH",
                        help="another build of the gateway, measured wherever sparkway is")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="file for the results as JSON")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = set(args.servers.split(","))
    for name, path in (text.split("=", 1) for text in args.beside):
        lay_beside(name, path, chosen)
    result = {"machine": machine(), "quick": args.quick, "workloads": {}}
    with tempfile.NamedTemporaryFile(prefix="bench-servers-", suffix=".txt", delete=False) as log:
        for workload in args.only.split(","):
            names = [name for name in WORKLOADS[workload][2] if name in chosen]
            runs = {name: [] for name in names}
            repeats = args.repeats or (1 if workload in ONCE else 3)
            for repeat in range(repeats):
                # Each repeat begins with another one: nobody always has the quiet minute.
                for at in range(len(names)):
                    name = names[(at + repeat) % len(names)]
                    runs[name].append(measure(workload, name, args.quick, log))
                    print(f"{workload} {repeat + 1}/{repeats} {name}: "
                          f"{runs[name][-1]}", file=sys.stderr, flush=True)
            result["workloads"][workload] = runs
            print(table(workload, runs) + "\n", flush=True)
    out = args.out or HERE / "results" / time.strftime("%Y-%m-%d-%H%M.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"written: {out}", file=sys.stderr)
    failed = any(run.get("failed") for runs in result["workloads"].values()
                 for each in runs.values() for run in each)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
