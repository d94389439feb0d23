use crate::workspace::root;
use std::fs;
use std::io;

const BEGIN: &str = "<!-- measured: written by cargo xtask bench -->\n";
const END: &str = "<!-- end of what was measured -->\n";

/// Puts `measured` into the page, in the place of what was measured before; the rest is written by hand.
pub(super) fn update(measured: &str) -> io::Result<()> {
    let path = root().join("docs/performance.md");
    let page = replaced(&fs::read_to_string(&path)?, measured)
        .ok_or_else(|| io::Error::other("docs/performance.md has lost the marks around what is measured"))?;
    fs::write(path, page)
}

fn replaced(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{measured}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let page = format!("# Title\n{BEGIN}old\n{END}prose\n");
        let expected = format!("# Title\n{BEGIN}new\n{END}prose\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), expected);
        assert!(replaced("# Title\nprose\n", "new\n").is_none());
    }

    #[test]
    fn the_page_has_a_place_for_what_is_measured() {
        assert!(replaced(include_str!("../../../docs/performance.md"), "").is_some());
    }
}
