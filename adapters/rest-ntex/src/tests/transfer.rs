//! Exports and imports, as far as no socket is needed.

use std::io::Read;

use ntex::http::Response;
use ntex::web::test::TestRequest;
use serde_json::{Value, json};

use super::platform::{Platform, Reply};
use crate::extract::Shared;

const EXPORT: &str = "/api/v1/telemetry/export";
const IMPORT: &str = "/api/v1/telemetry/import";

async fn start() -> (Platform, String, String) {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let device = platform.device(&admin, "a").await;
    (platform, admin, device)
}

async fn import(platform: &Platform, token: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = TestRequest::post().uri(IMPORT).header("content-type", media_type);
    platform.send(request.header("authorization", format!("Bearer {token}")).set_payload(body.into())).await
}

fn line(device: &str, n: u64) -> String {
    json!({"deviceId": device, "topic": "a/b", "payload": n, "timestamp": n}).to_string() + "\n"
}

#[ntex::test]
async fn an_export_has_all_rows_in_the_form_asked_for() {
    let (platform, admin, device) = start().await;
    let entries: Value = (0..3)
        .map(|n| json!({"deviceId": device, "topic": format!("t/{n}"), "payload": {"n": n}, "timestamp": n}))
        .collect();
    platform.post(&admin, "/api/v1/telemetry", entries).await.expect(201);
    let rows = platform.get(&admin, "/api/v1/telemetry?order=asc").await.expect(200)["data"].clone();
    let export = platform.get(&admin, EXPORT).await;
    assert_eq!((export.status, export.header("content-type")), (200, "application/x-ndjson"));
    assert_eq!(export.header("content-disposition"), "attachment; filename=\"telemetry.ndjson\"");
    assert_eq!((export.header("vary"), export.header("content-encoding")), ("Accept-Encoding", ""));
    let lines: Value = export.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert_eq!(lines, rows);
    let export = platform.get(&admin, &format!("{EXPORT}?format=csv&topic=t/1&deviceId={device}&from=1&to=2")).await;
    assert_eq!(export.header("content-type"), "text/csv; charset=utf-8; header=present");
    let (time, received) = ("1970-01-01T00:00:00.001Z", "2027-01-15T08:00:00.000Z");
    let id = rows[1]["id"].as_str().unwrap();
    let expected = format!("{id},{device},t/1,\"{{\"\"n\"\":1}}\",{time},{received}");
    assert_eq!(export.text, format!("id,deviceId,topic,payload,timestamp,receivedAt\r\n{expected}\r\n"));
    let empty = platform.get(&admin, &format!("{EXPORT}?format=csv&topic=none")).await;
    assert_eq!(empty.text, "id,deviceId,topic,payload,timestamp,receivedAt\r\n");
}

#[ntex::test]
async fn an_export_is_compressed_for_those_who_accept_it() {
    let (platform, admin, device) = start().await;
    let lines: String = (0..3_000).map(|n| line(&device, n)).collect();
    import(&platform, &admin, "application/x-ndjson", lines).await.expect(200);
    let ask = async |accept: &str| {
        let request = TestRequest::with_uri(EXPORT).header("authorization", format!("Bearer {admin}"));
        let mut response: Response = platform.respond(request.header("accept-encoding", accept)).await;
        let encoding = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        (encoding, Reply::bytes(&mut response).await)
    };
    let (plain, text) = ask("gzip;q=0, br").await;
    assert_eq!(plain, None);
    let (encoding, bytes) = ask("br, gzip;q=0.5").await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert!(bytes.len() * 4 < text.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == text);
    // And back in.
    let request = TestRequest::post().uri(IMPORT).header("content-type", "application/x-ndjson");
    let request = request.header("authorization", format!("Bearer {admin}")).header("content-encoding", "gzip");
    let reply = platform.send(request.set_payload(bytes)).await;
    assert_eq!(reply.expect(200), json!({"rows": 3_000, "stored": 0, "present": 3_000}));
}

