# shellcheck shell=bash disable=SC2154
# Services of type LoadBalancer: an address each, routed to the nodes whose health check answers, by hash over both ends.
# Services whose annotation metallb.io/allow-shared-ip has the same value, in one namespace, share an address, as with MetalLB.
# One with a loadBalancerClass is somebody else's.

# One line a Service: NAMESPACE/NAME ADDRESS-OR-DASH POLICY HEALTH-PORT SHARING-KEY-OR-DASH
balanced_services() {
  "$cache/bin/kubectl" get service -A -o json 2>/dev/null | jq -r '.items[] | select(.spec.type == "LoadBalancer" and .spec.loadBalancerClass == null)
    | "\(.metadata.namespace)/\(.metadata.name) \(.status.loadBalancer.ingress[0].ip // "-") \(.spec.externalTrafficPolicy) \(.spec.healthCheckNodePort // 0) \(
      .metadata.annotations["metallb.io/allow-shared-ip"] // "" | if . == "" then "-" else gsub("\\s"; "_") end)"'
}

free_address() { # reads used[]
  local n
  for ((n = 1; n < 255; n++)); do
    [[ -n ${used[$balancers.$n]:-} ]] || { echo "$balancers.$n"; return; }
  done
  return 1
}

healthy() { # NODE-NUMBER POLICY HEALTH-PORT
  local at=http://$lan.$((10 + $1)):10256/healthz answer=0
  [[ $2 == Local ]] && at=http://$lan.$((10 + $1)):$3/healthz
  curl -sf -m 0.5 -o /dev/null "$at" || answer=$?
  if ((answer == 28)); then answer=0; curl -sf -m 1 -o /dev/null "$at" || answer=$?; fi # a slow machine is no dead node
  return "$answer"
}

balance() { # NODES
  local service policy port key address i hops line
  declare -A routed=() used=() shared=() checks=()
  while sleep 1; do
    mapfile -t lines < <(balanced_services)
    used=() shared=() checks=()
    for line in "${lines[@]}"; do
      read -r service address policy port key <<<"$line"
      [[ $address == - ]] && continue
      used[$address]=1
      [[ $key == - ]] || shared[${service%/*}/$key]=$address
    done
    for line in "${lines[@]}"; do
      read -r service address policy port key <<<"$line"
      if [[ $address == - ]]; then
        address=${shared[${service%/*}/$key]:-}
        [[ -n $address ]] || address=$(free_address) || continue
        "$cache/bin/kubectl" -n "${service%/*}" patch service "${service#*/}" --subresource=status --type=merge \
          -p "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"$address\"}]}}}" >/dev/null || continue
        used[$address]=1
        [[ $key == - ]] || shared[${service%/*}/$key]=$address
      fi
      checks[$address]+="$policy $port;"
    done
    for address in "${!checks[@]}"; do
      hops=()
      for ((i = 1; i <= $1; i++)); do
        # of Services that share an address all have to be well on a node
        while read -r -d ';' policy port; do healthy "$i" "$policy" "$port" || continue 2; done <<<"${checks[$address]}"
        hops+=(nexthop via "$lan.$((10 + i))")
      done
      if [[ "${hops[*]}" != "${routed[$address]:-}" ]]; then
        routed[$address]="${hops[*]}"
        if ((${#hops[@]})); then ip route replace "$address" "${hops[@]}"; else ip route replace unreachable "$address"; fi
      fi
    done
  done
}
