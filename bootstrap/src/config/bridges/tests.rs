//! Tables of bridges, right and wrong.

use super::*;

fn read_text(text: &str) -> (Vec<BridgeSettings>, Vec<String>) {
    let table = text.parse::<toml::Table>().unwrap();
    let mut problems = Vec::new();
    let bridges = read(&table["bridge"], &Origin::File("FILE".into()), &mut problems);
    (bridges, problems.iter().map(ToString::to_string).collect())
}

const TOPICS: &str = "topics = [{ filter = '#', direction = 'out', remote_prefix = 'site/' }]";

#[test]
fn a_bridge_needs_a_name_an_address_and_topics() {
    let (bridges, problems) = read_text(&format!("[[bridge]]\nname = 'office'\nurl = 'mqtts://hub.example'\n{TOPICS}"));
    assert_eq!(problems, [""; 0]);
    let bridge = &bridges[0];
    assert_eq!((&*bridge.host, bridge.port, bridge.is_version_5, bridge.keep_alive), ("hub.example", 8_883, true, 60));
    assert_eq!(bridge.device, BridgeDeviceSetting::Named(DeviceName::parse("bridge office").unwrap()));
    assert_eq!((bridge.topics[0].qos, &*bridge.topics[0].remote_prefix), (1, "site/"));
}

#[test]
fn everything_that_is_wrong_is_named_with_its_bridge() {
    for (lines, words) in [
        ("name = 'Office'\nurl = 'mqtt://h'", "name must be"),
        ("name = 'a'\nurl = 'http://h'", "url must be mqtt://"),
        ("name = 'a'\nurl = 'mqtt://u:hunter2@h'", "password_file"),
        ("name = 'a'\nurl = 'mqtt://h'\nversion = '4'", "3.1.1"),
        ("name = 'a'\nurl = 'mqtt://h'\nuser = ''", "user must be"),
        ("name = 'a'\nurl = 'mqtt://h'\npasword = 'x'", "unknown field `pasword`"),
        ("name = 'a'\nurl = 'mqtt://h'\nca = 'x.pem'", "mqtts"),
        ("name = 'a'\nurl = 'mqtts://h'\nca = '/nowhere/x.pem'", "/nowhere/x.pem"),
        ("name = 'a'\nurl = 'mqtt://h'\npassword_file = '/nowhere/p'", "/nowhere/p"),
    ] {
        let (bridges, problems) = read_text(&format!("[[bridge]]\n{lines}\n{TOPICS}"));
        assert!(bridges.is_empty() && problems.iter().any(|problem| problem.contains(words)), "{lines}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("FILE: bridge ") && !problem.contains("hunter2")));
    }
    for (topic, words) in [
        ("{ filter = 'a/#/b', direction = 'in' }", "a/#/b"),
        ("{ filter = '#', direction = 'in', qos = 2 }", "qos must be 0 or 1"),
        ("{ filter = '#', direction = 'up' }", "up"),
        ("{ filter = '$SYS/#', direction = 'in' }", "must not begin with $"),
        ("{ filter = '#', direction = 'in', local_prefix = 'a/+/' }", "local_prefix"),
    ] {
        let (_, problems) = read_text(&format!("[[bridge]]\nname = 'a'\nurl = 'mqtt://h'\ntopics = [{topic}]"));
        assert!(problems.iter().any(|problem| problem.contains(words)), "{topic}: {problems:?}");
    }
}

#[test]
fn two_of_one_name_and_something_else_are_refused() {
    let one = format!("[[bridge]]\nname = 'a'\nurl = 'mqtt://h'\n{TOPICS}\n");
    assert!(read_text(&format!("{one}{one}")).1[0].contains("another of this name"));
    assert!(read_text("bridge = 'a'").1[0].contains("[[bridge]]"));
}

#[test]
fn secrets_come_from_the_environment_too() {
    let (mut bridges, _) = read_text(&format!("[[bridge]]\nname = 'head-office'\nurl = 'mqtt://h'\n{TOPICS}"));
    let variables = [
        ("POCKET_BRIDGE_HEAD_OFFICE_USER", "me"),
        ("POCKET_BRIDGE_HEAD_OFFICE_PASSWORD", "x"),
        ("POCKET_BRIDGE_OTHER_USER", "y"),
    ];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    lay_environment(&mut bridges, &variables, &mut problems, &mut warnings);
    assert_eq!((bridges[0].user.as_deref(), bridges[0].password.as_ref().map(Secret::expose)), (Some("me"), Some("x")));
    assert!(problems.is_empty() && warnings.len() == 1 && warnings[0].contains("POCKET_BRIDGE_OTHER_USER"));
}
