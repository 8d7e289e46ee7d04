//! The kind of a payload: payloads of one kind have leaves at the same paths, whatever their values are.
//!
//! Of rows of one kind on one topic only the last has to be read to know the last values of all. So it is told for each row that
//! is committed, and costs no more than a walk over its text.

/// What keys are multiplied with: the fraction of the golden ratio, as an odd number.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// The kind of a JSON text, as a hash of its keys and of how they are nested. An array is a leaf, so what is in it does not count.
pub(crate) fn kind(payload: &str) -> u64 {
    let (mut kind, mut arrays, mut at) = (FACTOR, 0_usize, 0);
    let text = payload.as_bytes();
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(text, at + 1);
                if arrays == 0 && is_key(&text[end..]) {
                    kind = with_key(kind, &text[at + 1..end]);
                }
                at = end;
            }
            b'[' => arrays += 1,
            b']' => arrays = arrays.saturating_sub(1),
            b'{' | b'}' if arrays == 0 => kind = mixed(kind, u64::from(*byte)),
            _ => {}
        }
        at += 1;
    }
    kind
}

/// Where the quotation mark is that ends a string, which begins at `at`; the length of the text where none is.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Whether what follows a string, from its quotation mark on, makes it a key.
fn is_key(rest: &[u8]) -> bool {
    rest.iter().skip(1).find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn with_key(mut kind: u64, key: &[u8]) -> u64 {
    for part in key.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        kind = mixed(kind, u64::from_le_bytes(word));
    }
    // So that keys are told from others that begin with them.
    mixed(kind, key.len() as u64)
}

fn mixed(kind: u64, word: u64) -> u64 {
    let mixed = (kind ^ word).wrapping_mul(FACTOR);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_with_the_same_keys_are_of_one_kind() {
        let kinds: &[&[&str]] = &[
            &["1", "-2.5e9", "true", "null", r#""text""#, r#""{\"a\":1}""#, "[1,2]", r#"[{"a":1}]"#, " 7 "],
            &[r#"{"a":1}"#, r#"{"a":-22.5}"#, r#"{ "a" : "text" }"#, r#"{"a":null}"#, r#"{"a":[{"b":1},"]"]}"#],
            &[r#"{"a":{}}"#],
            &["{}"],
            &[r#"{"b":1}"#],
            &[r#"{"a1":1}"#],
            &[r#"{"a2":1}"#],
            &[r#"{"":1}"#],
            &[r#"{"a":{"a":1}}"#, r#"{"a":{"a":"}"}}"#],
            &[r#"{"a":1,"b":{"c":2}}"#, r#"{"a":"\\","b":{"c":"\""}}"#],
            &[r#"{"a":1,"b":{},"c":2}"#],
            &[r#"{"a":{"b":1},"c":2}"#],
            &[r#"{"a":{"b":1,"c":2}}"#],
            &[r#"{"a":1,"a":1}"#],
            &[r#"{"a\"1":1}"#],
            &[r#"{"a\"2":1}"#],
            &[r#"{"abcdefgh":1}"#],
            &[r#"{"abcdefgh\u0000":1}"#],
            &[r#"{"abcdefghi":1}"#],
        ];
        for (number, payloads) in kinds.iter().enumerate() {
            for payload in *payloads {
                for (other_number, others) in kinds.iter().enumerate() {
                    for other in *others {
                        assert_eq!(kind(payload) == kind(other), number == other_number, "{payload} and {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn texts_that_end_too_early_have_a_kind() {
        for text in ["", "\"", "\"\\", "{\"a", "{\"a\\\"", "]]", "{\"a\":[", "}"] {
            kind(text);
        }
    }
}
