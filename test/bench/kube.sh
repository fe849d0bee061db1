#!/bin/sh
# ./dev bench kube: `sluice controller` over a real API server and etcd, beside a bare client that makes the
# same four writes for each source (peers/kube), in the same run; memory of all its processes.
#   SLUICE_BUILD       the build directory of a release build
#   SLUICE_COMPONENTS  the real components (./dev builds them)
#   SLUICE_PYTHON      a Python with test/requirements.txt
#   SLUICE_CACHE       where the peer is kept between runs (default ~/.cache/sluice)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${SLUICE_BUILD:?SLUICE_BUILD names the build directory}
python=${SLUICE_PYTHON:?SLUICE_PYTHON names the Python to use}
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/bench

mkdir -p "$cache"
(cd "$here/peers/kube" && CGO_ENABLED=0 go build -buildvcs=false -o "$cache/kube-go" .)

exec "$python" "$here/kube_compare.py" "$build/sluice" "$cache/kube-go" "${SLUICE_BENCH_SOURCES:-500}" \
    "${SLUICE_BENCH_ROUNDS:-3}"
