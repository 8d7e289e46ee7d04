//! Reads a password file of Mosquitto: lines `user name:hash`, or `user name:password` of a file that `mosquitto_passwd -U` never saw.
//!
//! Lines are read as Mosquitto reads them: what begins with `#` and what is blank says nothing, blanks around names are no part of
//! them, and of two lines of one name the first counts. What Mosquitto skips in silence is told here with the number of its line.

use std::collections::HashMap;
use std::fmt;

use pocket_domain::{DevicePassword, DeviceUsername};

/// The most bytes of a line.
const MAX_LINE: usize = 4_096;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A line that says something.
pub(crate) struct Line<'a> {
    /// Its number, the first is 1.
    pub(crate) number: usize,
    /// What it says, or what is wrong with it.
    pub(crate) entry: Result<Entry<'a>, Wrong>,
}

/// A user name and what proves it.
pub(crate) struct Entry<'a> {
    pub(crate) username: DeviceUsername,
    pub(crate) secret: Secret<'a>,
}

/// What stands behind the colon.
pub(crate) enum Secret<'a> {
    /// `$` and the name of a method begin it.
    Hash(&'a str),
    /// A password in clear text.
    Plain(DevicePassword),
}

/// What is wrong with a line, and the user name if that is right. No password and no hash is repeated.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) username: Option<DeviceUsername>,
    pub(crate) reason: String,
}

/// The lines of a file that say something.
///
/// # Errors
/// When it is no text at all.
pub(crate) fn read(file: &[u8]) -> Result<Vec<Line<'_>>, &'static str> {
    if file.starts_with(b"\xFF\xFE") || file.starts_with(b"\xFE\xFF") {
        return Err("the file is UTF-16; write it as UTF-8");
    }
    let mut first_of = HashMap::new();
    let lines = file.strip_prefix(BOM).unwrap_or(file).split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.starts_with(b"#") && !line.trim_ascii().is_empty());
    Ok(lines
        .map(|(index, line)| {
            let number = index + 1;
            let entry = entry(line).and_then(|entry| match *first_of.entry(entry.username.clone()).or_insert(number) {
                first if first == number => Ok(entry),
                first => Err(wrong(Some(entry.username), format!("the user name is that of line {first} already"))),
            });
            Line { number, entry }
        })
        .collect())
}

fn wrong(username: Option<DeviceUsername>, reason: impl fmt::Display) -> Wrong {
    Wrong { username, reason: reason.to_string() }
}

fn entry(line: &[u8]) -> Result<Entry<'_>, Wrong> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE {
        return Err(wrong(None, format_args!("the line has more than {MAX_LINE} bytes")));
    }
    let line = std::str::from_utf8(line).map_err(|_| wrong(None, "the line is not UTF-8"))?;
    let (name, secret) =
        line.split_once(':').ok_or_else(|| wrong(None, "the line is not USERNAME:PASSWORD; it has no colon"))?;
    let username = DeviceUsername::parse(name.trim())
        .map_err(|invalid| wrong(None, format_args!("the user name {}", invalid.message)))?;
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(wrong(Some(username), "there is no password behind the colon"));
    }
    if names_a_method(secret) {
        return Ok(Entry { username, secret: Secret::Hash(secret) });
    }
    match DevicePassword::inherited(secret) {
        Ok(password) => Ok(Entry { username, secret: Secret::Plain(password) }),
        Err(invalid) => Err(wrong(Some(username), format_args!("the password {}", invalid.message))),
    }
}

/// Whether it begins like `$7$`, as a hash does. A password may begin with `$` too.
fn names_a_method(secret: &str) -> bool {
    let name = secret.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(name, _)| name);
    name.is_some_and(|name| {
        (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: &[u8]) -> Vec<String> {
        let line = |line: Line<'_>| match line.entry {
            Ok(Entry { username, secret: Secret::Hash(hash) }) => format!("{} {username} hash {hash}", line.number),
            Ok(Entry { username, secret: Secret::Plain(_) }) => format!("{} {username} plain", line.number),
            Err(Wrong { username, reason }) => {
                format!("{} {}: {reason}", line.number, username.map_or_else(String::new, |name| name.to_string()))
            }
        };
        read(file).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn lines_are_read_as_mosquitto_reads_them() {
        let file = "\u{feff}# made by hand\r\n\r\ntasmota-1:$7$101$a$b\r\n   \n  küche/licht : s3cret:with:colons \nshelly:$ecret\nweak:x\nlast:$argon2id$v=19$a";
        assert_eq!(
            told(file.as_bytes()),
            [
                "3 tasmota-1 hash $7$101$a$b",
                "5 küche/licht plain",
                "6 shelly plain",
                "7 weak plain",
                "8 last hash $argon2id$v=19$a"
            ]
        );
        assert!(told(b"").is_empty() && told(b"\xEF\xBB\xBF").is_empty() && told(b"# nothing\n").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_secrets() {
        let long = format!("long:{}\n", "x".repeat(MAX_LINE));
        let token = "in-form:7k3m-9q2x-vt4b\n7k3m-9q2x-vt4b:secret\n";
        let file = [
            "one\n",
            "one:secret1\n",
            "one:secret2\n",
            ":secret3\n",
            "two:\n",
            "two:  \r\n",
            &long,
            token,
            "a\tb:secret4",
        ];
        let mut file = file.concat().into_bytes();
        file.extend_from_slice(b"\nl\xE4mp:secret5\nlamp:secr\xE4t6\n0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f:secret7\n");
        assert_eq!(
            told(&file),
            [
                "1 : the line is not USERNAME:PASSWORD; it has no colon",
                "2 one plain",
                "3 one: the user name is that of line 2 already",
                "4 : the user name must be 1 to 128 bytes without control characters",
                "5 two: there is no password behind the colon",
                "6 two: there is no password behind the colon",
                "7 : the line has more than 4096 bytes",
                "8 in-form: the password must not have the form of a device token, xxxx-yyyy-zzzz",
                "9 : the user name must not have the form of a device token, xxxx-yyyy-zzzz",
                "10 : the user name must be 1 to 128 bytes without control characters",
                "11 : the line is not UTF-8",
                "12 : the line is not UTF-8",
                "13 : the user name must not have the form of a device id",
            ]
        );
        assert!(
            read(
                "a:b\n"
                    .encode_utf16()
                    .fold(vec![0xFF, 0xFE], |mut bytes, unit| {
                        bytes.extend(unit.to_le_bytes());
                        bytes
                    })
                    .as_slice()
            )
            .is_err()
        );
    }
}
