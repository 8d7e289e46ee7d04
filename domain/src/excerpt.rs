//! Text from outside, made fit for a line of the log.

use std::fmt::{self, Write};

/// The first characters of a text that somebody else wrote, escaped: nothing of it can end the line, colour it or pass for
/// another line. Every text from outside that goes into the log is shown by it.
#[derive(Clone, Copy)]
pub struct Excerpt<'a>(pub &'a str);

impl Excerpt<'_> {
    /// Characters that are shown; `…` stands for more.
    pub const MAX_CHARS: usize = 64;
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        f.write_char('"')?;
        for char in chars.by_ref().take(Self::MAX_CHARS) {
            write!(f, "{}", char.escape_debug())?;
        }
        f.write_char('"')?;
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_pass_for_another_line_is_escaped() {
        for (text, shown) in [
            ("ann", r#""ann""#),
            ("x\n2026 INFO y\r", r#""x\n2026 INFO y\r""#),
            ("\u{1b}[31m\"\u{202e}", r#""\u{1b}[31m\"\u{202e}""#),
            ("", r#""""#),
        ] {
            assert_eq!(Excerpt(text).to_string(), shown);
            assert_eq!(format!("{:?}", Excerpt(text)), shown);
        }
    }

    #[test]
    fn no_more_is_shown_than_the_first_characters() {
        assert_eq!(Excerpt(&"é".repeat(64)).to_string(), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(Excerpt(&"é".repeat(1_000_000)).to_string(), format!("\"{}\"…", "é".repeat(64)));
    }
}
