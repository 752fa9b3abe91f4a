#!/usr/bin/env bash
# The linker of the filter: rustc's own, told to leave out the SDK's callbacks.
#
# The SDK exports every callback of the ABI, and an export keeps alive whatever it reaches: virtual
# tables, and with them a host function for every method that the filter never calls. The filter's
# own callbacks (host/callbacks.rs) take their place, so that the linker, which alone still knows
# what refers to what, can drop all of it.
set -euo pipefail

sysroot="$(rustc --print sysroot)"
host="$(rustc -vV | sed -n 's/^host: //p')"

arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --export)
            case "$2" in
                proxy_on_*) ;;
                *) arguments+=("$1" "$2") ;;
            esac
            shift 2
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done

exec "$sysroot/lib/rustlib/$host/bin/rust-lld" "${arguments[@]}"
