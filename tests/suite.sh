#!/usr/bin/env bash
# What `./build.sh test` does. Sourced by build.sh, whose functions and variables it uses.

run_tests() {
    local before
    export AS_TESTED=1
    need_rust
    identify_source
    before="$(work_tree)"
    require_go
    begin_installing counterparts toolhive egctl

    step "formatting"
    need_component rustfmt
    { cargo fmt --all --check && cargo fmt --check --manifest-path "$FLOOR"; } ||
        die "the formatting differs" "run cargo fmt --all"
    step "scripts"
    check_scripts
    check_targets
    step "what is installed"
    tests/counterparts/locks_test.sh
    tests/install-envoy_test.sh
    step "dependencies"
    check_dependencies
    step "lints"
    need_component clippy
    cargo clippy --quiet --locked --workspace --all-targets --all-features -- --deny warnings
    cargo clippy --quiet --locked --target "$WASM_TARGET" --lib -- --deny warnings
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/floor-lints" cargo clippy --quiet --locked \
        --target "$WASM_TARGET" --all-features --manifest-path "$FLOOR" -- --deny warnings
    step "native tests"
    # The tests themselves say that they are skipped.
    need valgrind "THE INSTRUCTION COUNTS ARE NOT CHECKED" || true
    need_store
    ready toolhive
    # Meanwhile, in what tests leave of the machine while they wait, and the linker.
    beside "the build" ./build.sh
    within 30 "${CARGO_TEST[@]}" --lib --bins "${NATIVE[@]/#/--test=}"
    step "instructions per request"
    REQUIRE_VALGRIND="${REQUIRE_TOOLS:-}" \
        within 20 cargo test --quiet --locked --release --package upstream-inject-instructions

    ready "the build"
    build
    step "tests of the artifact"
    UPSTREAM_INJECT_WASM="$PWD/$WASM" "${CARGO_TEST[@]}" --quiet --bin artifact -- --ignored
    step "the artifact, built again elsewhere"
    build_elsewhere
    step "what cargo makes of the filter by itself, which Envoy must refuse"
    cargo build --quiet --locked --package upstream-inject --lib --target "$WASM_TARGET"
    step "the counterparts of the tests in Envoy"
    ready counterparts
    test_in_envoy "$(tests/install-envoy.sh)"
    ready_translator
    test_control_planes_in "$(tests/install-envoy.sh)"

    [ "$(work_tree)" = "$before" ] || die "the tests have changed the work tree:" "$(work_tree)"
}

# test_with_envoys WHICH…: what needs an Envoy, with each of these.
test_with_envoys() {
    local which binaries=()
    export AS_TESTED=1
    need_rust
    begin_installing counterparts toolhive
    need_store
    build
    step "installing Envoy $*"
    for which in "$@"; do
        while IFS= read -r binary; do
            binaries+=("$binary")
        done < <(tests/install-envoy.sh "$which" || echo failed)
    done
    for which in "${binaries[@]}"; do
        [ "$which" != failed ] || die "an Envoy cannot be had (the message is above)"
    done
    ready counterparts toolhive
    for which in "${binaries[@]}"; do
        test_in_envoy "$which"
    done
}

# The identity service is tested against real servers, which the tests start and end themselves.
need_store() {
    need redis-server "the identity service cannot be tested" || exit 1
    need curl "the identity service cannot be tested" || exit 1
}

# test_in_envoy BINARY
test_in_envoy() {
    local version
    version="$("$1" --version | sed -n 's|.*version: *[^/]*/\([0-9.]*\).*|\1|p')"
    step "tests in Envoy $version ($1)"
    ENVOY_BIN="$1" UPSTREAM_INJECT_WASM="$PWD/$WASM" UPSTREAM_INJECT_TOOL="$PWD/dist/upstream-inject" \
        UPSTREAM_INJECT_IDENTITY="$PWD/dist/upstream-inject-identity" \
        within 35 "${CARGO_TEST[@]}" --test envoy
}

# What is rendered for control planes, carried out by Envoy Gateway's own translator and as Istio would.
test_control_planes() {
    local envoy
    export AS_TESTED=1
    need_rust
    require_go
    begin_installing counterparts egctl
    build
    ready_translator
    envoy="$(tests/install-envoy.sh)"
    test_control_planes_in "$envoy"
}

