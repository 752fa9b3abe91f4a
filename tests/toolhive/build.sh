#!/usr/bin/env bash
# Builds ToolHive's own auth server, as its module has it, from the module proxy; the last line on
# stdout is the program. It takes minutes the first time. Needs Go.
set -euo pipefail

# Seconds that the build may take, and so how long another process waits for it: most of it is what
# tests/egctl/install.sh builds too, at the same time.
readonly PATIENCE=1800

cd "$(dirname "${BASH_SOURCE[0]}")"
target="$(realpath -m "${CARGO_TARGET_DIR:-../../target}")/toolhive"
go="$(command -v go || echo /usr/local/go/bin/go)"
[ -x "$go" ] || {
    echo "toolhive: go is missing (https://go.dev/dl)" >&2
    exit 1
}
mkdir -p "$target"
exec 9>"$target/.lock"
flock -w "$PATIENCE" 9 || {
    echo "toolhive: another process holds $target/.lock and does not end" >&2
    exit 1
}
# With the flags of tests/egctl/install.sh, which says why: what both need is compiled once.
export GOFLAGS=-mod=readonly GOWORK=off GO111MODULE=on
timeout --foreground --kill-after=10 "$PATIENCE" "$go" build -trimpath -buildvcs=false -gcflags='all=-N -l' \
    -ldflags='-s -w' -o "$target/toolhive" . >&2
echo "$target/toolhive"
