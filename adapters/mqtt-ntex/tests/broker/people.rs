//! People who connect with a bearer token: what their role lets them do, and when their access ends.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pocket_application::{LoginAttempt, NewAccessRule, NewUser, PasswordChange};
use pocket_auth::JwtIssuer;
use pocket_domain::{
    Effect, LoginId, Password, PayloadPolicy, Role, TenantId, Timestamp, TopicAction, TopicPattern, User, Username,
};
use pocket_ports::{Claims, Clock, SystemClock, TokenIssuer, UserUpdate};

use crate::packets::{self, connect3_with, connect5_with, field, publish3, publish5, subscribe3, subscribe5};
use crate::platform::{Platform, Socket};

const PASSWORD: &str = "a person's password";

/// Somebody with a bearer token.
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) token: String,
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The claims of a log-in at a time.
fn claims(user: &User, now: Timestamp) -> Claims {
    Claims {
        user_id: user.id,
        tenant_id: user.tenant_id,
        credential_version: user.credential_version,
        login: LoginId::new(now, [1; 10]),
        logged_in_at: now,
    }
}

impl Platform {
    /// Somebody of a tenant, `default` when none is named; the name is that of the role.
    pub(crate) async fn person(&self, tenant: Option<TenantId>, role: Role) -> Person {
        let username = Username::parse(&format!("a-{}", role.as_str())).unwrap();
        let new = NewUser { username, password: Password::parse(PASSWORD).unwrap(), role };
        let user = self.application.users.create(&self.admin, tenant, new).await.unwrap();
        let token = self.token(&user, Duration::from_secs(60));
        Person { user, token }
    }

    /// A bearer token that this platform accepts for so long.
    fn token(&self, user: &User, ttl: Duration) -> String {
        let now = SystemClock.now();
        JwtIssuer::new(&[7; 32], ttl).unwrap().issue(&claims(user, now), now, now.plus(ttl)).unwrap()
    }

    /// A connected person, by 3.1.1.
    pub(crate) async fn person3(&self, person: &Person, client_id: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.send(&connect3(person.user.username.as_str(), &person.token, client_id)).await;
        socket.expect(b"\x20\x02\0\0").await;
        socket
    }

    /// A connected person, by 5.0.
    pub(crate) async fn person5(&self, person: &Person, client_id: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.send(&connect5(person.user.username.as_str(), &person.token, client_id, b"")).await;
        let ack = socket.packet().await;
        assert_eq!((ack[0], ack[3]), (0x20, 0), "{ack:02x?}");
        socket
    }

    /// The reasons with which both versions refuse these credentials.
    async fn refusals(&self, username: &str, token: &str) -> (u8, u8) {
        let (mut old, mut modern) = (self.socket().await, self.socket().await);
        old.send(&connect3(username, token, "x")).await;
        modern.send(&connect5(username, token, "x", b"")).await;
        let reasons = (old.packet().await[3], modern.packet().await[3]);
        old.expect_closed().await;
        modern.expect_closed().await;
        reasons
    }
}

fn connect3(username: &str, token: &str, client_id: &str) -> Vec<u8> {
    connect3_with(0xc2, 0, client_id, &[username.as_bytes(), token.as_bytes()])
}

fn connect5(username: &str, token: &str, client_id: &str, properties: &[u8]) -> Vec<u8> {
    connect5_with(0xc2, 0, properties, client_id, &field(username.as_bytes()), &field(token.as_bytes()))
}

#[tokio::test]
async fn a_person_connects_with_their_name_and_the_token_of_a_log_in() {
    let platform = Platform::start().await;
    let attempt = LoginAttempt {
        tenant: None,
        username: "admin".to_owned(),
        password: "a long enough password".to_owned(),
        source: LOCALHOST,
    };
    let session = platform.application.auth.login(attempt).await.unwrap();
    let admin = Person { user: session.user, token: session.token };
    platform.person3(&admin, "x").await.expect_nothing().await;
    platform.person5(&admin, "x").await.expect_nothing().await;
}

#[tokio::test]
async fn nothing_tells_a_wrong_name_from_a_wrong_token() {
    let platform = Platform::start().await;
    let person = platform.person(None, Role::Operator).await;
    let (name, token) = (person.user.username.as_str(), person.token.as_str());
    let expired = {
        let (then, ttl) = (Timestamp::from_millis(1_700_000_000_000).unwrap(), Duration::from_secs(60));
        let issuer = JwtIssuer::new(&[7; 32], ttl).unwrap();
        issuer.issue(&claims(&person.user, then), then, then.plus(ttl)).unwrap()
    };
    let id = person.user.id.to_string();
    for (name, token) in
        [("admin", token), (&id, token), ("jwt", token), (name, &expired), (name, "a.b.c"), (name, ".")]
    {
        assert_eq!(platform.refusals(name, token).await, (4, 0x86), "{name} {token}");
    }
    let mut socket = platform.socket().await;
    socket.send(&connect3_with(0x82, 0, "x", &[token.as_bytes()])).await;
    socket.expect(b"\x20\x02\0\x04").await;
}

