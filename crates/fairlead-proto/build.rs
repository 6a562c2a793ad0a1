//! Compiles every `.proto` under `proto/` with protox, so that no protoc has to be installed.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use prost::Message;

/// Absent fields are read as their default: a client may be newer than the pod that answers.
const OPERATOR: &str = "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)] #[serde(default)]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let set = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // For reflection, and for the test that refuses breaking changes.
    fs::write(out.join("fairlead_descriptor.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        // The operator's messages are also the JSON of the REST API, and its OpenAPI schemas.
        .type_attribute(".fairlead.admin.v1", OPERATOR)
        .build_server(true)
        .build_client(true)
        .include_file("fairlead.rs")
        .compile_fds(set)?;
    Ok(())
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, into)?;
        } else if path.extension().is_some_and(|ext| ext == "proto") {
            println!("cargo:rerun-if-changed={}", path.display());
            into.push(path);
        }
    }
    Ok(())
}
