/// A name with more typing errors than this counts as a different name.
const MOST_TYPING_ERRORS: usize = 2;

/// The known name that a mistyped one is closest to.
pub(crate) fn nearest<T: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let with_distance = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name.as_ref()), name));
    let (distance, name) = with_distance.min_by_key(|(distance, _)| *distance)?;
    (distance <= MOST_TYPING_ERRORS).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_allows_two_typing_errors() {
        let known = ["demo/prod", "demo/dev"];
        for (typed, near) in [
            ("demo/prodd", Some("demo/prod")),
            ("dmeo/dev", Some("demo/dev")),
            ("demo/rpdo", Some("demo/prod")),
            ("demo/staging", None),
            ("network/prod", None),
        ] {
            assert_eq!(nearest(typed, known), near, "{typed}");
        }
        assert_eq!(nearest("demo/prod", [""; 0]), None);
    }
}
