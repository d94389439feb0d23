use super::figure::{Figure, Floor, Unit};
use super::{Trouble, cargo};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Each group of a benchmark with what it is compared with: the sum of one or two others of the group.
const GROUPS: [(&str, &str, &[(&str, &[&str])]); 4] = [
    ("snapshot", "encode", &[("memcpy", &["memcpy"])]),
    (
        "snapshot",
        "decode",
        &[
            ("serde_json that keeps nothing", &["parse"]),
            ("memcpy", &["memcpy"]),
        ],
    ),
    ("envelope", "seal", SEALING),
    ("envelope", "open", SEALING),
];
const SEALING: &[(&str, &[&str])] = &[
    ("zstd and the cipher", &["zstd", "cipher"]),
    ("zstd alone", &["zstd"]),
    ("the cipher alone", &["cipher"]),
];
const SIZES: [u32; 3] = [10, 1_000, 10_000];

/// Runs a benchmark of `sdk-state` and reads the medians that criterion leaves.
pub(super) fn run(bench: &str, quick: bool) -> Result<Vec<Figure>, Trouble> {
    let home = tempfile::tempdir()?;
    let mut program = Command::new(cargo::bench_program("sdk-state", bench)?);
    program.args(["--bench", "--noplot"]);
    if quick {
        program.arg("--quick");
    } else {
        program.args(["--warm-up-time", "1", "--measurement-time", "2"]);
    }
    let output = program
        .env("CRITERION_HOME", home.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let mut figures = Vec::new();
    for (_, group, floors) in GROUPS.iter().filter(|(of, ..)| *of == bench) {
        for size in SIZES {
            let value = median(home.path(), group, group, size)?;
            for (is, parts) in *floors {
                let parts: Result<Vec<f64>, Trouble> = parts
                    .iter()
                    .map(|part| median(home.path(), group, part, size))
                    .collect();
                let floor = parts?.iter().sum();
                figures.push(Figure {
                    what: (*group).into(),
                    size: format!("{size} entries"),
                    unit: Unit::Seconds,
                    value,
                    floor: Some(Floor {
                        is: (*is).into(),
                        value: floor,
                    }),
                });
            }
        }
    }
    Ok(figures)
}

/// In seconds.
fn median(home: &Path, group: &str, name: &str, size: u32) -> Result<f64, Trouble> {
    let path = home
        .join(group)
        .join(name)
        .join(size.to_string())
        .join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let nanoseconds = estimates["median"]["point_estimate"].as_f64();
    Ok(nanoseconds.ok_or("criterion left no median")? / 1e9)
}
