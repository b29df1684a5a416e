# Installs DashScope's official Python SDK into .cache/venv, for the test that runs it. Sourced after tools.sh.

VENV="$ROOT/.cache/venv"
SDK_REQUIREMENTS="$ROOT/tests/python/requirements.txt"

# The stamp is written last, and names what was installed for which Python: an interrupted installation leaves none,
# and another Python or a changed list makes the environment anew.
need_sdk() {
  local stamp="$VENV/installed" wanted log
  command -v python3 >/dev/null || apt_install python3 python3-venv
  wanted="$(python3 -VV) $(sha256sum <"$SDK_REQUIREMENTS")"
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$VENV/bin/python" ] && return
  # Debian's Python has venv without what venv needs to install pip.
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  say "Installing DashScope's Python SDK ..."
  log=$(mktemp)
  if ! { python3 -m venv --clear "$VENV" &&
         "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
           --no-deps --only-binary :all: -r "$SDK_REQUIREMENTS" &&
         "$VENV/bin/python" -m pip check --disable-pip-version-check; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    rm -f "$log"
    fail "failed to install DashScope's Python SDK" \
      "is the Python package index reachable, and Python 3.11 or newer? tests/python/requirements.txt is pinned for it"
  fi
  rm -f "$log"
  printf '%s\n' "$wanted" >"$stamp"
}
