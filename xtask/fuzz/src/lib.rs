//! What the fuzz targets share. The targets lie in `src/bin`, one a file; each begins with the laws that it checks.

mod errors;
mod keys;
mod place;
pub mod sealing;

pub use errors::{SECRET, check_error, contains, in_kind, is_harmless};
pub use keys::{Rings, rings};
pub use place::{ID, REVISION, scratch, subject};
