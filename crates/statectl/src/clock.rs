use time::OffsetDateTime;

/// The time by which ages are told.
#[expect(
    clippy::disallowed_methods,
    reason = "the program's one look at the clock; nothing is decided by it"
)]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
