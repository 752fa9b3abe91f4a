#!/usr/bin/env bash
# Builds Envoy Gateway's own translator, `egctl`, at the version that go.mod pins (go.sum has the
# digests), and prints its path on the last line. Progress goes to standard error. What is already
# there stays; Go is looked for where its installer puts it, too. Without Go: exit 3.
set -euo pipefail

sources="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly sources
installed="$(realpath -m "${CARGO_TARGET_DIR:-$sources/../../target}")/egctl"
readonly installed
# Seconds that the build may take, and so how long another process waits for it: some eleven
# minutes of one core.
readonly PATIENCE=1800

PATH="$PATH:/usr/local/go/bin"
if ! command -v go >/dev/null; then
    echo "egctl: there is no Go (https://go.dev/dl)" >&2
    exit 3
fi
mkdir -p "$installed"
exec 9>"$installed/.lock"
if ! flock -w "$PATIENCE" 9; then
    echo "egctl: another process holds $installed/.lock and does not end" >&2
    exit 1
fi
cd "$sources"
key="$(cat go.mod go.sum install.sh | sha256sum)"
if [ ! -x "$installed/egctl" ] || [ "$(cat "$installed/of" 2>/dev/null)" != "$key" ]; then
    echo "egctl: building it, which takes minutes" >&2
    # Neither symbols nor debugging information: it is run, and never looked into. Not optimized either:
    # that takes two fifths of the build, and each run of some seconds is only a few seconds longer.
    rm -f "$installed/of"
    export GOFLAGS=-mod=readonly GOWORK=off GO111MODULE=on
    timeout --foreground --kill-after=10 "$PATIENCE" go build -trimpath -buildvcs=false \
        -gcflags='all=-N -l' -ldflags='-s -w' -o "$installed/egctl" \
        github.com/envoyproxy/gateway/cmd/egctl >&2
    printf '%s\n' "$key" >"$installed/of"
fi
printf '%s\n' "$installed/egctl"
