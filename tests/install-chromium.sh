#!/usr/bin/env bash
# Installs Chromium, in which the tests open the status page, unless there is a browser of its kind.
set -eu -o pipefail

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit
done
echo "installing Chromium, one minute" >&2
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && $as_root apt-get update -qq >&2 &&
    $as_root apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >&2; then
    exit
fi
echo "Chromium is not installed: on Debian run 'apt-get install chromium' as root, elsewhere install Chromium or Chrome" >&2
exit 1
