#!/usr/bin/env bash
# Installs a program that tests need, unless it is there: tests/install-package.sh PROGRAMS PACKAGES ELSEWHERE
# PROGRAMS are its possible names. PACKAGES are its packages in Debian, and ELSEWHERE says what to install on another
# system.
set -eu -o pipefail
read -ra programs <<< "$1"
read -ra packages <<< "$2"
elsewhere=$3

for program in "${programs[@]}"; do
    command -v "$program" >/dev/null && exit
done
echo "installing ${packages[*]}" >&2
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && $as_root apt-get update -qq >&2 &&
    $as_root apt-get install -qq -y --no-install-recommends "${packages[@]}" >&2; then
    exit
fi
echo "$program is not installed: on Debian run 'apt-get install ${packages[*]}' as root, elsewhere install $elsewhere" >&2
exit 1
