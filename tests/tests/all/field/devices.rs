//! Messages of real devices and programs, in their documented forms: stored, delivered and found again.

use serde_json::Value;

use super::stage::{Connect, Stage};

/// What some devices and programs publish: topic, payload, a key with the value that `latest` has, and the rows that it makes.
const MESSAGES: &[(&str, &[u8], &str, &str, usize)] = &[
    ("zigbee2mqtt/kitchen", br#"{"battery":97,"linkquality":120,"temperature":21.53}"#, "temperature", "21.53", 1),
    ("zigbee2mqtt/bridge/state", br#"{"state":"online"}"#, "state", "\"online\"", 1),
    ("tele/plug/LWT", b"Online", "$", "\"Online\"", 1),
    (
        "tele/plug/SENSOR",
        br#"{"Time":"2026-11-25T12:00:00","ENERGY":{"Power":12,"Voltage":230}}"#,
        "ENERGY.Power",
        "12",
        1,
    ),
    ("stat/plug/POWER", b"OFF", "$", "\"OFF\"", 1),
    ("shellies/relay/relay/0/power", b"38.51", "$", "38.51", 1),
    ("shellies/relay/relay/0", b"on", "$", "\"on\"", 1),
    (
        "shellyplus1/events/rpc",
        br#"{"src":"shellyplus1","method":"NotifyStatus","params":{"ts":1764000000.12,"switch:0":{"apower":8.9}}}"#,
        "params.switch:0.apower",
        "8.9",
        1,
    ),
    ("esphome/debug", b"\x1b[0;36m[D][sensor:093]: 'T': Sending state 21.4\x1b[0m", "$", "", 1),
    ("esphome/sensor/temp/state", b"nan", "$", "\"nan\"", 1),
    (
        "owntracks/ann/phone",
        br#"{"_type":"location","lat":52.5,"lon":13.4,"tst":1764000000,"batt":88}"#,
        "batt",
        "88",
        1,
    ),
    (
        "v3/app@ttn/devices/d/up",
        br#"{"uplink_message":{"f_port":1,"decoded_payload":{"temp":4.5},"rx_metadata":[{"rssi":-100}]}}"#,
        "uplink_message.decoded_payload.temp",
        "4.5",
        1,
    ),
    (
        "application/1/device/a/event/up",
        br#"{"object":{"humidity":61},"rxInfo":[{"snr":7.5}]}"#,
        "object.humidity",
        "61",
        1,
    ),
    (
        "msh/EU_868/2/json/LongFast/!a",
        br#"{"from":1,"payload":{"voltage":4.1},"timestamp":1764000000,"type":"telemetry"}"#,
        "payload.voltage",
        "4.1",
        1,
    ),
    ("msh/EU_868/2/e/LongFast/!a", b"\x0a\x1c\x0d\xff\xfe", "base64", "\"ChwN//4=\"", 1),
    ("N/c0619ab/battery/258/Dc/0/Voltage", br#"{"value":26.1}"#, "value", "26.1", 1),
    ("N/c0619ab/pvinverter/20/Ac/Power", b"", "", "", 0),
    ("homie/lamp/$state", b"ready", "$", "\"ready\"", 1),
    ("homie/lamp/light/color", b"255,100,0", "$", "\"255,100,0\"", 1),
    ("ruuvi/gw/c0:ff", br#"{"gw_mac":"C0","rssi":-70,"ts":"1764000000","data":"0201061BFF"}"#, "rssi", "-70", 1),
    ("wled/strip/v", b"<?xml version=\"1.0\" ?><vs><ac>128</ac></vs>", "$", "", 1),
    ("wled/strip/g", b"128", "$", "128", 1),
    ("frigate/available", b"online", "$", "\"online\"", 1),
    ("frigate/door/person/snapshot", b"\xff\xd8\xff\xe0\x00\x10JFIF", "base64", "", 1),
    (
        "frigate/events",
        br#"{"type":"new","before":{"score":0.7},"after":{"score":0.8,"area":1200}}"#,
        "after.area",
        "1200",
        1,
    ),
    (
        "homeassistant/sensor/x/config",
        br#"{"name":"X","state_topic":"x/state","unit_of_measurement":"\u00b0C"}"#,
        "name",
        "\"X\"",
        1,
    ),
    (
        "v1/devices/me/telemetry",
        br#"[{"ts":1764000000000,"values":{"rpm":900}},{"ts":1764000001000,"values":{"rpm":910}}]"#,
        "rpm",
        "910",
        2,
    ),
    ("openWB/global/WHouseConsumption", b"431", "$", "431", 1),
    ("rtl_433/host/devices/Acurite/1/temperature_C", b"4.500000", "$", "4.500000", 1),
    ("ems-esp/boiler_data", br#"{"outdoortemp":3.2,"heatingactive":"on"}"#, "outdoortemp", "3.2", 1),
    ("valetudo/robot/BatteryStateAttribute/level", b"100", "$", "100", 1),
    ("espresense/devices/phone/hall", br#"{"id":"phone","distance":1.83,"rssi":-65}"#, "distance", "1.83", 1),
];

#[tokio::test]
async fn messages_of_real_devices_are_delivered_stored_and_found_in_latest() {
    let stage = Stage::start().await;
    let mut listener = stage.connected().await;
    listener.subscribe("#").await;
    let connect = Connect { client_id: "two".to_owned(), ..Connect::of(&stage.device.id, &stage.device.token) };
    let mut wire = stage.accepted(&connect).await;
    let mut rows = 0;
    for (topic, payload, key, value, made) in MESSAGES {
        assert!(wire.publish(topic, payload).await, "{topic}");
        assert_eq!(listener.message().await, (false, (*topic).to_owned(), payload.to_vec()));
        rows += made;
        let stored = stage.admin.telemetry(&format!("topic={}", topic.replace('#', "%23").replace('!', "%21"))).await;
        assert_eq!(stored.len(), *made, "{topic}");
        if *made == 0 || value.is_empty() {
            continue;
        }
        let latest = stage.admin.get(&format!("/api/v1/devices/{}/latest", stage.device.id)).await.expect(200);
        let expected: Value = serde_json::from_str(value).unwrap();
        let found = latest["data"].as_array().unwrap().iter().find(|entry| entry["key"] == *key);
        assert_eq!(found.map(|entry| &entry["value"]), Some(&expected), "{topic}: {latest}");
    }
    assert_eq!(stage.rows().await.len(), rows);
    let device = stage.admin.get(&format!("/api/v1/devices/{}", stage.device.id)).await.expect(200);
    assert_eq!(device["lastRejection"], Value::Null);
}
