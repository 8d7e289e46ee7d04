//! Cases of the filter in [`DeviceRepository::list`](crate::DeviceRepository::list).
#![allow(missing_docs, reason = "the name of a case is its documentation")]

use super::fixture::{a_device, by_name, came, device, found, new_token, record, tenant};
use crate::Storage;
use pocket_domain::{DeviceFilter, DeviceName, Label, Labels};

pub async fn a_label_filter_means_the_whole_label(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let labelled: [(&str, &[&str]); 5] = [
        ("one", &["north", "pump"]),
        ("two", &["North"]),
        ("three", &["northern"]),
        ("four", &["50%", "a\"b", "a\\b", "it's", "[x]"]),
        ("five", &[]),
    ];
    for (name, labels) in labelled {
        let mut device = a_device(acme, name);
        device.labels = Labels::parse(labels).unwrap();
        storage.devices.create(&device, new_token()).await.unwrap();
    }
    for (label, expected) in [
        ("north", vec!["one"]),
        ("pump", vec!["one"]),
        ("North", vec!["two"]),
        ("nort", vec![]),
        ("%", vec![]),
        ("50%", vec!["four"]),
        ("a\"b", vec!["four"]),
        ("a\\b", vec!["four"]),
        ("it's", vec!["four"]),
        ("[x]", vec!["four"]),
    ] {
        let filter = DeviceFilter { label: Some(Label::parse(label).unwrap()), ..Default::default() };
        assert_eq!(found(storage, acme, &filter).await, expected, "{label}");
    }
}

pub async fn a_name_filter_without_a_star_means_the_whole_name(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for name in ["pump", "Pump", "pump-1", "pümp"] {
        device(storage, acme, name).await;
    }
    for (pattern, expected) in [
        ("pump", vec!["pump"]),
        ("Pump", vec!["Pump"]),
        ("PUMP", vec![]),
        ("pum", vec![]),
        ("pümp", vec!["pümp"]),
        ("PÜMP", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(found(storage, acme, &by_name(pattern)).await, expected, "{pattern}");
    }
}

pub async fn a_star_in_a_name_filter_stands_for_any_text(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for name in ["pump", "pump-1", "big pump", "Pump-2", "aab", "é"] {
        device(storage, acme, name).await;
    }
    for (pattern, expected) in [
        ("*", vec!["pump", "pump-1", "big pump", "Pump-2", "aab", "é"]),
        ("**", vec!["pump", "pump-1", "big pump", "Pump-2", "aab", "é"]),
        ("pump*", vec!["pump", "pump-1"]),
        ("*pump", vec!["pump", "big pump"]),
        ("*pump*", vec!["pump", "pump-1", "big pump"]),
        ("*ump-*", vec!["pump-1", "Pump-2"]),
        ("p*m*1", vec!["pump-1"]),
        ("*a*b", vec!["aab"]),
        ("a*ab", vec!["aab"]),
        ("*é*", vec!["é"]),
        ("x*", vec![]),
    ] {
        assert_eq!(found(storage, acme, &by_name(pattern)).await, expected, "{pattern}");
    }
}

pub async fn only_the_star_is_special_in_a_name_filter(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let special = ["50%", "a_b", "a?b", "[ab]", "a\\b", "^a$", "it's", "]]"];
    for name in special.into_iter().chain(["500", "axb", "a"]) {
        device(storage, acme, name).await;
    }
    for name in special {
        assert_eq!(found(storage, acme, &by_name(name)).await, [name]);
        assert_eq!(found(storage, acme, &by_name(&format!("*{name}*"))).await, [name]);
    }
}

pub async fn a_name_filter_that_no_name_can_meet_finds_nothing(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let longest = "a".repeat(DeviceName::MAX_CHARS);
    device(storage, acme, &longest).await;
    assert_eq!(found(storage, acme, &by_name(&longest)).await, std::slice::from_ref(&longest));
    assert_eq!(
        found(storage, acme, &by_name(&"*a".repeat(DeviceName::MAX_CHARS))).await,
        std::slice::from_ref(&longest)
    );
    assert_eq!(found(storage, acme, &by_name(&"*".repeat(100_000))).await, [longest]);
    for pattern in ["a\0*".to_owned(), "a".repeat(100_000), "*a".repeat(100_000)] {
        assert!(found(storage, acme, &by_name(&pattern)).await.is_empty());
    }
}

pub async fn an_online_filter_tells_connected_devices_from_others(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    let on = device(storage, acme, "on").await;
    device(storage, acme, "off").await;
    record(storage, &[came(acme, on, 1)]).await;
    for (online, expected) in [(true, "on"), (false, "off")] {
        let filter = DeviceFilter { online: Some(online), ..Default::default() };
        assert_eq!(found(storage, acme, &filter).await, [expected]);
    }
}

pub async fn all_conditions_of_a_filter_must_hold(storage: &Storage) {
    let acme = tenant(storage, "acme").await;
    for (name, label, online) in
        [("pump-1", "north", true), ("pump-2", "south", true), ("pump-3", "north", false), ("fan", "north", true)]
    {
        let mut device = a_device(acme, name);
        device.labels = Labels::parse(&[label]).unwrap();
        storage.devices.create(&device, new_token()).await.unwrap();
        if online {
            record(storage, &[came(acme, device.id, 1)]).await;
        }
    }
    let filter = DeviceFilter {
        label: Some(Label::parse("north").unwrap()),
        name: Some("pump*".to_owned()),
        online: Some(true),
    };
    assert_eq!(found(storage, acme, &filter).await, ["pump-1"]);
}
