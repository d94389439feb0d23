//! The document that all speed figures are about: N resources of a cloud, each depending on the one before.

use std::fmt::Write as _;

/// The factory that the document names.
pub(crate) const FACTORY: &str = "bench";
/// The stack that it names.
pub(crate) const STACK: &str = "prod";

/// The document with `entries` resources, indented by two spaces: 1.2 kB each.
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

fn write_entry(text: &mut String, position: usize) -> std::fmt::Result {
    let owner = position % 17;
    let id = position * 7919;
    write!(
        text,
        r##"    {{
      "address": "resource.r{position:06}",
      "entry-kind": "leaf",
      "category": "resource",
      "binding": {{
        "alias": "aws",
        "library-path": "example.com/aws",
        "kind": "instance"
      }},
      "schema-version": 1,
      "inputs": {{
        "ami": "ami-0123456789abcdef0",
        "name": "web-{position}",
        "size": {position},
        "subnets": [
          "subnet-aaaaaaaa",
          "subnet-bbbbbbbb"
        ],
        "tags": {{
          "env": "prod",
          "owner": "u{owner}",
          "team": "platform"
        }},
        "user-data": "#!/bin/sh\necho hello \"world\"\n"
      }},
      "outputs": {{
        "arn": "arn:aws:ec2:us-east-1:123456789012:instance/i-{id:016x}",
        "id": "i-{id:016x}",
        "meta": null,
        "private-ip": "10.0.0.1",
        "ready": true,
        "score": 0.25
      }}"##
    )?;
    if let Some(before) = position.checked_sub(1) {
        write!(
            text,
            r#",
      "depends-on": [
        "resource.r{before:06}"
      ]"#
        )?;
    }
    text.write_str("\n    }")
}
