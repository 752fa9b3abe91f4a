#!/usr/bin/env bash
# Shows that the lock files decide what is installed: releases that an index has gained since change
# nothing, and a lock that is incomplete or has other hashes is an error. The index is made here.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

main() {
    mkdir -p "$work/index" "$work/tests/counterparts/mcp"
    cp "$here/../apt-install.sh" "$work/tests"
    cp "$here/install.sh" "$work/tests/counterparts"
    # `server` asks for an extra of `model` without an upper bound, as fastmcp does of pydantic.
    wheel server 1.0 'model[email]>=1.0'
    wheel model 1.0 'address>=1.0; extra == "email"'
    wheel address 1.0

    lock server 1.0 model 1.0 address 1.0
    # Released after the lock was made.
    wheel server 1.1 'model[email]>=1.0'
    wheel model 1.1 'address>=1.0; extra == "email"'
    wheel address 1.1
    installs
    gives server 1.0 model 1.0 address 1.0

    lock server 1.0 address 1.0
    refuses 'model'
    lock server 1.0 model 1.0 address 1.0
    sed -i 's/sha256:[0-9a-f]\{8\}/sha256:00000000/' "$work/tests/counterparts/mcp/requirements.txt"
    refuses 'HASHES'

    npm_locks_name_no_address
    printf 'the lock files decide what is installed\n'
}

# wheel NAME VERSION [REQUIREMENT]: puts an empty package into the index.
wheel() {
    python3 - "$work/index" "$@" <<'PYTHON'
import sys, zipfile
index, name, version, *requirement = sys.argv[1:]
info = f"{name}-{version}.dist-info"
metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: email\n"
metadata += "".join(f"Requires-Dist: {line}\n" for line in requirement)
with zipfile.ZipFile(f"{index}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}.py", "")
    wheel.writestr(f"{info}/METADATA", metadata)
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in wheel.namelist()) + f"{info}/RECORD,,\n")
PYTHON
}

# lock NAME VERSION…: writes the lock file.
lock() {
    local file
    while [ $# -gt 0 ]; do
        file="$work/index/$1-$2-py3-none-any.whl"
        printf '%s==%s --hash=sha256:%s\n' "$1" "$2" "$(sha256sum <"$file" | cut -d ' ' -f 1)"
        shift 2
    done >"$work/tests/counterparts/mcp/requirements.txt"
}

install() {
    CARGO_TARGET_DIR="$work/target" PIP_NO_INDEX=1 PIP_FIND_LINKS="file://${work// /%20}/index" PIP_CONFIG_FILE=/dev/null \
        timeout 300 "$work/tests/counterparts/install.sh" mcp >"$work/said" 2>&1
}

installs() { install || fail "the lock was not installed"; }

# refuses WORD: the installation fails, and says WORD.
refuses() {
    ! install || fail "a lock was installed that names no good $1"
    grep -q "$1" "$work/said" || fail "the message does not name $1"
}

# gives NAME VERSION…
gives() {
    local found
    found="$("$work/target/counterparts/mcp/bin/python" -m pip --disable-pip-version-check freeze)"
    while [ $# -gt 0 ]; do
        grep -qx "$1==$2" <<<"$found" || fail "not $1 $2 was installed, but: ${found//$'\n'/ }"
        shift 2
    done
}

# An address in a lock file is one that other machines may not reach; the hash is what counts.
npm_locks_name_no_address() {
    local file
    for file in "$here"/*/package-lock.json; do
        ! grep -q '"resolved"' "$file" ||
            fail "$file names addresses: npm install --omit-lockfile-registry-resolved"
    done
}

fail() {
    printf 'error: %s\n' "$1" >&2
    sed 's/^/  /' "$work/said" >&2
    exit 1
}

main "$@"
