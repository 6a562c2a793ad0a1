# shellcheck shell=bash disable=SC2154
# The world around the nodes, and nodes as that world sees them.

router() { # NODES
  ip netns add router
  ip netns add phones
  ip netns exec router sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1
  ip -n router link set lo up
  ip -n router link add lan type bridge
  ip -n router addr add "$lan.254/24" dev lan
  ip -n router link set lan up
  ip link add kubenode type veth peer name machine netns router
  ip addr add 10.45.0.1/30 dev kubenode && ip link set kubenode up
  ip -n router addr add 10.45.0.2/30 dev machine && ip -n router link set machine up
  ip route replace 10.40.0.0/13 via 10.45.0.2
  ip link add uplink netns phones type veth peer name phones netns router
  ip -n router addr add "$outside.1/24" dev phones && ip -n router link set phones up
  ip -n phones addr add "$outside.2/24" dev uplink && ip -n phones link set uplink up
  ip -n phones link set lo up && ip -n phones route add default via "$outside.1"
  KUBECONFIG=$state/pki/admin.kubeconfig setsid ip netns exec router "$here/cluster" balance "$1" </dev/null >"$state/balance.log" 2>&1 &
  echo $! >"$state/balance.pid"
}

boot() { # NODE-NUMBER
  local outer i
  setsid unshare --net --mount --pid --fork --uts --mount-proc --propagation private --kill-child "$here/cluster" inside "$1" \
    </dev/null >>"$state/node-$1/log/node.log" 2>&1 &
  outer=$!
  until [[ -n $(cat "/proc/$outer/task/$outer/children" 2>/dev/null) ]]; do sleep 0.1; done
  tr -d ' ' <"/proc/$outer/task/$outer/children" >"$state/node-$1/pid"
  readlink "/proc/$(cat "$state/node-$1/pid")/ns/pid" >"$state/node-$1/ns"
  ip netns attach "node-$1" "$(cat "$state/node-$1/pid")"
  ip link add uplink netns "node-$1" type veth peer name "node-$1" netns router
  ip -n router link set "node-$1" master lan up
  ip -n "node-$1" link set lo up
  ip -n "node-$1" addr add "$lan.$((10 + $1))/24" dev uplink
  ip -n "node-$1" link set uplink up
  ip -n "node-$1" route add default via "$lan.254"
  for ((i = 1; i <= 9; i++)); do ((i == $1)) || ip -n "node-$1" route add "10.42.$i.0/24" via "$lan.$((10 + i))"; done
}

pid() { # NODE: of its first process, while it is still that one
  local p
  p=$(cat "$state/$1/pid" 2>/dev/null) && [[ $(readlink "/proc/$p/ns/pid" 2>/dev/null) == "$(cat "$state/$1/ns" 2>/dev/null)" ]] && echo "$p"
}

cut_power() { # NODE
  local p
  if p=$(pid "$1"); then
    kill -9 "$p"
    while pid "$1" >/dev/null; do sleep 0.1; done
  fi
  ip netns del "$1" 2>/dev/null || true
  ip -n router link del "$1" 2>/dev/null || true
  remove_cgroups "$1"
}

enter() { # NODE COMMAND…
  local node=$1 p; shift
  if [[ $node == router ]]; then ip netns exec router "$@"; return; fi
  p=$(pid "$node") || die "$node is not running"
  nsenter -t "$p" --net --mount --pid --uts -- "$@"
}

signal() { # NODE COMPONENT SIGNAL: only to the component's own process inside that node
  local found
  # shellcheck disable=SC2016 # expanded inside the node
  found=$(enter "$1" bash -c 'for p in /proc/[0-9]*; do
      mapfile -d "" -t words <"$p/cmdline" 2>/dev/null || continue
      [[ ${words[0]:-} == */kubenode* && ${words[1]:-} == "$0" ]] && kill "-$1" "${p#/proc/}" && echo "${p#/proc/}"
    done; true' "$2" "$3")
  [[ -n $found ]] || die "no $2 runs on $1"
}

# The link of a pod, at both of its ends: eth0 inside, a veth outside.
link_mtu() { # NAMESPACE/POD OCTETS
  local pod node container
  pod=$("$cache/bin/kubectl" --kubeconfig "$state/pki/admin.kubeconfig" -n "${1%/*}" get pod "${1#*/}" \
    -o jsonpath='{.spec.nodeName} {.status.containerStatuses[0].containerID}') || die "there is no pod $1"
  read -r node container <<<"$pod"
  # shellcheck disable=SC2016 # expanded inside the node
  enter "$node" bash -c '
    process=$(ctr -a "$0" -n k8s.io tasks ls | awk -v id="$1" "\$1 == id { print \$2 }")
    [[ -n $process ]] || exit 1
    nsenter -t "$process" --net ip link set eth0 mtu "$2"
    index=$(nsenter -t "$process" --net ip -o link show eth0 | sed -E "s/.*eth0@if([0-9]+):.*/\1/")
    ip link set "$(ip -o link | sed -nE "s/^$index: ([^@:]+)[@:].*/\1/p")" mtu "$2"' \
    "$state/$node/run/containerd.sock" "${container#containerd://}" "$2" || die "the link of $1 could not be changed"
}
