//! The document that all figures are about: N instances of a cloud, each with identifiers of its own and depending on the
//! one before.
//!
//! Identifiers, names and addresses are those that a cloud would draw at random: 900 bytes of JSON an entry, of which
//! zstd leaves 91. Equal numbers of entries give equal documents.

use std::fmt::{self, Write as _};

/// The factory that the document names.
pub(crate) const FACTORY: &str = "bench";
/// The stack that it names.
pub(crate) const STACK: &str = "prod";

const SERVICES: [&str; 8] = [
    "web", "api", "worker", "cache", "ingest", "search", "billing", "auth",
];
const REGIONS: [&str; 3] = ["us-east-1", "eu-central-1", "ap-southeast-2"];
const SIZES: [&str; 4] = ["t3.medium", "m6i.large", "c7g.xlarge", "r6i.2xlarge"];

/// The document with so many entries, indented by two spaces as `statectl pull` prints it: 1.3 kB each.
pub(crate) fn document(entries: usize) -> String {
    let mut text = format!(
        r#"{{
  "format-version": 1,
  "factory": {{
    "name": "{FACTORY}",
    "version": "v1",
    "content-revision": "abc"
  }},
  "stack": "{STACK}",
  "generated-at": "2026-01-01T00:00:00Z",
  "entries": ["#
    );
    for position in 0..entries {
        text.push_str(if position == 0 { "\n" } else { ",\n" });
        // Writing to a string does not fail.
        let _ = write_entry(&mut text, position);
    }
    text.push_str(if entries == 0 { "]\n}\n" } else { "\n  ]\n}\n" });
    text
}

/// The address of the entry at this position, from 0.
pub(crate) fn address(position: usize) -> String {
    format!("resource.{}-{position:06}", Draw(position).one_of(0, &SERVICES))
}

fn write_entry(text: &mut String, position: usize) -> fmt::Result {
    let draw = Draw(position);
    let address = address(position);
    let service = draw.one_of(0, &SERVICES);
    let region = draw.one_of(1, &REGIONS);
    let size = draw.one_of(2, &SIZES);
    let zone = draw.one_of(3, &["a", "b", "c"]);
    let [instance, volume, interface] = [4, 5, 6].map(|nth| draw.number(nth));
    // Of these there are few, which many instances share.
    let image = Draw::shared(draw.below(7, 12));
    let group = Draw::shared(100 + draw.below(8, 200));
    let subnet = Draw::shared(500 + draw.below(9, 24));
    let [b, c, d] = [10, 11, 12].map(|nth| draw.below(nth, 256));
    let disk = 20 + 10 * draw.below(13, 48);
    let cost_center = draw.below(14, 40);
    let (hour, minute, second) = (position / 3600 % 24, position / 60 % 60, position % 60);
    write!(
        text,
        r##"    {{
      "address": "{address}",
      "entry-kind": "leaf",
      "category": "resource",
      "binding": {{
        "alias": "aws",
        "library-path": "example.com/aws",
        "kind": "instance"
      }},
      "schema-version": 1,
      "inputs": {{
        "ami": "ami-0{image:016x}",
        "instance-type": "{size}",
        "name": "{service}-{position:06}",
        "root-volume-gib": {disk},
        "security-groups": [
          "sg-0{group:016x}"
        ],
        "subnet": "subnet-0{subnet:016x}",
        "tags": {{
          "cost-center": "cc-{cost_center:04}",
          "env": "prod",
          "owner": "team-{service}",
          "service": "{service}"
        }},
        "user-data": "#!/bin/sh\nexec /opt/{service}/bin/run --zone \"{region}{zone}\"\n"
      }},
      "outputs": {{
        "arn": "arn:aws:ec2:{region}:123456789012:instance/i-0{instance:016x}",
        "id": "i-0{instance:016x}",
        "interface": "eni-0{interface:016x}",
        "launch-time": "2026-01-01T{hour:02}:{minute:02}:{second:02}Z",
        "private-dns": "ip-10-{b}-{c}-{d}.{region}.compute.internal",
        "private-ip": "10.{b}.{c}.{d}",
        "public-ip": null,
        "ready": true,
        "volume": "vol-0{volume:016x}"
      }}"##
    )?;
    if let Some(before) = position.checked_sub(1) {
        let before = self::address(before);
        write!(
            text,
            r#",
      "depends-on": [
        "{before}"
      ]"#
        )?;
    }
    text.write_str("\n    }")
}

/// What one entry draws: numbers that look random, and are the same each time.
struct Draw(usize);

impl Draw {
    fn number(&self, nth: u64) -> u64 {
        mixed(((self.0 as u64) << 8) | nth)
    }

    fn below(&self, nth: u64, end: u64) -> u64 {
        self.number(nth) % end
    }

    fn one_of(&self, nth: u64, all: &[&'static str]) -> &'static str {
        all[self.number(nth) as usize % all.len()]
    }

    fn shared(number: u64) -> u64 {
        mixed(u64::MAX - number)
    }
}

/// The finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