#[tokio::test]
async fn failed_attempts_of_a_person_are_limited() {
    let platform = Platform::start().await;
    let person = platform.person(None, Role::Operator).await;
    let name = person.user.username.as_str();
    // As long as bearer tokens are, and so no password. Thirty for an account; each look is two.
    let token = format!("a.{}.c", "b".repeat(300));
    for _ in 0..15 {
        assert_eq!(platform.refusals(name, &token).await, (4, 0x86));
    }
    assert_eq!(platform.refusals(name, &token).await, (3, 0x97));
    // Who proves to be that person is heard all the same.
    platform.person3(&person, "x").await.expect_nothing().await;
    let other = platform.person(None, Role::Viewer).await;
    platform.person3(&other, "y").await.expect_nothing().await;
}

#[tokio::test]
async fn a_viewer_listens_and_publishes_nothing() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let viewer = platform.person(None, Role::Viewer).await;
    let (mut old, mut modern) = (platform.person3(&viewer, "3").await, platform.person5(&viewer, "5").await);
    let mut watcher = platform.v3(&device, "w").await;
    for socket in [&mut old, &mut watcher] {
        socket.send(&subscribe3(1, &[("#", 0)])).await;
        socket.expect(b"\x90\x03\0\x01\0").await;
    }
    modern.send(&publish5(1, "a", 1, b"", b"1")).await;
    modern.expect(b"\x40\x03\0\x01\x87").await;
    modern.send(&publish5(2, "a", 2, b"", b"1")).await;
    modern.expect(b"\x50\x03\0\x02\x87").await;
    old.send(&publish3(1, "a", 1, b"1")).await;
    old.expect(b"\x40\x02\0\x01").await;
    watcher.expect_nothing().await;
    let mut device = platform.v3(&device, "p").await;
    device.send(&publish3(0, "a", 0, b"2")).await;
    old.expect(&publish3(0, "a", 0, b"2")).await;
    assert_eq!(platform.broker.stats().denied, 3);
}

#[tokio::test]
async fn the_will_of_a_viewer_is_refused() {
    let platform = Platform::start().await;
    let viewer = platform.person(None, Role::Viewer).await;
    let fields = [b"state".as_slice(), b"1", viewer.user.username.as_str().as_bytes(), viewer.token.as_bytes()];
    let mut socket = platform.socket().await;
    socket.send(&connect3_with(0xc6, 0, "x", &fields)).await;
    socket.expect(b"\x20\x02\0\x05").await;
}

#[tokio::test]
async fn what_an_operator_publishes_is_routed_and_retained_and_is_not_telemetry() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let mut listener = platform.v3(&device, "l").await;
    listener.send(&subscribe3(1, &[("set/#", 1)])).await;
    listener.expect(b"\x90\x03\0\x01\x01").await;
    for (id, role) in [(1, Role::Operator), (2, Role::Admin), (3, Role::PlatformAdmin)] {
        let person = platform.person(None, role).await;
        let mut socket = platform.person5(&person, "x").await;
        let mut retained = publish5(1, "set/valve", 1, b"", b"{\"open\":true}");
        retained[0] |= 1;
        socket.send(&retained).await;
        socket.expect(b"\x40\x02\0\x01").await;
        listener.expect(&publish3(1, "set/valve", id, b"{\"open\":true}")).await;
        let mut later = platform.v3(&device, "late").await;
        later.send(&subscribe3(1, &[("set/+", 0)])).await;
        later.expect(b"\x90\x03\0\x01\0").await;
        let mut kept = publish3(0, "set/valve", 0, b"{\"open\":true}");
        kept[0] |= 1;
        later.expect(&kept).await;
    }
    let mut device_socket = platform.v3(&device, "p").await;
    device_socket.send(&publish3(1, "mine", 1, b"1")).await;
    device_socket.expect(b"\x40\x02\0\x01").await;
    let rows = platform.application.storage.telemetry.range(device.tenant, &Default::default()).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.topic.as_str()).collect::<Vec<_>>(), ["mine"]);
}

