//! The two forms.

use std::fmt;
use std::str::FromStr;

use pocket_domain::Invalid;

/// In which form rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// Comma-separated values with a line of names.
    Csv,
}

impl Format {
    /// The name, which is also how names of files end.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// The media type of what is written.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            // RFC 4180, 3.
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// The form that a media type names, without its parameters and in lower case.
    pub fn of_media_type(essence: &str) -> Option<Self> {
        match essence {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Self::Ndjson)
            }
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err(Invalid::new("format", "must be csv or ndjson")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_its_name_and_its_media_type() {
        for format in [Format::Ndjson, Format::Csv] {
            assert_eq!(format.to_string().parse(), Ok(format));
            let essence = format.media_type().split(';').next().unwrap();
            assert_eq!(Format::of_media_type(essence), Some(format));
        }
        let error = "xml".parse::<Format>().unwrap_err();
        assert_eq!(error.to_string(), "format: must be csv or ndjson");
        assert_eq!(Format::of_media_type("application/json"), None);
    }
}