#[ntex::test]
async fn wrong_questions_are_refused_with_what_is_allowed() {
    let (platform, admin, _) = start().await;
    for (query, field, message) in [
        ("format=xml", "format", "must be csv or ndjson"),
        ("from=2&to=1", "from", "must not be after to, which is 1970-01-01T00:00:00.001Z"),
        ("from=soon", "from", "must be RFC 3339"),
        ("topic=a%23", "topic", "#"),
        ("limit=5", "limit", "unknown field"),
    ] {
        let reply = platform.get(&admin, &format!("{EXPORT}?{query}")).await;
        assert_eq!(reply.problem(422, "INVALID"), [field], "{query}");
        assert!(reply.json()["errors"][0]["message"].as_str().unwrap().contains(message), "{}", reply.text);
    }
    let unknown = "deviceId=0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f";
    platform.get(&admin, &format!("{EXPORT}?{unknown}")).await.problem(404, "NOT_FOUND");
    platform.get("", EXPORT).await.problem(401, "UNAUTHENTICATED");
}

#[ntex::test]
async fn the_head_of_an_export_has_no_rows() {
    let (platform, admin, device) = start().await;
    import(&platform, &admin, "application/x-ndjson", line(&device, 1)).await.expect(200);
    let head = platform.call(&admin, "HEAD", &format!("{EXPORT}?format=csv"), Value::Null).await;
    assert_eq!((head.status, &*head.text), (200, ""));
    assert_eq!(head.header("content-type"), "text/csv; charset=utf-8; header=present");
}

#[ntex::test]
async fn so_many_exports_are_under_way_and_no_more() {
    let (platform, admin, device) = start().await;
    import(&platform, &admin, "application/x-ndjson", line(&device, 1)).await.expect(200);
    let ask = || TestRequest::with_uri(EXPORT).header("authorization", format!("Bearer {admin}"));
    let mut under_way = Vec::new();
    for _ in 0..Shared::TRANSFERS / 2 {
        under_way.push(platform.respond(ask()).await);
    }
    let refused = platform.send(ask()).await;
    refused.problem(503, "UNAVAILABLE");
    assert!(
        refused.text.contains("4 exports of the tenant at once") && refused.header("retry-after") == "5",
        "{}",
        refused.text
    );
    under_way.pop();
    assert_eq!(platform.send(ask()).await.text.lines().count(), 1);
    for mut response in under_way {
        assert!(!Reply::bytes(&mut response).await.is_empty());
    }
}

#[ntex::test]
async fn who_may_read_may_export_and_who_may_write_may_import() {
    let (platform, admin, device) = start().await;
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let tenant = json!({"id": me["tenantId"], "name": "default"});
    for (role, status) in [("viewer", 403), ("operator", 200)] {
        let user = platform.user(&admin, &tenant, role).await;
        assert_eq!(platform.get(&user, EXPORT).await.status, 200);
        assert_eq!(import(&platform, &user, "application/x-ndjson", line(&device, 1)).await.status, status);
    }
    let acme = platform.tenant(&admin, "acme").await;
    let stranger = platform.user(&admin, &acme, "admin").await;
    assert_eq!(platform.get(&stranger, EXPORT).await.text, "");
    let reply = import(&platform, &stranger, "application/x-ndjson", line(&device, 2)).await;
    assert_eq!(reply.problem(422, "INVALID"), ["line 1, deviceId"]);
    let elsewhere = format!("{EXPORT}?tenantId={}", tenant["id"].as_str().unwrap());
    platform.get(&stranger, &elsewhere).await.problem(403, "FORBIDDEN");
}

#[ntex::test]
async fn an_import_can_be_repeated() {
    let (platform, admin, device) = start().await;
    let lines: String = (0..2_500).map(|n| line(&device, n)).collect();
    for (stored, present) in [(2_500, 0), (0, 2_500)] {
        let reply = import(&platform, &admin, "application/x-ndjson", lines.clone()).await;
        assert_eq!(reply.expect(200), json!({"rows": 2_500, "stored": stored, "present": present}));
    }
    let csv = platform.get(&admin, &format!("{EXPORT}?format=csv")).await.text;
    let reply = import(&platform, &admin, "text/csv; charset=utf-8", csv).await;
    assert_eq!(reply.expect(200), json!({"rows": 2_500, "stored": 0, "present": 2_500}));
    let nothing = import(&platform, &admin, "application/x-ndjson", "").await;
    assert_eq!(nothing.expect(200), json!({"rows": 0, "stored": 0, "present": 0}));
}

