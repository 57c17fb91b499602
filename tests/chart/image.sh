#!/usr/bin/env bash
# Builds the image around a static binary with buildah (no daemon, no registry), looks inside, starts it, asks for its
# health through itself, and drains it.
#   image.sh BINARY      a statically linked sparkway, for instance target/x86_64-unknown-linux-gnu/release/sparkway
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${1:?usage: image.sh BINARY}
passed=0
work=$(mktemp -d)
container=
node=
say() { passed=$((passed + 1)); echo "ok   $*"; }
die() { echo "FAIL $*" >&2; echo "$passed passed, 1 failed"; exit 1; }
b() { buildah --storage-driver vfs --root "$work/root" --runroot "$work/run" "$@"; }
finish() {
  [ -z "$node" ] || kill -KILL "$node" 2>/dev/null || true
  [ -z "$container" ] || b rm "$container" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

command -v buildah >/dev/null || apt-get install -y -q buildah >&2 || die "buildah is missing and cannot be installed"
[ -x "$binary" ] || die "there is no program $binary"
# Without an interpreter entry nothing has to be loaded beside it, which is what "from scratch" needs.
if readelf -lW "$binary" | grep -q INTERP; then
  die "$binary is linked dynamically; build it with -C target-feature=+crt-static and --target"
fi
say "the binary is static"

mkdir -p "$work/context/target/image"
cp "$binary" "$work/context/target/image/sparkway"
cp /etc/ssl/certs/ca-certificates.crt "$work/context/target/image/"
b bud --isolation chroot --format docker --build-arg STAGE=prebuilt -f "$root/deploy/Dockerfile" -t sparkway "$work/context" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log" >&2; die "the image does not build"; }
say "the image builds"

python3 - <(b inspect --type image localhost/sparkway) <<'PY' || die "the image is not set up as it should be"
import json, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
want = {"User": "65532:65532", "Entrypoint": ["/sparkway"], "Cmd": ["serve"], "StopSignal": "SIGTERM",
        "ExposedPorts": {"8000/tcp": {}, "9000/tcp": {}}}
wrong = {key: config.get(key) for key, value in want.items() if config.get(key) != value}
if config.get("Healthcheck", {}).get("Test") != ["CMD", "/sparkway", "health"]:
    wrong["Healthcheck"] = config.get("Healthcheck")
sys.exit(f"{wrong}" if wrong else 0)
PY
say "user, ports, entry point and health check are set"

container=$(b from localhost/sparkway)
files=$(cd "$(b mount "$container")" && find . -type f | sort | tr '\n' ' ')
[ "$files" = "./etc/ssl/certs/ca-certificates.crt ./sparkway " ] || die "the image holds $files"
say "the image holds the program and certificates, nothing else"

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
public=$(free) internal=$(free)
inside() { b run --isolation chroot --env SPARKWAY__SERVER__LISTEN="127.0.0.1:$public" --env SPARKWAY__INTERNAL__LISTEN="127.0.0.1:$internal" \
  --env SPARKWAY__AUTH__MODE=off --env SPARKWAY__DRAIN__READINESS_DELAY=0s --env SPARKWAY__DRAIN__DURATION=1s \
  "$container" /sparkway "$@"; }
inside serve >"$work/serve.log" 2>&1 &
node=$!
healthy=
for _ in $(seq 100); do
  if inside health --address "127.0.0.1:$internal" >/dev/null 2>&1; then healthy=yes; break; fi
  kill -0 "$node" 2>/dev/null || break
done
[ -n "$healthy" ] || { cat "$work/serve.log" >&2; die "the gateway does not get healthy in the image"; }
say "the gateway runs as user 65532 and finds itself healthy"

# buildah stands between; the program is the last of its descendants.
pid=$node
while child=$(pgrep -P "$pid" | head -n 1) && [ -n "$child" ]; do pid=$child; done
grep -q '^Uid:\s*65532' "/proc/$pid/status" || die "it does not run as 65532"
kill -TERM "$pid"
status=0
wait "$node" || status=$?
node=
[ "$status" = 0 ] || { cat "$work/serve.log" >&2; die "SIGTERM ended it with $status"; }
say "SIGTERM drains it and it leaves with 0"
echo "$passed passed, 0 failed"
