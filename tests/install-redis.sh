#!/usr/bin/env bash
# Installs redis-server, which the tests of a fleet and `make run-fleet` need, unless it is there.
set -eu -o pipefail

command -v redis-server >/dev/null && exit
echo "installing redis-server" >&2
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && $as_root apt-get update -qq >&2 &&
    $as_root apt-get install -qq -y --no-install-recommends redis-server >&2; then
    exit
fi
echo "redis-server is not installed: on Debian run 'apt-get install redis-server' as root, elsewhere install Redis 7" >&2
exit 1
