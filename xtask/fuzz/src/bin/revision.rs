//! The names of revisions. An input is up to four lines, each a name.
//!
//! Laws: a name is printed as it was read. It tells a moment exactly if the `time` crate's reading and writing of RFC 3339
//! agree on it. The order is total, and that of the moment, the number and the text.

#![no_main]

use sdk_state::{ErrorKind, Revision, StackId};
use std::cmp::Ordering;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let revisions: Vec<Revision> = text.split('\n').take(4).filter_map(check).collect();
    for one in &revisions {
        for other in &revisions {
            assert_eq!(one.cmp(other), expected_order(one, other), "{one} {other}");
            assert_eq!(one == other, one.to_string() == other.to_string());
            let same = matches!((one.time(), other.time()), (Some(one), Some(other)) if one == other);
            assert_eq!(one.same_moment(other), same, "{one} {other}");
        }
    }
    if let Ok(id) = text.parse::<StackId>() {
        assert_eq!(id.to_string(), text);
        assert!(StackId::is_name(id.factory()) && StackId::is_name(id.stack()));
        assert!(!text.contains("..") || !text.split('/').any(|part| part.trim_matches('.').is_empty()));
    }
});

fn check(text: &str) -> Option<Revision> {
    let expected = moment(text);
    let revision = match text.parse::<Revision>() {
        Ok(revision) => revision,
        Err(error) => {
            assert_eq!(error.kind(), &ErrorKind::InvalidName);
            fuzz::check_error(&error, &[], &[]);
            assert!(expected.is_none(), "{text:?} tells a moment");
            return None;
        }
    };
    assert_eq!(revision.to_string(), text);
    assert!(text.len() <= Revision::MAX_BYTES && !text.starts_with('.') && !text.contains(['/', '\0']));
    assert_eq!(revision.is_writable(), expected.is_some(), "{text:?}");
    assert_eq!(revision.time().zip(revision.suffix()), expected, "{text:?}");
    if let (Some(time), Some(0)) = (revision.time(), revision.suffix()) {
        assert_eq!(Revision::at(time).expect("a year that was read"), revision);
    }
    Some(revision)
}

/// The moment and the number of a name, by another way: what is printed as it was read is canonical.
fn moment(text: &str) -> Option<(OffsetDateTime, u32)> {
    let (bare, suffix) = match text.split_once('_') {
        Some((bare, digits)) => (
            bare,
            digits
                .parse()
                .ok()
                .filter(|suffix: &u32| suffix.to_string() == digits)?,
        ),
        None => (text, 0),
    };
    let has_number = text.contains('_');
    if has_number && !(1..=999_999_999).contains(&suffix) {
        return None;
    }
    let time = OffsetDateTime::parse(bare, &Rfc3339).ok()?;
    let is_utc = bare.ends_with('Z');
    (is_utc && time.format(&Rfc3339).ok()? == bare).then_some((time, suffix))
}

fn expected_order(one: &Revision, other: &Revision) -> Ordering {
    let key = |revision: &Revision| match revision.time() {
        Some(time) => (0, Some((time, revision.suffix())), String::new()),
        None => (1, None, revision.to_string()),
    };
    key(one).cmp(&key(other))
}