# test_control_planes_in BINARY: a control plane has Envoys of its own time, so not with older ones.
test_control_planes_in() {
    step "what is rendered for Envoy Gateway and Istio"
    ENVOY_BIN="$1" UPSTREAM_INJECT_WASM="$PWD/$WASM" UPSTREAM_INJECT_TOOL="$PWD/dist/upstream-inject" \
        within 30 "${CARGO_TEST[@]}" --test control_planes
}

# Envoy Gateway's translator, for the tests that need it; without Go they say that they are left out.
ready_translator() {
    if has_go; then
        step "Envoy Gateway's translator"
        ready egctl
    else
        warn "Go is missing: ENVOY GATEWAY'S OWN TRANSLATOR READS NOTHING OF WHAT IS RENDERED FOR IT"
    fi
}

# begin_installing PART…: what nobody here wrote is installed beside the checks. What cannot be had fails
# the tests that need it, and no others: each asks for its part again, and gets it or the reason.
begin_installing() {
    local part
    for part in "$@"; do
        case "$part" in
            counterparts) beside "$part" tests/counterparts/install.sh ;;
            toolhive) ! has_go || beside "$part" tests/toolhive/build.sh ;;
            egctl) ! has_go || beside "$part" tests/egctl/install.sh ;;
        esac
    done
}

# What only Go can build needs Go here.
require_go() {
    has_go || [ -z "${REQUIRE_GO:-}" ] ||
        die "Go is missing, or older than 1.21, and REQUIRE_GO is set" "https://go.dev/dl"
}

# Whatever is tested, the same features of the same packages: nothing they depend on is compiled twice.
readonly CARGO_TEST=(cargo test --locked --workspace --all-features)

# The test targets that run by themselves, and those that a step of their own runs.
readonly NATIVE=(native cli service tool) APART=(instructions envoy control_planes)

# No test target is in neither list, to be run by nobody.
check_targets() {
    local found
    found="$(cargo metadata --locked --no-deps --format-version 1 |
        grep -o '"kind":\["test"\],"crate_types":\["bin"\],"name":"[^"]*"' | cut -d '"' -f 12 | sort)"
    [ "$found" = "$(printf '%s\n' "${NATIVE[@]}" "${APART[@]}" | sort)" ] ||
        die "tests/suite.sh does not run these test targets, or runs others:" "$found"
}

