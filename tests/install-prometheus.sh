#!/usr/bin/env bash
# Prints the directory that holds `prometheus` and `promtool`, on the last line of standard output: the
# machine's own if both are on the PATH, else Debian's package, unpacked below target/. It is not
# installed, since Debian would start it as a service; so this needs no root, but for package lists that
# are missing. Safe to run from several processes at once and cheap to run again.
set -euo pipefail
shopt -s inherit_errexit

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
home="${CARGO_TARGET_DIR:-$(dirname "$here")/target}/prometheus"
# shellcheck source=tests/installing.sh
. "$here/installing.sh"

main() {
    local found
    if found="$(command -v prometheus)" && [ -x "$(dirname "$found")/promtool" ]; then
        dirname "$found"
        return
    fi
    if ! works "$home/unpacked"; then
        mkdir -p "$home"
        (
            flock -w "$patience" 9 || die "another installation holds $home/lock and does not end"
            works "$home/unpacked" || unpack
        ) 9>"$home/lock"
    fi
    printf '%s\n' "$home/unpacked/usr/bin"
}

works() {
    limited 30 "$1/usr/bin/prometheus" --version >/dev/null 2>&1 &&
        limited 30 "$1/usr/bin/promtool" --version >/dev/null 2>&1
}

# What apt-get downloads it has checked: the lists are signed, and hold the packages' digests.
unpack() {
    local staging packages
    type apt-get dpkg-deb >/dev/null 2>&1 ||
        die "there is no prometheus and promtool on the PATH, and no apt-get to have them from" \
            "install Prometheus, or run this on Debian"
    staging="$(mktemp -d "$home/staging.XXXXXX")"
    # shellcheck disable=SC2064 # the directory of this call
    trap "rm -rf '$staging'" EXIT
    cd "$staging"
    # The lists may be missing, or older than the package that the mirrors still have.
    download || { limited "$patience" apt-get -qq update >>log 2>&1 && download; } || {
        sed 's/^/  apt-get: /' log >&2
        die "apt-get could not download prometheus (its own words are above)"
    }
    packages=(prometheus_*.deb)
    dpkg-deb -x "${packages[0]}" unpacked
    works unpacked || die "the prometheus of ${packages[0]} does not run here"
    printf 'prometheus: %s, of Debian\n' "${packages[0]}" >&2
    rm -rf "$home/unpacked"
    mv unpacked "$home/unpacked"
}

download() {
    limited "$patience" apt-get -qq -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
        download prometheus >>log 2>&1
}

main "$@"
