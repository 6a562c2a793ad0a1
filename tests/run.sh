#!/usr/bin/env bash
# Installs what the tests need (Debian packages, as root or with sudo) and passes all of them but load and long fuzzing.
#   tests/run.sh              everything
#   tests/run.sh unit         cargo test only
#   tests/run.sh live [NAME]  real processes, Redis and SIPp in a network namespace; NAME as in `python3 -m unittest NAME`
set -euo pipefail
cd "$(dirname "$0")/.."
what="${1:-all}"
shift || true
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"

say() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

install_packages() {
    local wanted=() pair
    for pair in sipp:sip-tester redis-server:redis-server redis-cli:redis-tools nft:nftables ip:iproute2 python3:python3 cc:build-essential unshare:util-linux; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || wanted+=("${pair##*:}")
    done
    [ ${#wanted[@]} = 0 ] && return
    say "installing ${wanted[*]}"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"
}

unit() {
    say "cargo test"
    cargo test --workspace --locked
}

live() {
    say "building the program"
    cargo build --locked -p fairlead
    say "live tests"
    tests/live/run.sh "$@"
}

install_packages
case "$what" in
    all) unit; live ;;
    unit) unit ;;
    live) live "$@" ;;
    *) echo "tests/run.sh: '$what' is not known; all, unit or live" >&2; exit 2 ;;
esac
say "all passed"
