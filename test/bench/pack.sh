#!/bin/sh
# ./dev bench pack: 100 MB of JSON to tar.gz with both digests, ours against a Go program that does the
# same with the standard library (peers/pack), in turns; medians, and at last the ratio that must hold.
#   SLUICE_BUILD  the build directory of a release build (has test/bench/bench_pack)
#   SLUICE_CACHE  where input and peer are kept between runs (default ~/.cache/sluice)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=${SLUICE_BUILD:?SLUICE_BUILD names the build directory}
cache=${SLUICE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sluice}/bench
rounds=${SLUICE_BENCH_ROUNDS:-5}
ours=$build/test/bench/bench_pack

[ -x "$ours" ] || { echo "pack.sh: $ours is missing: build the target bench_pack" >&2; exit 2; }
command -v go >/dev/null || { echo "pack.sh: needs go (1.19 or newer) for the peer" >&2; exit 2; }
mkdir -p "$cache"
(cd "$here/peers/pack" && CGO_ENABLED=0 go build -buildvcs=false -o "$cache/pack-go" .)
[ -s "$cache/pack-1.json" ] || python3 "$here/pack_input.py" "$cache/pack-1.json"

exec python3 "$here/pack_compare.py" "$ours" "$cache/pack-go" "$cache/pack-1.json" "$rounds"
