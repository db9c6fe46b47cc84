#!/usr/bin/env python3
"""Writes an OCI image layout that contains one file, plugin.wasm.

This is the "compat" form of the Wasm image specification: one layer of type tar+gzip. Istio and Envoy Gateway both fetch
it. The same module and version give the same bytes on every run, so also the same digest.
"""

import argparse
import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def add(archive, name, data):
    """Adds a file without owner and time, because these differ from machine to machine."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(data))


def layer(module):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        add(archive, "plugin.wasm", module)
    return buffer.getvalue()


def encode(value):
    return json.dumps(value, indent=1, sort_keys=True).encode()


class Blobs:
    def __init__(self, folder):
        self.folder = folder / "blobs" / "sha256"
        self.folder.mkdir(parents=True)

    def add(self, kind, data):
        """Stores a blob, and returns its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def write(module, version, folder):
    """Writes the layout, and returns the digest of the image."""
    shutil.rmtree(folder, ignore_errors=True)
    blobs = Blobs(folder)
    uncompressed = layer(module)
    compressed = blobs.add(LAYER, gzip.compress(uncompressed, compresslevel=9, mtime=0))
    diff = hashlib.sha256(uncompressed).hexdigest()
    config = blobs.add(
        CONFIG,
        encode(
            {
                # As an ordinary image has it, so that container tools also unpack this one.
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
            }
        ),
    )
    annotations = {
        "org.opencontainers.image.title": "tollbell",
        "org.opencontainers.image.description": "API keys, quotas and alerts for Envoy, as a proxy-wasm filter",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    manifest = blobs.add(
        MANIFEST,
        encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [compressed],
                "annotations": annotations,
            }
        ),
    )
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": version}}
    (folder / "index.json").write_bytes(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return manifest["digest"]


def pack(folder, file):
    """Writes the layout as one tar file, for a release."""
    with tarfile.open(file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            add(archive, path.relative_to(folder).as_posix(), path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description="Write an OCI image layout with a wasm module")
    parser.add_argument("module", type=Path)
    parser.add_argument("version", help="the tag in the layout")
    parser.add_argument("folder", type=Path, help="the layout to write")
    parser.add_argument("archive", type=Path, help="the same layout as a tar file")
    arguments = parser.parse_args()
    print(write(arguments.module.read_bytes(), arguments.version, arguments.folder))
    pack(arguments.folder, arguments.archive)


if __name__ == "__main__":
    main()
