//! Reading sip.conf from disk: what `fairlead-conf` leaves to the program.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use fairlead_conf::{SipConf, Text, matches, read};

/// The largest file that is read, bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Reads sip.conf and what it includes. Broken syntax is an error that lists every place.
pub fn load(path: &Path) -> anyhow::Result<SipConf> {
    let file = path.to_str().with_context(|| format!("the name of {} is not UTF-8", path.display()))?;
    std::fs::metadata(path).with_context(|| format!("could not read {file}"))?;
    Ok(read(file, &mut files)?)
}

/// The files that a path names; its last part may be a pattern.
fn files(path: &str) -> Result<Vec<Text>, String> {
    let (directory, pattern) = match path.rsplit_once('/') {
        Some(("", pattern)) => ("/", pattern),
        Some((directory, pattern)) => (directory, pattern),
        None => (".", path),
    };
    if !pattern.contains(['*', '?', '[']) {
        return match Path::new(path).exists() {
            true => Ok(vec![text(path)?]),
            false => Ok(Vec::new()),
        };
    }
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(format!("could not list {directory}: {cause}")),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && matches(pattern, name))
        .collect();
    names.sort_unstable();
    names.iter().map(|name| text(&format!("{directory}/{name}"))).collect()
}

fn text(path: &str) -> Result<Text, String> {
    let failed = |cause: std::io::Error| format!("could not read {path}: {cause}");
    let mut bytes = Vec::new();
    // Counted while it is read: a device or a pipe has no length that could be asked for.
    let read = std::fs::File::open(path).map_err(failed)?.take(FILE_LIMIT + 1).read_to_end(&mut bytes);
    if read.map_err(failed)? as u64 > FILE_LIMIT {
        return Err(format!("could not read {path}: it has more than {FILE_LIMIT} bytes"));
    }
    // Old files are often Latin-1; a broken letter in a display name must not stop the edge.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Text { file: Arc::from(path), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_read_in_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("sip.conf"), "[general]\n#include phones/*.conf\n").unwrap();
        std::fs::create_dir(at("phones")).unwrap();
        for name in ["b.conf", "a.conf", "c.conf~"] {
            std::fs::write(at("phones").join(name), format!("[{name}]\ntype=peer\nhost=dynamic\nsecret=x\n"))
                .unwrap();
        }
        let conf = load(&at("sip.conf")).unwrap();
        let names: Vec<&str> = conf.peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
    }

    #[test]
    fn a_device_without_an_end_is_not_read_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sip.conf");
        std::fs::write(&file, "#include /dev/zero\n[general]\n").unwrap();
        let error = load(&file).unwrap_err();
        assert!(format!("{error:#}").contains("bytes"), "{error:#}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load(Path::new("/nowhere/sip.conf")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/sip.conf"), "{error:#}");
    }

    #[test]
    fn broken_syntax_is_told_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sip.conf");
        std::fs::write(&path, "[general]\n[broken\n").unwrap();
        let error = load(&path).unwrap_err();
        assert!(error.to_string().contains("sip.conf:2: error:"), "{error}");
    }

    #[test]
    fn the_example_is_without_warnings() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples/sip.conf");
        let conf = load(&path).unwrap();
        assert_eq!(
            conf.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        assert_eq!(conf.peers.len(), 2);
    }
}
