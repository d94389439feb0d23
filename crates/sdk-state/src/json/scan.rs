//! Looks for the next byte that matters, eight bytes at a time.

#[inline]
pub(super) fn is_white(byte: u8) -> bool {
    byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The first byte from `at` on that is no white space, or the end.
#[inline]
pub(super) fn white_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|&byte| is_white(byte)) {
        at += 1;
        while word(bytes, at) == Some(EACH * u64::from(b' ')) {
            at += 8;
        }
    }
    at
}

/// Returns the position of the first quotation mark, backslash or control character from `at` on, or the end.
#[inline]
pub(super) fn special_in_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        // With its second bit flipped, a quotation mark is 0x20, and every other byte from 0x20 on is larger. The lowest
        // marked byte is always correct, and it is the first one: a borrow affects only higher bytes.
        let below_0x21 = (word ^ (EACH * 2)).wrapping_sub(EACH * 0x21);
        let backslash = (word ^ (EACH * u64::from(b'\\'))).wrapping_sub(EACH);
        let marked = (below_0x21 | backslash) & !word & (EACH << 7);
        if marked != 0 {
            return at + marked.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |&byte: &u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// A word with 1 in each byte.
const EACH: u64 = u64::from_ne_bytes([1; 8]);

/// Eight bytes, the first one lowest.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_wherever_its_quotation_mark_stands() {
        for length in 0..40 {
            for special in ["\"", "\\", "\n", "\0", "\u{1f}"] {
                for after in ["", "\"\\\n", "aaaaaaaaaaaa"] {
                    let text = format!("{}{special}{after}", "é".repeat(length));
                    assert_eq!(special_in_string(text.as_bytes(), 0), 2 * length);
                }
            }
            let plain = "\u{7f} ~!#[]\u{80}".repeat(length);
            assert_eq!(special_in_string(plain.as_bytes(), 0), plain.len());
        }
    }

    #[test]
    fn white_space_ends_wherever_something_else_stands() {
        for length in 0..40 {
            for (white, after) in [
                (" ", "x"),
                ("\n\t", "\u{b}"),
                ("\r", ""),
                (" \n", "\u{a0}         "),
            ] {
                let text = format!("{}{after}", white.repeat(length));
                assert_eq!(white_end(text.as_bytes(), 0), white.len() * length);
            }
        }
    }
}
