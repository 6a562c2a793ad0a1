#!/usr/bin/env bash
# Installs what the tests need (Debian packages, as root or with sudo) and passes all of them but load and long fuzzing.
#   tests/run.sh              everything
#   tests/run.sh unit         cargo test only
#   tests/run.sh live [NAME]  real processes, Redis and SIPp in a network namespace; NAME as in `python3 -m unittest NAME`
#   tests/run.sh charts       rendering of the charts; with a cluster (KUBECONFIG) its API server's opinion as well
#   tests/run.sh e2e [NAME…]  the release in a real Kubernetes with phones outside; NAME is part of a test's name, `list` names them
#   tests/run.sh image        builds the image twice, in two folders, and compares
set -euo pipefail
cd "$(dirname "$0")/.."
what="${1:-all}"
shift || true
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
target="${CARGO_TARGET_DIR:-target}"

say() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

install_packages() { # PROGRAM:PACKAGE…
    local wanted=() pair
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || wanted+=("${pair##*:}")
    done
    [ ${#wanted[@]} = 0 ] && return
    say "installing ${wanted[*]}"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"
}

for_live=(sipp:sip-tester redis-server:redis-server redis-cli:redis-tools nft:nftables ip:iproute2 python3:python3 cc:build-essential unshare:util-linux)
for_charts=(go:golang-go)
for_e2e=(faketime:faketime sipp:sip-tester redis-server:redis-server redis-cli:redis-tools nft:nftables ip:iproute2 python3:python3 cc:build-essential openssl:openssl curl:curl jq:jq buildah:buildah)

# What a cluster of our own takes is its own to say. Who is not root gets none: its tests then say what is missing.
install_cluster() {
    [ -n "${KUBECONFIG:-}" ] || [ "$(id -u)" != 0 ] || tests/cluster/cluster install
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

# What is printed by the program and checked in, and what the charts render.
charts() {
    say "building the program"
    cargo build --locked -p fairlead
    say "generated files"
    .ci/generated "$target/debug/fairlead" --check
    say "charts"
    FAIRLEAD_BIN="$(realpath "$target/debug/fairlead")" tests/charts/run.sh offline
}

# Without the means there is nothing to build an image for; the tests say what is missing and how to run them.
wants_image() {
    [ -z "${KUBECONFIG:-}${FAIRLEAD_E2E_PROGRAM:-}${FAIRLEAD_E2E_ARCHIVE:-}" ] && tests/cluster/cluster check 2>/dev/null
}

image=(deploy/image localhost/fairlead:dev "$target/e2e/fairlead.tar")
for_outside=(cargo build --locked -p kubectl-sip -p fairlead-e2e)

# Live tests mostly wait: what e2e needs is built meanwhile, with the little priority that leaves them undisturbed.
build_ahead() {
    say "building the program"
    cargo build --locked -p fairlead
    mkdir -p "$target/e2e"
    local steps="${for_outside[*]}"
    ! wants_image || steps="$steps && ${image[*]@Q}"
    # A process group of its own, so that nothing of it outlives tests that failed.
    setsid nice -n 19 bash -c "$steps" >"$target/e2e/ahead.log" 2>&1 </dev/null &
    ahead=$!
    trap stop_ahead EXIT
}

stop_ahead() {
    [ -z "${ahead:-}" ] || kill -- "-$ahead" 2>/dev/null || true
}

e2e() {
    if [ -n "${ahead:-}" ]; then
        say "waiting for what is built ahead"
        wait "$ahead" || { cat "$target/e2e/ahead.log" >&2; return 1; }
        ahead=""
    fi
    say "building kubectl-sip and the tests"
    "${for_outside[@]}"
    if [ "${1:-}" = list ]; then
        "$target/debug/fairlead-e2e" list
        return
    fi
    if wants_image; then
        say "building the image"
        mkdir -p "$target/e2e"
        "${image[@]}"
        export FAIRLEAD_E2E_ARCHIVE="$target/e2e/fairlead.tar"
    fi
    say "e2e tests"
    "$target/debug/fairlead-e2e" run "$@"
}

kubectl_there() {
    [ -n "${KUBECONFIG:-}" ] || (eval "$(tests/cluster/cluster env)" && kubectl get --raw /readyz >/dev/null 2>&1)
}

# The charts against a real API server: that of KUBECONFIG, or our own if it is up.
charts_in_cluster() {
    say "charts on a real API server"
    (
        [ -n "${KUBECONFIG:-}" ] || eval "$(tests/cluster/cluster env)"
        FAIRLEAD_IMAGE="${FAIRLEAD_IMAGE-localhost/fairlead:dev}" FAIRLEAD_BIN="$(realpath "$target/debug/fairlead")" tests/charts/run.sh cluster
    )
}

image() {
    local folder digests=() number
    folder="$(mktemp -d /var/tmp/fairlead-image.XXXXXX)"
    for number in 1 2; do
        say "image $number of 2"
        git clone -q . "$folder/$number"
        (cd "$folder/$number" && CARGO_TARGET_DIR="$folder/$number/target" deploy/image localhost/fairlead:same "$folder/$number.tar")
        digests+=("$(tar -xOf "$folder/$number.tar" manifest.json | sha256sum | cut -c1-64)")
    done
    echo "${digests[@]}"
    rm -rf "$folder"
    [ "${digests[0]}" = "${digests[1]}" ] || { echo "two builds of the image differ" >&2; exit 1; }
}

case "$what" in
    all)
        install_packages "${for_live[@]}" "${for_charts[@]}" "${for_e2e[@]}"
        install_cluster
        unit
        build_ahead
        live
        charts
        # A cluster that was not up before is not left behind.
        [ -d "${CLUSTER_STATE:-/var/tmp/kubenode}" ] || [ -n "${KUBECONFIG:-}" ] || trap 'stop_ahead; tests/cluster/cluster down' EXIT
        e2e
        ! kubectl_there || charts_in_cluster
        ;;
    unit) install_packages "${for_live[@]}"; unit ;;
    live) install_packages "${for_live[@]}"; live "$@" ;;
    charts)
        install_packages "${for_charts[@]}"
        charts
        [ -z "${KUBECONFIG:-}" ] || charts_in_cluster
        ;;
    e2e) install_packages "${for_e2e[@]}"; install_cluster; e2e "$@" ;;
    image) install_packages "${for_e2e[@]}"; image ;;
    *) echo "tests/run.sh: '$what' is not known; all, unit, live, charts, e2e or image" >&2; exit 2 ;;
esac
say "all passed"
