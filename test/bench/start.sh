#!/bin/sh
# ./dev bench start: one local source from nothing to a durable artifact, as a whole process, beside a Go
# program that only fetches and packs (peers/start), in turns; medians and the ratio.
#   SLUICE_BUILD  the build directory of a release build
#   SLUICE_CACHE  where the peer is kept between runs (default ~/.cache/sluice)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${SLUICE_BUILD:?SLUICE_BUILD names the build directory}
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/bench

command -v go >/dev/null || { echo "start.sh: needs go (1.19 or newer) for the peer" >&2; exit 2; }
mkdir -p "$cache"
(cd "$here/peers/start" && CGO_ENABLED=0 go build -buildvcs=false -o "$cache/start-go" .)

exec python3 "$here/start_compare.py" "$build/sluice" "$cache/start-go" "${SLUICE_BENCH_ROUNDS:-21}"
