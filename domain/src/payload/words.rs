//! What is wrong with a text that is not JSON, in the words of whoever wrote the firmware.

use super::BYTE_ORDER_MARK;

/// The most bytes of a payload that are shown.
const SHOWN: usize = 64;
/// The most bytes of a payload that are shown when it is not text.
const SHOWN_BYTES: usize = 24;

/// The beginning of a payload for people: its text with control characters written out, or its bytes where it is no text.
pub fn beginning(payload: &[u8]) -> String {
    let text = match std::str::from_utf8(payload) {
        _ if payload.is_empty() => return "nothing".to_owned(),
        Ok(text) => text,
        Err(_) => {
            let bytes: Vec<String> = payload.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
            let more = if payload.len() > SHOWN_BYTES { " …" } else { "" };
            return format!("bytes {}{more}", bytes.join(" "));
        }
    };
    let end = (0..=SHOWN.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut shown = String::with_capacity(end + 3);
    for character in text[..end].chars() {
        if character.is_control() || BYTE_ORDER_MARK.contains(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    if end < text.len() {
        shown.push('…');
    }
    shown
}

/// What the parser says, and what it does not: which word, byte or quotation mark is in the way.
pub(super) fn explain(text: &str, error: &serde_json::Error) -> String {
    match hint(text, error) {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}

fn hint(text: &str, error: &serde_json::Error) -> Option<String> {
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        return Some(format!("there is a zero byte at byte {at}"));
    }
    let said = error.to_string();
    if said.contains("surrogate") || said.contains("hex escape") {
        return Some("half of a surrogate pair is no character".to_owned());
    }
    if said.contains("trailing comma") {
        return Some("a comma is not followed by anything".to_owned());
    }
    let at = offset(text, error);
    if said.starts_with("number out of range") {
        return Some("numbers are kept up to about 1.8e308".to_owned());
    }
    if let Some(word) = word_at(text, at) {
        return Some(if said.starts_with("key must be a string") {
            format!("keys need double quotes, as in \"{word}\"")
        } else {
            format!("`{word}` is no JSON value")
        });
    }
    let around = &text.as_bytes()[at.saturating_sub(1)..(at + 1).min(text.len())];
    around.contains(&b'\'').then(|| "keys and strings need double quotes".to_owned())
}

/// Where the parser stopped, in bytes; it counts lines and columns from 1.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line = lines.map(str::len).sum::<usize>();
    (line + error.column().saturating_sub(1)).min(text.len())
}

/// The word that is at a place or ends there, unless it is one that JSON has.
fn word_at(text: &str, at: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
    let begin = bytes[..at].iter().rposition(|byte| !is_word(byte)).map_or(0, |place| place + 1);
    let end = bytes[begin..].iter().position(|byte| !is_word(byte)).map_or(bytes.len(), |len| begin + len);
    let word = &text[begin..end];
    let is_a_name = word.bytes().any(|byte| byte.is_ascii_alphabetic()) && word.len() <= 32;
    (is_a_name && !matches!(word, "true" | "false" | "null")).then_some(word)
}
