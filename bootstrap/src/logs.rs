//! Logs: `tracing` to stderr, so that stdout stays free for what a command prints.

use std::fmt::{self, Debug, Write};
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;

use crate::Failure;
use crate::config::{LogFormat, LogSettings};

/// Said before the configured filter, which may say otherwise: a migration is told by the storage adapter in one line.
const QUIET: &str = "sea_orm_migration=warn";

/// Begins to log. In a process that logs already, as one that embeds the platform may, nothing changes.
///
/// # Errors
/// When the filter is wrong, which a checked configuration rules out.
pub fn begin(settings: &LogSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", settings.filter))
        .map_err(|error| Failure::Usage(format!("POCKET_LOG={:?}: {error}", settings.filter)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match settings.format {
        LogFormat::Pretty => {
            let fields =
                format::debug_fn(|writer, field, value| write_field(writer, field.name(), value)).delimited(" ");
            builder.with_ansi(std::io::stderr().is_terminal()).fmt_fields(fields).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if begun.is_err() {
        tracing::debug!("this process logs already");
    }
    Ok(())
}

/// The longest value of a field that is shown, in characters.
const MOST_CHARS: usize = 4_096;

/// Writes a field on one line, whatever is in it: what others wrote may be part of any value, and must not pass for a line of its own, nor
/// colour the terminal.
fn write_field(writer: &mut dyn Write, name: &str, value: &dyn Debug) -> fmt::Result {
    if name != "message" {
        write!(writer, "{name}=")?;
    }
    let text = format!("{value:?}");
    let mut chars = text.chars();
    for char in chars.by_ref().take(MOST_CHARS) {
        let turns_text = matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if char.is_control() || turns_text {
            write!(writer, "{}", char.escape_default())?;
        } else {
            writer.write_char(char)?;
        }
    }
    if chars.next().is_some() { writer.write_char('…') } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str) -> String {
        let mut line = String::new();
        write_field(&mut line, name, &format_args!("{value}")).unwrap();
        line
    }

    #[test]
    fn no_value_begins_a_line_or_colours_it() {
        assert_eq!(shown("message", "password changed"), "password changed");
        assert_eq!(shown("topic", "a\n2026 INFO b\r"), "topic=a\\n2026 INFO b\\r");
        assert_eq!(shown("error", "\u{1b}[31mred\u{202e}"), "error=\\u{1b}[31mred\\u{202e}");
        assert_eq!(shown("name", "Grüße \"世界\" 🌡"), "name=Grüße \"世界\" 🌡");
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(shown("message", &"x".repeat(1 << 20)).chars().count(), MOST_CHARS + 1);
    }
}