#[tokio::test]
async fn a_persons_payload_is_checked_as_a_devices_is() {
    let platform = Platform::start().await;
    let person = platform.person(None, Role::Operator).await;
    let mut socket = platform.person5(&person, "x").await;
    socket.send(&publish5(1, "t", 1, b"", b"{not json")).await;
    let ack = socket.packet().await;
    assert_eq!((ack[0], ack[4]), (0x40, 0x99), "{ack:02x?}");
    let tenant = platform.tenant("loose", PayloadPolicy::Any).await;
    let person = platform.person(Some(tenant), Role::Operator).await;
    let mut socket = platform.person5(&person, "x").await;
    socket.send(&publish5(1, "t", 1, b"", b"{not json")).await;
    socket.expect(b"\x40\x02\0\x01").await;
}

#[tokio::test]
async fn people_of_different_tenants_never_meet() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("other", PayloadPolicy::Json).await;
    let (here, there) = (platform.person(None, Role::Admin).await, platform.person(Some(tenant), Role::Admin).await);
    let root = platform.person(None, Role::PlatformAdmin).await;
    let mut listeners = Vec::new();
    for person in [&here, &root] {
        let mut socket = platform.person3(person, "same").await;
        socket.send(&subscribe3(1, &[("#", 0)])).await;
        socket.expect(b"\x90\x03\0\x01\0").await;
        listeners.push(socket);
    }
    // The same client id takes nothing over in another tenant or from another person.
    let mut foreign = platform.person5(&there, "same").await;
    foreign.send(&publish5(1, "t", 1, b"", b"1")).await;
    foreign.expect(b"\x40\x02\0\x01").await;
    for socket in &mut listeners {
        socket.expect_nothing().await;
    }
}

#[tokio::test]
async fn rules_of_the_tenant_hold_for_people_and_those_of_a_device_do_not() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    for (device_id, topic) in [(None, "secret/#"), (None, "devices/%d/#"), (Some(device.id), "a/#")] {
        let topic = TopicPattern::parse(topic).unwrap();
        let new = NewAccessRule { device_id, effect: Effect::Deny, action: TopicAction::Publish, topic };
        platform.application.access_rules.create(&platform.admin, None, new).await.unwrap();
    }
    let person = platform.person(None, Role::Admin).await;
    let mut socket = platform.person5(&person, "x").await;
    let own = format!("devices/{}/x", person.user.id);
    for (topic, reason) in [("secret/x", 0x87), ("a/x", 0), (&own, 0)] {
        socket.send(&publish5(1, topic, 1, b"", b"1")).await;
        assert_eq!(packets::reason(&socket.packet().await), reason, "{topic}");
    }
}

#[tokio::test]
async fn a_persons_session_ends_with_the_connection() {
    let platform = Platform::start().await;
    let person = platform.person(None, Role::Operator).await;
    let name = person.user.username.as_str();
    let fields = [field(name.as_bytes()), field(person.token.as_bytes())];
    let mut socket = platform.socket().await;
    // A session that is to be kept for a minute.
    socket.send(&connect5_with(0xc0, 0, b"\x11\0\0\0\x3c", "x", &fields[0], &fields[1])).await;
    let ack = socket.packet().await;
    assert_eq!((ack[2], ack[3]), (0, 0));
    assert!(ack.windows(5).any(|bytes| bytes == b"\x11\0\0\0\0"), "{ack:02x?}");
    socket.send(&subscribe5(1, b"", &[("t", 1)])).await;
    socket.expect(b"\x90\x04\0\x01\0\x01").await;
    // The client may not know better at the end, and nothing comes of it.
    socket.send(b"\xe0\x07\0\x05\x11\0\0\0\x3c").await;
    socket.expect_closed().await;
    platform.eventually(|platform| platform.broker.stats().subscriptions == 0).await;
    for _ in 0..2 {
        let mut socket = platform.socket().await;
        socket.send(&connect3_with(0xc0, 0, "x", &[name.as_bytes(), person.token.as_bytes()])).await;
        socket.expect(b"\x20\x02\0\0").await;
        socket.send(b"\xe0\0").await;
        socket.expect_closed().await;
        platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    }
    assert_eq!(platform.broker.stats().sleeping_sessions, 0);
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    let platform = Platform::start().await;
    let mut person = platform.person(None, Role::Viewer).await;
    person.token = platform.token(&person.user, Duration::from_secs(2));
    let (mut old, mut modern) = (platform.person3(&person, "3").await, platform.person5(&person, "5").await);
    modern.expect_disconnect(0x87).await;
    old.expect_closed().await;
    assert_eq!(platform.broker.stats().revocations, 2);
}

