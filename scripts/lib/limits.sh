#!/usr/bin/env bash
# Every scenario of `imagemill bench` with the workers and time scales that its bounds are meant for, one after the other; sourced by scripts/evidence.
#
#   scripts/evidence limits                      all of them, three runs each: more than an hour on an idle machine
#   scripts/evidence limits --runs 1 large       some of them
#
# The JSON of each stands in target/evidence/limits/NAME.json. Ends with an error when a run lost a job or paid twice, or when a
# bound of the medians is broken.

# Name of the figures, then the arguments of `imagemill bench`.
LIMITS=(
  "documented-20x-1        documented --time-scale 20 --workers 1"
  "documented-20x-4        documented --time-scale 20 --workers 4"
  "documented-5x-16        documented --time-scale 5 --workers 16"
  "create-rate             create-rate"
  "two-accounts            two-accounts"
  "account-breaks          account-breaks"
  "large                   large"
  "large-small-pages       large-small-pages"
  "storm                   storm"
  "storm-retry-after       storm-retry-after"
  "restarts                restarts"
  "fairness                fairness"
  "pause-cost              pause-cost"
  "slow-store              slow-store"
)

limits() {
  local runs=3 wanted=() line name out folder="${CARGO_TARGET_DIR:-$ROOT/target}/evidence/limits" broken=()
  while [ $# -gt 0 ]; do
    case "$1" in
      --runs) runs="${2:?--runs needs a number}"; shift 2 ;;
      -*) fail "there is no option $1" "scripts/evidence limits [--runs N] [NAME...]" ;;
      *) wanted+=("$1"); shift ;;
    esac
  done
  cargo build --locked --release --quiet --package imagemill
  mkdir -p "$folder"
  for line in "${LIMITS[@]}"; do
    name="${line%% *}"
    [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || continue
    out="$folder/$name.json"
    rm -f "$out"
    say "== $name ($(date +%T))"
    # shellcheck disable=SC2086
    "${CARGO_TARGET_DIR:-$ROOT/target}/release/imagemill" bench ${line#* } --runs "$runs" --out "$out" || broken+=("$name")
    say ""
  done
  [ ${#broken[@]} -eq 0 ] || fail "not kept: ${broken[*]}" "the tables above say what"
}