#[ntex::test]
async fn the_time_of_arrival_is_kept_unless_it_is_in_the_future() {
    let (platform, admin, device) = start().await;
    let row = |n: u64, received: &str| {
        format!("{{\"deviceId\":\"{device}\",\"topic\":\"a\",\"payload\":{n},\"timestamp\":{n}{received}}}\n")
    };
    let future = row(2, ",\"receivedAt\":\"2099-01-01T00:00:00Z\"");
    let body = row(0, "") + &row(1, ",\"receivedAt\":5,\"id\":\"x\"") + &future;
    import(&platform, &admin, "application/jsonl", body).await.expect(200);
    let rows = platform.get(&admin, "/api/v1/telemetry?order=asc").await.expect(200);
    let received: Vec<&Value> = rows["data"].as_array().unwrap().iter().map(|row| &row["receivedAt"]).collect();
    assert_eq!(received, ["2027-01-15T08:00:00.000Z", "1970-01-01T00:00:00.005Z", "2027-01-15T08:00:00.000Z"]);
}

#[ntex::test]
async fn a_wrong_line_is_named_and_its_batch_is_not_stored() {
    let (platform, admin, device) = start().await;
    let right = |range: std::ops::Range<u64>| range.map(|n| line(&device, n)).collect::<String>();
    let wrong = [
        (line("0192f3c8-7b1a-7cc2-9d0e-0a1b2c3d4e5f", 5), "line 2018, deviceId", "is not a device of this tenant"),
        (line(&device, 5).replace("a/b", "$SYS/x"), "line 2018, topic", "must not begin with $"),
        (line(&device, 5).replace("a/b", "#"), "line 2018, topic", "must not contain"),
        (
            line(&device, 5).replace("\"payload\":5", &format!("\"payload\":\"{}\"", "x".repeat(65_537))),
            "line 2018, payload",
            "65536",
        ),
        (line(&device, 5).replace(",\"timestamp\":5", ""), "line 2018, timestamp", "is needed"),
        ("{\n".to_owned(), "line 2018", "is not JSON"),
    ];
    for (wrong, field, message) in wrong {
        let body = right(0..2_017) + &wrong + &right(3_000..3_010);
        let reply = import(&platform, &admin, "application/x-ndjson", body).await;
        assert_eq!(reply.problem(422, "INVALID"), [field]);
        assert!(reply.json()["errors"][0]["message"].as_str().unwrap().contains(message), "{}", reply.text);
        assert!(reply.json()["detail"].as_str().unwrap().contains("earlier batches had 2000 rows: "), "{}", reply.text);
        let exported = platform.get(&admin, EXPORT).await.text;
        assert_eq!(exported.lines().count(), 2_000);
    }
}

#[ntex::test]
async fn what_cannot_be_read_is_refused_with_what_can() {
    let (platform, admin, device) = start().await;
    for media_type in ["", "application/json", "text/plain", "text/csv; charset=latin1"] {
        let reply = import(&platform, &admin, media_type, line(&device, 1)).await;
        reply.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        assert!(reply.text.contains("application/x-ndjson or text/csv"), "{}", reply.text);
    }
    let request = || {
        let request = TestRequest::post().uri(IMPORT).header("content-type", "application/x-ndjson");
        request.header("authorization", format!("Bearer {admin}"))
    };
    let reply = platform.send(request().header("content-encoding", "br").set_payload("x")).await;
    reply.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let reply = platform.send(request().header("content-encoding", "gzip").set_payload(line(&device, 1))).await;
    reply.problem(400, "BAD_REQUEST");
}

#[ntex::test]
async fn a_payload_that_is_no_json_is_for_those_who_allow_it() {
    let (platform, admin, device) = start().await;
    let csv = format!("timestamp,payload,topic,deviceId\n1,21.5 C,a,{device}\n");
    let me = platform.get(&admin, "/api/v1/auth/me").await.expect(200);
    let path = format!("/api/v1/tenants/{}", me["tenantId"].as_str().unwrap());
    let set = async |policy: &str| {
        platform.call(&admin, "PATCH", &path, json!({"payloadPolicy": policy})).await.expect(200);
    };
    set("json").await;
    let reply = import(&platform, &admin, "text/csv", csv.clone()).await;
    assert_eq!(reply.problem(422, "INVALID"), ["line 2, payload"]);
    set("any").await;
    for stored in [1, 0] {
        let reply = import(&platform, &admin, "text/csv", csv.clone()).await.expect(200);
        assert_eq!(reply["stored"], stored);
    }
    assert!(platform.get(&admin, EXPORT).await.text.contains(r#""payload":{"raw":"21.5 C"}"#));
}
