#!/usr/bin/env bash
# Tests of helm/, deploy/ and docs/runbooks/ without a cluster. Fetches its tools once into target/chart-test.
#   run.sh                    the whole set, about half a minute
#   run.sh --binary PROGRAM   also what chart, rules and dashboard expect of a built gateway
#   run.sh --update           rewrites golden/ from what the chart renders now
#   run.sh --slow             with the time of each test
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=${SPARKWAY_CHART_TOOLS:-$root/target/chart-test}
mkdir -p "$tools"

die() { echo "chart-test: $*" >&2; echo "0 passed, 1 failed"; exit 1; }

# Python packages, again when the list changes.
if ! cmp -s "$here/requirements.txt" "$tools/requirements.done"; then
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" || die "python3 -m venv failed; install python3-venv"
  "$tools/venv/bin/pip" install -q -r "$here/requirements.txt" || die "the Python packages of requirements.txt cannot be installed"
  cp "$here/requirements.txt" "$tools/requirements.done"
fi

# A Debian package's program: the installed one, else unpacked beside.
debian() { # PROGRAM PACKAGE
  command -v "$1" && return 0
  local found
  found=$(find "$tools/debian" -path "*bin/$1" -type f 2>/dev/null | head -n 1 || true)
  if [ -z "$found" ]; then
    (mkdir -p "$tools/debian" && cd "$tools/debian" && { apt-get download -q "$2" || { apt-get update -q && apt-get download -q "$2"; }; } &&
      dpkg-deb -x "$2"_*.deb . && rm -f "$2"_*.deb) >&2 || die "cannot fetch the Debian package $2"
    found=$(find "$tools/debian" -path "*bin/$1" -type f | head -n 1)
  fi
  [ -n "$found" ] || die "the Debian package $2 has no $1"
  echo "$found"
}
promtool=$(debian promtool prometheus) || { echo "$promtool"; exit 1; }
nginx=$(debian nginx nginx) || { echo "$nginx"; exit 1; }
systemd_analyze=$(debian systemd-analyze systemd) || { echo "$systemd_analyze"; exit 1; }

# Schemas of the objects that are no part of Kubernetes, from the modules that define them.
definition() { # MODULE@VERSION FILE
  local to="$tools/definitions/$(basename "$2")" dir
  [ -s "$to" ] && return 0
  if ! command -v go >/dev/null; then
    apt-get install -y -q golang-go >&2 || die "go is missing and cannot be installed"
  fi
  dir=$(cd "$tools" && GOFLAGS=-mod=mod go mod download -json "$1" | sed -n 's/^\s*"Dir": "\(.*\)".*/\1/p')
  [ -n "$dir" ] || die "cannot fetch the Go module $1"
  mkdir -p "$tools/definitions"
  cp "$dir/$2" "$to.part" && chmod u+w "$to.part" && mv "$to.part" "$to"
}
definition sigs.k8s.io/gateway-api@v1.2.1 config/crd/standard/gateway.networking.k8s.io_gateways.yaml
definition sigs.k8s.io/gateway-api@v1.2.1 config/crd/standard/gateway.networking.k8s.io_httproutes.yaml
definition github.com/kedacore/keda/v2@v2.16.1 config/crd/bases/keda.sh_scaledobjects.yaml
definition github.com/cert-manager/cert-manager@v1.16.3 deploy/crds/crd-certificates.yaml
for kind in servicemonitors podmonitors prometheusrules; do
  definition github.com/prometheus-operator/prometheus-operator@v0.85.0 "example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml"
done

export PROMTOOL=$promtool NGINX=$nginx SYSTEMD_ANALYZE=$systemd_analyze DEFINITIONS=$tools/definitions PYTHONDONTWRITEBYTECODE=1
# Helm's remarks on values that are wrong on purpose, and on the links in files/, are no news.
PATH="$tools/venv/bin:$PATH" "$tools/venv/bin/python" "$here/main.py" "$@" \
  2> >(grep --line-buffered -vE ' (warning:|INFO found symbolic link)' >&2)
