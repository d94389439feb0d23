use crate::Error;
use serde_json::value::RawValue;

/// One JSON value, kept as the text that it was.
pub struct Json(Box<RawValue>);

impl Json {
    /// PLACEHOLDER
    pub fn parse(text: String) -> Result<Self, Error> {
        unimplemented!("{}", text.len())
    }
}

pub(crate) fn check(_text: &str, _max_depth: usize) -> Result<(), String> {
    Ok(())
}
