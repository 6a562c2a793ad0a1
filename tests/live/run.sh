#!/usr/bin/env bash
# Runs the live tests in a network namespace of their own, so that nothing they do leaves it.
#   tests/live/run.sh                    all
#   tests/live/run.sh test_calls         one file
#   FAIRLEAD_BIN=target/release/fairlead tests/live/run.sh
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here"
export PATH="$PATH:/usr/sbin:/sbin" PYTHONDONTWRITEBYTECODE=1
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -E"
if [ $# = 0 ]; then
    set -- discover -v -s . -p 'test_*.py'
else
    set -- -v "$@"
fi
exec $as_root unshare --net --mount-proc --pid --fork --kill-child -- bash -c '
    ip link set lo up
    mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    exec python3 -m unittest "$@"' live "$@"
