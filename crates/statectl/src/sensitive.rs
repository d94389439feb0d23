//! Which values are secret, and what is printed instead of them.

/// Printed instead of a sensitive value.
pub(crate) const MASK: &str = "(sensitive)";

/// Whether the member of this name is among the sensitive ones.
///
/// A name may also lead into a member, as `tags.token`: then the whole member is masked. Leading signs of path notations are
/// skipped, so that `/token` and `$.token` mask too.
pub(crate) fn is_sensitive(name: &str, sensitive: &[String]) -> bool {
    sensitive.iter().any(|sensitive| {
        sensitive
            .strip_prefix(name)
            .or_else(|| {
                sensitive
                    .trim_start_matches(['$', '/', '.', '[', '"', '\''])
                    .strip_prefix(name)
            })
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '/', '"', '\'', ']']))
    })
}
