# shellcheck shell=bash disable=SC2154
# Who may speak to whom: one authority, a certificate and a kubeconfig for each component.

certificate() { # NAME SUBJECT [SUBJECT-ALT-NAMES]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\n%s' "${3:+subjectAltName=$3}") 2>/dev/null
}

kubeconfig() { # NAME SUBJECT [SUBJECT-ALT-NAMES]
  certificate "$@"
  jq -n --arg s "https://$lan.11:6443" --arg ca "$(base64 -w0 <ca.crt)" --arg c "$(base64 -w0 <"$1.crt")" --arg k "$(base64 -w0 <"$1.key")" '{
    apiVersion: "v1", kind: "Config", "current-context": "kubenode",
    clusters: [{name: "kubenode", cluster: {server: $s, "certificate-authority-data": $ca}}],
    users: [{name: "me", user: {"client-certificate-data": $c, "client-key-data": $k}}],
    contexts: [{name: "kubenode", context: {cluster: "kubenode", user: "me"}}]}' >"$1.kubeconfig"
}

identities() ( # NODES
  mkdir -p "$state/pki" && cd "$state/pki" || exit 1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=kubenode-ca 2>/dev/null
  openssl genrsa -out sa.key 2048 2>/dev/null
  certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$lan.11,IP:$services.0.1"
  certificate aggregator /CN=kube-aggregator
  certificate to-kubelet /O=system:masters/CN=kube-apiserver-to-kubelet
  kubeconfig admin /O=system:masters/CN=admin
  kubeconfig kube-controller-manager /CN=system:kube-controller-manager
  kubeconfig kube-scheduler /CN=system:kube-scheduler
  kubeconfig kube-proxy /CN=system:kube-proxy
  local i
  for ((i = 1; i <= $1; i++)); do kubeconfig "node-$i" "/O=system:nodes/CN=system:node:node-$i" "DNS:node-$i,IP:$lan.$((10 + i))"; done
)
