# shellcheck shell=bash disable=SC2154
# A node's pods live below /NODE of every cgroup hierarchy (v1), or of the one there is (v2).

v2() { [[ -e /sys/fs/cgroup/cgroup.controllers ]]; }

cgroups_in_use() { if v2; then echo "cgroup v2"; else echo "cgroup v1"; fi; }

cgroups_lack() {
  local controller missing=()
  if v2; then
    for controller in cpu cpuset memory pids; do
      grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers || missing+=("$controller")
    done
    [[ -w /sys/fs/cgroup/cgroup.subtree_control ]] || missing+=("the right to write /sys/fs/cgroup")
  else
    for controller in cpu cpuacct cpuset memory pids devices freezer; do
      [[ -w /sys/fs/cgroup/$controller/cgroup.procs ]] || missing+=("$controller")
    done
  fi
  ((${#missing[@]} == 0)) || echo "cgroup controllers: ${missing[*]}"
}

make_cgroups() { # NODE
  if v2; then make_cgroup_v2 "$1"; else make_cgroups_v1 "$1"; fi
}

# kubelet wants its root to exist in every hierarchy
make_cgroups_v1() {
  local hierarchy cpuset=/sys/fs/cgroup/cpuset
  for hierarchy in /sys/fs/cgroup/*/; do
    [[ -e $hierarchy/cgroup.procs && ! -L ${hierarchy%/} ]] && mkdir -p "$hierarchy$1"
  done
  [[ -d $cpuset/$1 ]] && cat "$cpuset/cpuset.cpus" >"$cpuset/$1/cpuset.cpus" && cat "$cpuset/cpuset.mems" >"$cpuset/$1/cpuset.mems"
  return 0
}

# No process may be in a cgroup that passes controllers on (the machine's root aside): kubelet makes cgroups of its own below
# /NODE, and nothing else is put into it. A controller works in a cgroup when every one above passes it on. Only the machine's
# own root may do so while it has processes: inside a container what looks like the root is none, and its processes have to
# move into a leaf first.
make_cgroup_v2() {
  local root=/sys/fs/cgroup process
  if ! delegate "$root"; then
    mkdir -p "$root/machine"
    for _ in {1..5}; do # some fork meanwhile
      while read -r process; do echo "$process" >"$root/machine/cgroup.procs" 2>/dev/null || true; done <"$root/cgroup.procs"
      delegate "$root" && break
    done
    delegate "$root" || die "the cgroup controllers cannot be passed on in $root"
  fi
  mkdir -p "$root/$1"
  delegate "$root/$1" || die "the cgroup controllers cannot be passed on in $root/$1"
}

delegate() { # CGROUP: every controller that it has is there for those below
  local controller given=0
  # shellcheck disable=SC2013 # words
  for controller in $(cat "$1/cgroup.controllers"); do
    grep -qw "$controller" "$1/cgroup.subtree_control" && continue
    echo "+$controller" 2>/dev/null >"$1/cgroup.subtree_control" && continue
    case $controller in cpu | cpuset | memory | pids) given=1 ;; esac
  done
  return $given
}

cgroups_of() { # NODE
  if v2; then compgen -G "/sys/fs/cgroup/$1"; else compgen -G "/sys/fs/cgroup/*/$1"; fi
}

remove_cgroups() { # NODE
  local group
  for _ in {1..30}; do # its processes take a moment to go
    for group in $(cgroups_of "$1"); do
      [[ ! -e $group/cgroup.kill ]] || echo 1 >"$group/cgroup.kill" 2>/dev/null || true
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    cgroups_of "$1" >/dev/null || break
    sleep 0.1
  done
}
