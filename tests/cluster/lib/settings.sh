# shellcheck shell=bash disable=SC2154
# The files that containerd, CNI, kubelet and DNS read.

settings() { # NODE-NUMBER
  local dir=$state/node-$1
  mkdir -p "$dir"/{log,run,cni,kubelet,podlogs}
  printf 'nameserver %s\n' "$dns" >"$dir/resolv.conf"
  cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "$dir/run/containerd"
[grpc]
  address = "$dir/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
  cat >"$dir/cni/10-bridge.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.42.$1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  # cgroupfs rather than systemd: a node has no systemd of its own, with cgroup v1 and v2 alike
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /node-$1
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$dir/run/containerd.sock
clusterDNS: [$dns]
clusterDomain: cluster.local
resolvConf: $dir/resolv.conf
podLogsDir: $dir/podlogs
tlsCertFile: $state/pki/node-$1.crt
tlsPrivateKeyFile: $state/pki/node-$1.key
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
maxPods: 100
YAML
}

dns_service() {
  cat >"$state/Corefile" <<COREFILE
.:53 {
    bind $lan.11
    errors
    health $lan.11:8080
    kubernetes cluster.local in-addr.arpa {
        kubeconfig $state/pki/admin.kubeconfig
        pods insecure
        ttl 5
    }
    cache 5
}
COREFILE
  cat >"$state/dns.yaml" <<YAML
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: $dns
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-node, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
endpoints: [{addresses: [$lan.11], conditions: {ready: true}}]
YAML
}
