# shellcheck shell=bash disable=SC2154
# Inside a node: what its first process does.

keep() { # NAME COMMAND…: run it for as long as the node lives, again whenever it ends
  local name=$1; shift
  while :; do "$@" >>"$dir/log/$name.log" 2>&1 || true; sleep 1; done &
}

control_plane() {
  local k=$cache/bin/kubenode p=$state/pki
  keep etcd "$k" etcd --data-dir "$dir/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  keep kube-apiserver "$k" kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$lan.11" --secure-port 6443 \
    --service-cluster-ip-range "$services.0.0/16" --authorization-mode Node,RBAC --allow-privileged --enable-admission-plugins NodeRestriction \
    --client-ca-file "$p/ca.crt" --tls-cert-file "$p/apiserver.crt" --tls-private-key-file "$p/apiserver.key" \
    --kubelet-client-certificate "$p/to-kubelet.crt" --kubelet-client-key "$p/to-kubelet.key" --kubelet-certificate-authority "$p/ca.crt" \
    --kubelet-preferred-address-types InternalIP \
    --requestheader-client-ca-file "$p/ca.crt" --requestheader-allowed-names kube-aggregator --requestheader-username-headers X-Remote-User \
    --requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$p/aggregator.crt" --proxy-client-key-file "$p/aggregator.key" \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$p/sa.key" --service-account-signing-key-file "$p/sa.key"
  reachable
  keep kube-controller-manager "$k" kube-controller-manager --kubeconfig "$p/kube-controller-manager.kubeconfig" --use-service-account-credentials \
    --authentication-kubeconfig "$p/kube-controller-manager.kubeconfig" --authorization-kubeconfig "$p/kube-controller-manager.kubeconfig" \
    --service-account-private-key-file "$p/sa.key" --root-ca-file "$p/ca.crt" --cluster-signing-cert-file "$p/ca.crt" \
    --cluster-signing-key-file "$p/ca.key" --leader-elect=false
  keep kube-scheduler "$k" kube-scheduler --kubeconfig "$p/kube-scheduler.kubeconfig" --leader-elect=false \
    --authentication-kubeconfig "$p/kube-scheduler.kubeconfig" --authorization-kubeconfig "$p/kube-scheduler.kubeconfig"
  keep coredns "$k" coredns -conf "$state/Corefile"
}

reachable() { until curl -sk "https://$lan.11:6443/readyz" --cert "$state/pki/admin.crt" --key "$state/pki/admin.key" | grep -q ok; do sleep 0.3; done; }

inside() { # NODE-NUMBER
  local k=$cache/bin/kubenode p=$state/pki
  dir=$state/node-$1
  hostname "node-$1"
  mount --make-rshared / # pods share mounts with the node, the node none with this machine
  mount --bind "$dir/resolv.conf" /etc/resolv.conf
  mount -t tmpfs none /run/netns
  while ! ip -4 addr show dev uplink 2>/dev/null | grep -q "$lan"; do sleep 0.1; done
  sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  # as in most clusters: the world outside reaches Services, never a pod's own address; what a pod sends on its own leaves with
  # the node's address and a random port
  nft "add table ip world; add chain ip world forward { type filter hook forward priority 0; };
       add rule ip world forward iifname uplink ip daddr $pods ip saddr != { $lan.0/24, $pods } ct state new ct status & dnat == 0 drop;
       add chain ip world postrouting { type nat hook postrouting priority srcnat; };
       add rule ip world postrouting ip saddr $pods ip daddr != $pods oifname uplink masquerade fully-random"
  [[ $1 == 1 ]] && control_plane
  keep containerd containerd --config "$dir/containerd.toml" --log-level warn
  reachable
  until ctr -a "$dir/run/containerd.sock" version >/dev/null 2>&1; do sleep 0.2; done
  ctr -a "$dir/run/containerd.sock" -n k8s.io images import --snapshotter "$(snapshotter)" "$cache/pause.tar" >>"$dir/log/containerd.log" 2>&1
  keep kubelet "$k" kubelet --config "$dir/kubelet.yaml" --kubeconfig "$p/node-$1.kubeconfig" --root-dir "$dir/kubelet" \
    --hostname-override "node-$1" --node-ip "$lan.$((10 + $1))"
  keep kube-proxy "$k" kube-proxy --kubeconfig "$p/kube-proxy.kubeconfig" --proxy-mode nftables --cluster-cidr "$pods" --hostname-override "node-$1" \
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
  wait
}
