# shellcheck shell=bash
# What the scripts have in common that install a program which the tests run.

# Seconds that one installation may take, and so how long another waits for it.
# shellcheck disable=SC2034 # whoever sources this uses it
patience=600

# die WHAT [WHAT TO DO…]
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}

# limited SECONDS COMMAND…
limited() {
    timeout --kill-after=10 "$@" </dev/null
}
