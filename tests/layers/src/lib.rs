//! Holds the house to its map: no crate uses a crate of a higher layer, and below the line nothing touches the
//! outside world. Each crate states its layer in `[package.metadata.fairlead]`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The highest layer that is pure.
pub const LAST_PURE_LAYER: u8 = 4;

/// Libraries that a pure crate may not use: they have sockets, tasks, clocks or randomness of their own.
pub const OUTSIDE_WORLD: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "futures",
    "async-trait",
    "socket2",
    "rustix",
    "libc",
    "redis",
    "redb",
    "tonic",
    "axum",
    "hyper",
    "tower",
    "rand",
    "getrandom",
    "tracing",
    "tracing-subscriber",
    "opentelemetry",
    "prometheus-client",
    "parking_lot",
    "dashmap",
    "arc-swap",
];

/// What `cargo metadata --no-deps` says of the workspace, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Workspace {
    /// Members.
    pub packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Where its manifest is.
    pub manifest_path: String,
    /// What it uses.
    pub dependencies: Vec<Dependency>,
    /// `[package.metadata]`.
    pub metadata: Option<Metadata>,
}

/// One thing a member uses.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// `None` for ordinary dependencies, else `dev` or `build`.
    pub kind: Option<String>,
}

/// `[package.metadata]`.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// `[package.metadata.fairlead]`.
    pub fairlead: Option<House>,
}

/// `[package.metadata.fairlead]`.
#[derive(Debug, Deserialize)]
pub struct House {
    /// 0 (wire) to 7 (program).
    pub layer: u8,
}

/// Every rule that is broken, in words. Members without a layer are tests and tools, which may use anything.
pub fn broken_rules(workspace: &Workspace) -> Vec<String> {
    let layers: BTreeMap<&str, u8> = workspace
        .packages
        .iter()
        .filter_map(|p| Some((p.name.as_str(), p.metadata.as_ref()?.fairlead.as_ref()?.layer)))
        .collect();
    let mut broken = Vec::new();
    for package in &workspace.packages {
        let Some(&layer) = layers.get(package.name.as_str()) else {
            if package.manifest_path.contains("/crates/") {
                broken.push(format!("{} states no layer", package.name));
            }
            continue;
        };
        for used in package.dependencies.iter().filter(|d| d.kind.is_none()) {
            match layers.get(used.name.as_str()) {
                Some(&below) if below > layer => broken
                    .push(format!("{} (layer {layer}) uses {} (layer {below})", package.name, used.name)),
                None if layer <= LAST_PURE_LAYER && OUTSIDE_WORLD.contains(&used.name.as_str()) => {
                    broken.push(format!("{} (layer {layer}, pure) uses {}", package.name, used.name));
                }
                _ => {}
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, layer: u8, uses: &[&str]) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("/x/crates/{name}/Cargo.toml"),
            dependencies: uses.iter().map(|u| Dependency { name: (*u).into(), kind: None }).collect(),
            metadata: Some(Metadata { fairlead: Some(House { layer }) }),
        }
    }

    #[test]
    fn the_house_keeps_its_layers() {
        let out = std::process::Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let workspace: Workspace = serde_json::from_slice(&out.stdout).unwrap();
        assert!(workspace.packages.len() > 20, "the whole workspace is read");
        assert_eq!(broken_rules(&workspace), Vec::<String>::new());
    }

    #[test]
    fn an_upward_edge_is_found() {
        let workspace =
            Workspace { packages: vec![package("wire", 0, &["role"]), package("role", 6, &["wire"])] };
        assert_eq!(broken_rules(&workspace), ["wire (layer 0) uses role (layer 6)"]);
    }

    #[test]
    fn a_pure_crate_with_a_runtime_is_found() {
        let workspace = Workspace { packages: vec![package("wire", 0, &["tokio", "bytes"])] };
        assert_eq!(broken_rules(&workspace), ["wire (layer 0, pure) uses tokio"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let mut lost = package("lost", 0, &[]);
        lost.metadata = None;
        assert_eq!(broken_rules(&Workspace { packages: vec![lost] }), ["lost states no layer"]);
    }

    #[test]
    fn the_top_level_holds_only_what_the_map_names() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let known = [
            "Cargo.toml",
            "Cargo.lock",
            "LICENSE",
            "README.md",
            "crates",
            "proto",
            "deploy",
            "charts",
            "tests",
            "target",
        ];
        let strangers: Vec<String> = std::fs::read_dir(root)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.') && !known.contains(&name.as_str()))
            .collect();
        assert_eq!(strangers, Vec::<String>::new());
    }
}
