#!/usr/bin/env bash
# Installs Debian packages, if this is root on a system with apt-get; what apt-get says is shown only
# if it fails. Every wait has an end: for the locks that another apt-get holds, and for the network.
#
#   apt-install.sh PACKAGE…
set -euo pipefail

main() {
    [ $# -gt 0 ] || fail "usage: apt-install.sh PACKAGE…"
    command -v apt-get >/dev/null || fail "there is no apt-get here to install $* with"
    [ "$(id -u)" -eq 0 ] || fail "only root can install $*; run: sudo apt-get install $*"
    log="$(mktemp)"
    trap 'rm -f "$log"' EXIT
    printf 'installing %s with apt-get\n' "$*" >&2
    # The package lists may be missing, or older than the packages that the mirrors still have.
    apt install "$@" || { apt update && apt install "$@"; } || {
        sed 's/^/  apt-get: /' "$log" >&2
        fail "apt-get could not install $* (its own words are above)"
    }
}

apt() {
    local options=(-y -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
    [ "$1" != install ] || options+=(--no-install-recommends)
    DEBIAN_FRONTEND=noninteractive timeout --kill-after=10 600 \
        apt-get "$1" "${options[@]}" "${@:2}" </dev/null >>"$log" 2>&1
}

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

main "$@"