# A Go that can read what names a newer one, which it then downloads.
has_go() {
    local version
    version="$(PATH="$PATH:/usr/local/go/bin" GOTOOLCHAIN=local go env GOVERSION 2>/dev/null)" || return
    [[ "$version" =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 21 ]
}

# left_out WHICH: what a run of `test WHICH` had to leave out, for its last line.
left_out() {
    [ -z "${WITHOUT_THIRD_PARTIES:-}" ] || printf '%s' ", but nothing by third parties' programs"
    if [ "$1" != --envoy ] && ! has_go; then
        printf '%s' ", but for want of Go nothing by ToolHive's and Envoy Gateway's own code"
    fi
}

# What git sees of the work tree; nothing where there is no git.
work_tree() {
    ! has_git || git status --porcelain
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
        cd "$elsewhere/a copy" || exit
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
    need shellcheck "scripts are only parsed" || return 0
    shellcheck --external-sources "${scripts[@]}"
}

# Licences and sources of everything that Cargo.lock names, and what is declared but not used.
# Advisories appear on any day, so that they fail `./build.sh audit` and not a test.
check_dependencies() {
    local tools
    tools="$(tests/counterparts/install.sh checkers)/checkers/bin"
    "$tools/cargo-deny" --log-level warn --locked --workspace --all-features check --hide-inclusion-graph \
        licenses bans sources
    "$tools/cargo-shear" --locked >&2
    audit_with "$tools/cargo-deny" || warn "THERE ARE ADVISORIES ABOUT DEPENDENCIES (above; ./build.sh audit)"
}

audit() {
    need_rust
    step "advisories"
    audit_with "$(tests/counterparts/install.sh checkers)/checkers/bin/cargo-deny"
}

# audit_with CARGO-DENY
audit_with() {
    if ! timeout --kill-after=10 120 "$1" fetch db >/dev/null 2>&1; then
        warn "the advisory database cannot be had: ADVISORIES ABOUT DEPENDENCIES ARE NOT CHECKED"
        return 0
    fi
    "$1" --log-level warn --locked --workspace --all-features check --disable-fetch advisories
}

# fuzz [MINUTES]: the properties of what reads hostile input, each with new inputs for so long, as many at
# once as FUZZ_AT_ONCE says, or there are cores. An input that fails is left in proptest-regressions/.
# AS_TESTED=1 takes what `./build.sh test` has compiled, which reads fewer inputs in that time.
fuzz() {
    local minutes="${1:-60}" at_once="${FUZZ_AT_ONCE:-$(nproc)}" binaries name words
    local compile=(cargo test --locked --profile fuzz) cases=4000
    [[ "$minutes" =~ ^[0-9]+(\.[0-9]+)?$ ]] || misuse "fuzz takes minutes"
    [ -z "${AS_TESTED:-}" ] || { compile=("${CARGO_TEST[@]}") cases=200; }
    need_rust
    step "what is fuzzed"
    binaries="$("${compile[@]}" --quiet --lib --test native --no-run --message-format json)"
    step "fuzzing for $minutes minutes each, $at_once at once"
    for name in "${!FUZZED[@]}"; do
        [ ${#BESIDE[@]} -lt "$at_once" ] || fuzzed
        read -ra words <<<"${FUZZED[$name]}"
        fuzz_one "$name" "$minutes" "$cases" "$(executable "${words[0]}" <<<"$binaries")" "${words[1]}" &
        BESIDE["$name"]=$!
    done
    while [ ${#BESIDE[@]} -gt 0 ]; do
        fuzzed
    done
}

# What is fuzzed: the test target, and the tests in it.
declare -rA FUZZED=(
    [configurations]="native readers::a_configuration"
    [tokens]="native readers::a_token"
    ["lives of a worker"]="native sequences::"
    [metadata]="upstream_inject identity::"
    ["answers of an STS"]="upstream_inject exchange::answer::"
)

# executable NAME: where cargo, whose messages are read, has put the tests of this target.
executable() { grep -o "\"executable\":\"[^\"]*/$1-[0-9a-f]*\"" | cut -d '"' -f 4; }

# Waits until one of those that are under way has had its time.
fuzzed() {
    local name ended
    wait -n -p ended "${BESIDE[@]}" || die "an input fails (above)"
    for name in "${!BESIDE[@]}"; do
        [ "${BESIDE[$name]}" != "$ended" ] || unset "BESIDE[$name]"
    done
}

# fuzz_one NAME MINUTES CASES BINARY TESTS
fuzz_one() {
    local end tried=0 said
    end=$(($(date +%s) + $(awk "BEGIN {print int($2 * 60)}")))
    while [ "$(date +%s)" -lt "$end" ]; do
        said="$(PROPTEST_CASES="$3" "$4" --quiet "$5" 2>&1)" || { say "$said" && return 1; }
        [[ "$said" != *"ok. 0 passed"* ]] || { say "no test is called $5" && return 1; }
        tried=$((tried + $3))
    done
    say "  $1: $tried inputs for each property"
}

# mutants [ARGS]: changes the filter's logic in every small way and sees whether a test notices. Takes
# hours; ARGS are those of cargo-mutants, such as --file 'src/exchange/**'.
mutants() {
    local root="$CARGO_TARGET_DIR/cargo-mutants"
    need_rust
    step "cargo-mutants"
    cargo install --quiet --locked --root "$root" cargo-mutants --version "$MUTANTS_VERSION"
    step "mutants"
    PATH="$root/bin:$PATH" cargo mutants --package upstream-inject --output "$CARGO_TARGET_DIR" "$@"
}

readonly MUTANTS_VERSION=27.1.0

# need_component NAME: rustfmt or clippy, which minimal toolchains lack.
need_component() {
    cargo "${1/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$1" ||
        die "$1 is missing" "rustup component add $1"
}

# need TOOL WHAT: a tool of a Debian package of that name, installed if need be; without it, WHAT.
need() {
    command -v "$1" >/dev/null && return
    tests/apt-install.sh "$1" || true
    command -v "$1" >/dev/null && return
    missing "$2" "$1"
    return 1
}
