//! What commands print. A reader that goes away, as `head` does, ends the output without an error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::Failure;

/// Prints to stdout; `false` when nobody reads it any more.
///
/// # Errors
/// When stdout cannot be written to.
pub(crate) fn print(text: impl Display) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::while_doing("cannot write to stdout", error)),
    }
}

/// Tells on stderr how far something is. Nothing can be done when that fails.
pub(crate) fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints to stdout the last thing that a command has to say.
///
/// # Errors
/// When stdout cannot be written to, except because nobody reads it any more.
pub(crate) fn finish(text: impl Display) -> Result<(), Failure> {
    print(text).map(|_| ())
}

/// Prints to stderr what is going on. Nothing can be done when that fails.
pub(crate) fn remark(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints why the process ends to stderr. Nothing can be done when that fails.
pub fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr().lock(), "error: {failure}");
}
