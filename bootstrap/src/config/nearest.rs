//! What somebody may have meant by a name that does not exist.

/// How alike two names must be, from 0 to 1, for one to be offered instead of the other.
const ALIKE: f64 = 0.6;

/// The end of a message about an unknown name: `; did you mean …?`, or nothing when no known name is near. A prefix that
/// all names share says nothing about which one was meant, so it is not compared.
pub(super) fn hint<'a>(name: &str, prefix: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let own = |name: &'a str| name.strip_prefix(prefix).unwrap_or(name);
    let name = name.strip_prefix(prefix).unwrap_or(name);
    let alike = |known: &'a str| strsim::normalized_damerau_levenshtein(name, own(known));
    known
        .into_iter()
        .map(|known| (known, alike(known)))
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map_or_else(String::new, |(known, _)| format!("; did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["api.port", "api.host", "mqtt.port"];
        assert_eq!(hint("api.prot", "", known), "; did you mean api.port?");
        assert_eq!(hint("mqt.port", "", known), "; did you mean mqtt.port?");
        assert_eq!(hint("colour", "", known), "");
        assert_eq!(hint("APP_LGO", "APP_", ["APP_LOG", "APP_MODE"]), "; did you mean APP_LOG?");
        assert_eq!(hint("APP_COLOUR", "APP_", ["APP_LOG", "APP_MODE"]), "");
    }
}