#[tokio::test]
async fn a_person_who_is_removed_or_changed_is_disconnected() {
    let platform = Platform::start().await;
    let (users, admin) = (&platform.application.users, &platform.admin);
    let bystander = platform.person(None, Role::Admin).await;
    let mut other = platform.person3(&bystander, "x").await;
    let person = platform.person(None, Role::Operator).await;
    let id = person.user.id;

    let mut socket = platform.person5(&person, "x").await;
    let update = UserUpdate { role: Some(Role::Viewer), ..Default::default() };
    users.update(admin, None, id, update).await.unwrap();
    socket.expect_disconnect(0x87).await;

    // The token is still good, and gives what the new role gives.
    let mut socket = platform.person5(&person, "x").await;
    socket.send(&publish5(1, "a", 1, b"", b"1")).await;
    socket.expect(b"\x40\x03\0\x01\x87").await;
    let password = Password::parse("quite another password").unwrap();
    users.set_password(admin, None, id, PasswordChange { password, current: None, source: LOCALHOST }).await.unwrap();
    socket.expect_disconnect(0x87).await;
    assert_eq!(platform.refusals(person.user.username.as_str(), &person.token).await, (4, 0x86));

    let renewed = users.get(admin, None, id).await.unwrap();
    let person = Person { token: platform.token(&renewed, Duration::from_secs(60)), user: renewed };
    let mut socket = platform.person5(&person, "x").await;
    users.delete(admin, None, id).await.unwrap();
    socket.expect_disconnect(0x87).await;
    other.expect_nothing().await;
}

/// Logs the administrator in.
async fn log_in(platform: &Platform) -> Person {
    let (username, password) = ("admin".to_owned(), "a long enough password".to_owned());
    let attempt = LoginAttempt { tenant: None, username, password, source: LOCALHOST };
    let session = platform.application.auth.login(attempt).await.unwrap();
    Person { user: session.user, token: session.token }
}

#[tokio::test]
async fn connections_of_a_log_in_end_with_it_and_those_of_another_stay() {
    let platform = Platform::start().await;
    let auth = &platform.application.auth;
    let (first, other) = (log_in(&platform).await, log_in(&platform).await);
    let (mut ended, mut stays) = (platform.person5(&first, "a").await, platform.person5(&other, "b").await);
    let caller = auth.authenticate(&first.token).await.unwrap();
    auth.logout(&caller, false).await.unwrap();
    ended.expect_disconnect(0x87).await;
    assert_eq!(platform.refusals("admin", &first.token).await, (4, 0x86));
    stays.expect_nothing().await;
    // As another process does: in the database only.
    tokio::time::sleep(pocket_application::AccessWatch::POLL).await;
    let before = SystemClock.now();
    platform.application.storage.users.end_all_logins(other.user.tenant_id, other.user.id).await.unwrap();
    stays.expect_disconnect(0x87).await;
    assert!(SystemClock.now().since(before) < Duration::from_secs(5));
    assert_eq!(platform.refusals("admin", &other.token).await, (4, 0x86));
}

#[tokio::test]
async fn what_another_process_changes_about_a_person_takes_effect_here() {
    let platform = Platform::start().await;
    let users = &platform.application.storage.users;
    let person = platform.person(None, Role::Operator).await;
    let mut socket = platform.person5(&person, "x").await;
    // The log is read from the moment on at which the platform started to read it.
    tokio::time::sleep(pocket_application::AccessWatch::POLL).await;
    let before = SystemClock.now();
    // As another process does: in the database only.
    let update = UserUpdate { role: Some(Role::Admin), ..Default::default() };
    users.update(person.user.tenant_id, person.user.id, update).await.unwrap();
    socket.expect_disconnect(0x87).await;
    assert!(SystemClock.now().since(before) < Duration::from_secs(5));
}

#[tokio::test]
async fn the_people_of_a_deleted_tenant_are_disconnected() {
    let platform = Platform::start().await;
    let tenant = platform.tenant("gone", PayloadPolicy::Json).await;
    let person = platform.person(Some(tenant), Role::Admin).await;
    let mut socket = platform.person5(&person, "x").await;
    platform.application.tenants.delete(&platform.admin, tenant, Some("gone")).await.unwrap();
    socket.expect_disconnect(0x87).await;
}

#[tokio::test]
async fn a_person_is_not_a_device_that_is_online() {
    let platform = Platform::start().await;
    let device = platform.device("a").await;
    let person = platform.person(None, Role::Operator).await;
    let socket = platform.person3(&person, "x").await;
    platform.application.storage.devices.get(device.tenant, device.id).await.unwrap();
    socket.break_off();
    platform.eventually(|platform| platform.broker.stats().connections == 0).await;
    let device = platform.application.devices.get(&platform.admin, None, device.id).await.unwrap();
    assert!(!device.online && device.last_seen_at.is_none());
}
