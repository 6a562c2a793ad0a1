#!/usr/bin/env bash
# The tests of the charts. Installs what they need into ~/.cache/fairlead/charts (Go, and on Debian python3-yaml).
#   tests/charts/run.sh [offline]   rendering: lint, units, schema, who speaks to whom, agreement with the program's documents
#   tests/charts/run.sh cluster     dry runs and upgrades on the real API server of KUBECONFIG
#   tests/charts/run.sh kinds       fetches the kinds of others (CRDs) and says where they are
# FAIRLEAD_BIN      the program, to ask it whether it knows the flags (offline)
# FAIRLEAD_IMAGE    an image that the cluster has, NAME:TAG; without it what needs running pods is skipped (cluster)
# FAIRLEAD_REDIS    the same of Redis; default localhost/redis:7 (cluster)
# FAIRLEAD_REDIS_IMAGES   images of Redis and Valkey that the cluster has, to start each as several users; in the cluster of
#                   tests/cluster they are made (redis-images), elsewhere that test is skipped without it (cluster)
set -euo pipefail
cd "$(dirname "$0")/../.."
what="${1:-offline}"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/fairlead/charts"
mkdir -p "$cache/bin"
export PATH="$cache/bin:$PATH:/usr/local/go/bin"

helm4=v4.1.4 helm3=v3.19.0 unittest=v1.1.2

say() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

# MODULE VERSION: the folder of a Go module.
module() { (cd / && go mod download -json "$1@$2") | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'; }

# NAME MODULE VERSION PACKAGE: builds a program of a Go module, in its own module, so that its `replace` lines count.
built() {
    [ -x "$cache/bin/$1-$3" ] && return
    say "building $1 $3"
    local source
    source=$(mktemp -d)
    cp -r "$(module "$2" "$3")/." "$source"
    chmod -R u+w "$source"
    # Helm asks its own build for the newest Kubernetes it knows; without a version it calls itself v3.x or v4.x.
    (cd "$source" && CGO_ENABLED=0 go build -trimpath -o "$cache/bin/$1-$3" "$4")
    rm -rf "$source"
}

tools() {
    if ! command -v go >/dev/null; then
        echo "tests/charts needs Go, to build helm and helm-unittest" >&2
        exit 2
    fi
    if ! python3 -c 'import yaml' 2>/dev/null; then
        local root=""
        [ "$(id -u)" = 0 ] || root=sudo
        $root apt-get update -qq
        $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-yaml
    fi
    built helm helm.sh/helm/v4 "$helm4" ./cmd/helm
    export HELM="$cache/bin/helm-$helm4"
}

offline() {
    built unittest github.com/helm-unittest/helm-unittest "$unittest" ./cmd/helm-unittest
    say "generated files"
    charts/generate --check
    say "helm lint"
    "$HELM" lint --strict charts/*/
    say "helm-unittest"
    "$cache/bin/unittest-$unittest" -f '../../tests/charts/unit/*_test.yaml' charts/fairlead
    say "schema, policies, agreement, image"
    (cd tests/charts && python3 -m unittest -q test_schema test_objects test_policies test_agreement test_image)
}

# Kinds of others, as their projects publish them.
kinds="$cache/kinds"
kinds() {
    if [ ! -e "$kinds/done" ]; then
        say "fetching kinds of others"
        mkdir -p "$kinds"
        local prometheus keda manager
        prometheus=$(module github.com/prometheus-operator/prometheus-operator v0.85.0)/example/prometheus-operator-crd
        keda=$(module github.com/kedacore/keda/v2 v2.21.0)/config/crd/bases
        manager=$(module github.com/cert-manager/cert-manager v1.21.2)/deploy/crds
        cp "$prometheus"/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$keda/keda.sh_scaledobjects.yaml" \
            "$manager"/cert-manager.io_{certificates,issuers}.yaml "$kinds/"
        chmod u+w "$kinds"/*
        touch "$kinds/done"
    fi
}

cluster() {
    built helm helm.sh/helm/v3 "$helm3" ./cmd/helm
    export HELM3="$cache/bin/helm-$helm3"
    kinds
    if [ -z "${FAIRLEAD_REDIS_IMAGES:-}" ] && is_ours && command -v buildah redis-server >/dev/null; then
        say "images of Redis"
        FAIRLEAD_REDIS_IMAGES="$(tests/charts/redis-images "$cache/redis")"
        export FAIRLEAD_REDIS_IMAGES
        tests/cluster/cluster load "$cache"/redis/*.tar
    fi
    say "on the cluster $(kubectl config current-context)"
    (cd tests/charts && FAIRLEAD_KINDS="$kinds" python3 -m unittest -v test_cluster)
}

# Whether KUBECONFIG is that of tests/cluster.
is_ours() { [ "${KUBECONFIG:-}" = "$(eval "$(tests/cluster/cluster env)" && echo "$KUBECONFIG")" ]; }

if [ "$what" = kinds ]; then
    kinds >&2
    echo "$kinds"
    exit
fi
tools
case "$what" in
    offline) offline ;;
    cluster) cluster ;;
    *) echo "tests/charts/run.sh: '$what' is not known; offline, cluster or kinds" >&2; exit 2 ;;
esac
say "charts passed"
