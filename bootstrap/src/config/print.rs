//! The effective configuration for people: a configuration file that has every value and says where it came from.

use std::fmt::Write;

use super::layers::Layers;
use super::origin::Origin;
use super::setting::{AnySetting, Secrecy};
use super::{SETTINGS, Settings, database};

/// Writes every setting as TOML with its origin as a comment. Secrets stand as comments without their value.
pub(super) fn effective(layers: &Layers, settings: &Settings) -> String {
    let mut text = String::new();
    let mut table = "";
    for setting in SETTINGS {
        let (section, key) = setting.about().key.rsplit_once('.').unwrap_or(("", setting.about().key));
        if section != table {
            table = section;
            text.push_str(&format!("\n[{table}]\n"));
        }
        let line = line(*setting, key, layers, settings);
        writeln!(text, "{line}").expect("writing to a String does not fail");
    }
    for bridge in &settings.bridges {
        let scheme = if bridge.tls.is_some() { "mqtts" } else { "mqtt" };
        let (name, url) = (quoted(&bridge.name), quoted(&format!("{scheme}://{}:{}", bridge.host, bridge.port)));
        text.push_str(&format!("\n[[bridge]]\nname = {name}\nurl = {url}\n# its other keys are not shown\n"));
    }
    text
}

fn line(setting: &dyn AnySetting, key: &str, layers: &Layers, settings: &Settings) -> String {
    let about = setting.about();
    let chosen = layers.chosen.get(about.name);
    let origin = chosen.map_or(Origin::Default, |chosen| chosen.origin.clone());
    let text = chosen.map_or(about.default, |chosen| &chosen.text);
    let worked_out = match about.name {
        "POCKET_WORKERS" => Some(settings.workers.to_string()),
        "POCKET_DATABASE_URL" => Some(settings.database.url.expose().to_owned()),
        _ => None,
    };
    match (about.secrecy, worked_out.as_deref().unwrap_or(text)) {
        (_, "") if about.default_shown.is_some() => {
            format!("# {key}: {}  ({origin})", about.default_shown.unwrap_or_default())
        }
        (Secrecy::Secret, _) => format!("# {key}: set, not shown  ({origin})"),
        (Secrecy::Address, text) => format!("{key} = {}  # {origin}", quoted(&database::without_secrets(text))),
        (Secrecy::Open, text) if setting.bounds().is_some() && !text.is_empty() => {
            format!("{key} = {text}  # {origin}")
        }
        (Secrecy::Open, text) => format!("{key} = {}  # {origin}", quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
