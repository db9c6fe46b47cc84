//! The OCI image of the module. `make test-packaging` lets Istio and Envoy Gateway fetch it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tollbell_tests::project_root;

/// Writes the image, and returns its folder and the printed digest.
fn image(name: &str) -> Result<(PathBuf, String)> {
    let folder = project_root().join("target/image").join(name);
    fs::create_dir_all(&folder)?;
    let output = Command::new("packaging/oci.py")
        .args(["dist/tollbell.wasm", "1.2.3"])
        .args([folder.join("oci"), folder.join("oci.tar")])
        .current_dir(project_root())
        .output()
        .context("python3 is not installed")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((folder, String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// A blob, whose digest and size must be those of its descriptor.
fn blob(layout: &Path, descriptor: &Value) -> Result<Vec<u8>> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    let name = digest.strip_prefix("sha256:").context("not a SHA-256")?;
    let bytes = fs::read(layout.join("blobs/sha256").join(name))?;
    ensure!(hex::encode(Sha256::digest(&bytes)) == name && descriptor["size"] == bytes.len(), "{descriptor}");
    Ok(bytes)
}

#[test]
fn the_image_has_one_layer_with_the_module_and_is_the_same_each_time() -> Result<()> {
    let (folder, digest) = image("first")?;
    let (again, _) = image("second")?;
    ensure!(fs::read(folder.join("oci.tar"))? == fs::read(again.join("oci.tar"))?, "two runs differ");

    let layout = folder.join("oci");
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    ensure!(index["manifests"][0]["digest"] == digest.as_str(), "the printed digest is not the image's");
    ensure!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "1.2.3");
    let manifest: Value = serde_json::from_slice(&blob(&layout, &index["manifests"][0])?)?;
    let layers = manifest["layers"].as_array().context("no layers")?;
    // Istio and Envoy Gateway take the last layer, and only of this type.
    ensure!(layers.len() == 1 && layers[0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip", "{layers:?}");
    let mut archive = Vec::new();
    GzDecoder::new(blob(&layout, &layers[0])?.as_slice()).read_to_end(&mut archive)?;
    let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])?)?;
    let unpacked = format!("sha256:{}", hex::encode(Sha256::digest(&archive)));
    ensure!(config["rootfs"]["diff_ids"] == serde_json::json!([unpacked]), "{config}");

    // The header of a tar archive: the name, and at 124 the size in octal digits.
    let module = fs::read(project_root().join("dist/tollbell.wasm"))?;
    let (header, rest) = archive.split_at(512);
    ensure!(header.starts_with(b"plugin.wasm\0"));
    let size = std::str::from_utf8(&header[124..135])?;
    ensure!(usize::from_str_radix(size, 8)? == module.len() && rest.starts_with(&module), "not the module");
    ensure!(rest[module.len()..].iter().all(|byte| *byte == 0), "the layer has more than the module");
    Ok(())
}
