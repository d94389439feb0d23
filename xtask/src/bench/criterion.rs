use super::figure::{Figure, Floor, Unit};
use super::{Trouble, cargo};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A group of a benchmark with what it is compared with.
struct Group {
    bench: &'static str,
    name: &'static str,
    floors: &'static [Parts],
}

/// A floor that is the sum of some others of the group.
struct Parts {
    is: &'static str,
    names: &'static [&'static str],
}

const GROUPS: [Group; 4] = [
    Group {
        bench: "snapshot",
        name: "encode",
        floors: &[MEMCPY],
    },
    Group {
        bench: "snapshot",
        name: "decode",
        floors: &[
            Parts {
                is: "serde_json that keeps nothing",
                names: &["parse"],
            },
            MEMCPY,
        ],
    },
    Group {
        bench: "envelope",
        name: "seal",
        floors: SEALING,
    },
    Group {
        bench: "envelope",
        name: "open",
        floors: SEALING,
    },
];
const MEMCPY: Parts = Parts {
    is: "memcpy",
    names: &["memcpy"],
};
const SEALING: &[Parts] = &[
    Parts {
        is: "zstd and the cipher",
        names: &["zstd", "cipher"],
    },
    Parts {
        is: "zstd alone",
        names: &["zstd"],
    },
    Parts {
        is: "the cipher alone",
        names: &["cipher"],
    },
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
    for group in GROUPS.iter().filter(|group| group.bench == bench) {
        for size in SIZES {
            let of = |name: &&str| median(home.path(), group.name, name, size);
            let value = of(&group.name)?;
            for Parts { is, names } in group.floors {
                let parts: Result<Vec<f64>, Trouble> = names.iter().map(of).collect();
                figures.push(Figure {
                    what: group.name.into(),
                    size: format!("{size} entries"),
                    unit: Unit::Seconds,
                    value,
                    floor: Some(Floor {
                        is: (*is).into(),
                        value: parts?.iter().sum(),
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
