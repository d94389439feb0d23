//! First inputs that already lead far into the code: the published vectors and the files of the tests. What is small and
//! can be read lies in `xtask/fuzz/seeds` instead.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Writes the seeds of `target` that are made from other files.
pub(super) fn make(target: &str, directory: &Path) -> io::Result<()> {
    match target {
        "envelope_v2" => write_all(directory, vectors()?),
        "envelope_v1" => write_all(directory, files("crates/localstate/tests/original/state", "enc")?),
        "snapshot" => {
            let plain = files("crates/localstate/tests/original/state/network/dev", "enc")?;
            let examples = files("crates/statectl/examples", "json")?;
            write_all(
                directory,
                plain.iter().filter_map(|file| plaintext(file)).chain(examples),
            )
        }
        _ => Ok(()),
    }
}

fn write_all(directory: &Path, seeds: impl IntoIterator<Item = Vec<u8>>) -> io::Result<()> {
    (0..)
        .zip(seeds)
        .try_for_each(|(number, seed)| fs::write(directory.join(format!("{number:03}")), seed))
}

/// The sealed files of the published vectors, most of which are not to open.
fn vectors() -> io::Result<Vec<Vec<u8>>> {
    let text = fs::read(root().join("crates/sdk-state/tests/vectors.json"))?;
    let file: serde_json::Value = serde_json::from_slice(&text)?;
    let vectors = file["vectors"].as_array().into_iter().flatten();
    let sealed = vectors.filter_map(|vector| STANDARD.decode(vector["sealed"].as_str()?).ok());
    Ok(sealed.collect())
}

/// What a file of version 1 holds that is not encrypted.
fn plaintext(file: &[u8]) -> Option<Vec<u8>> {
    let envelope: serde_json::Value = serde_json::from_slice(file).ok()?;
    STANDARD.decode(envelope["ciphertext"].as_str()?).ok()
}

/// Every file with this ending under a directory of the tree.
fn files(directory: &str, ending: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(fs::read(path)?);
            }
        }
    }
    Ok(found)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
