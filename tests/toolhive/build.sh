#!/usr/bin/env bash
# Builds ToolHive's own auth server, as its module has it, from the module proxy; the last line on
# stdout is the program. It takes a minute or two the first time. Needs Go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
target="$(realpath -m "${CARGO_TARGET_DIR:-../../target}")/toolhive"
go="$(command -v go || echo /usr/local/go/bin/go)"
[ -x "$go" ] || {
    echo "toolhive: go is missing (https://go.dev/dl, or Debian: apt-get install golang)" >&2
    exit 1
}
mkdir -p "$target"
"$go" build -o "$target/toolhive" . >&2
echo "$target/toolhive"
