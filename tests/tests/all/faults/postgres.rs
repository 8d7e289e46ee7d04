//! A PostgreSQL server: killed, stopped, hanging, failing over, read-only, and one that does not let us in.

use std::time::Duration;

use pocket_tests::{Launch, PostgresServer};

use super::Site;

async fn site_on(server: &PostgresServer) -> Site {
    Site::start(Launch::default().set("database.url", &server.url())).await
}

#[tokio::test]
async fn a_server_that_is_killed_or_stopped_stalls_publishing_until_it_is_back() {
    let server = PostgresServer::start().await;
    let mut site = site_on(&server).await;
    server.kill().await;
    site.stalls(&["cannot be reached"]).await;
    server.start_again().await;
    site.goes_on().await;
    server.stop_at_once();
    site.stalls(&["cannot be reached"]).await;
    server.start_again().await;
    site.goes_on().await;
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_server_that_hangs_stalls_publishing_until_it_goes_on() {
    let server = PostgresServer::start().await;
    let mut site = site_on(&server).await;
    server.freeze();
    site.stalls(&["does not answer"]).await;
    server.thaw();
    site.goes_on().await;
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_lose_nothing_and_store_nothing_twice() {
    let server = PostgresServer::start().await;
    let mut site = site_on(&server).await;
    for _ in 0..10 {
        site.publish().await;
        server.cut_connections().await;
        site.mqtt.take_all(Duration::from_millis(20)).await.unwrap();
    }
    site.goes_on().await;
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_server_that_takes_no_writes_stalls_publishing_until_it_does() {
    let server = PostgresServer::start().await;
    let mut site = site_on(&server).await;
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    server.execute_all(&[read_only, "SELECT pg_reload_conf()"]).await;
    server.cut_connections().await;
    site.stalls(&["takes no writes"]).await;
    let writable = "ALTER SYSTEM RESET default_transaction_read_only";
    server.execute_all(&["SET default_transaction_read_only = off", writable, "SELECT pg_reload_conf()"]).await;
    site.goes_on().await;
    site.all_is_stored_once().await;
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_stalls_publishing_and_loses_nothing() {
    let server = PostgresServer::start().await;
    server.execute("CREATE ROLE pocket LOGIN SUPERUSER").await;
    let url = server.url().replace("postgres@", "pocket@");
    let mut site = Site::start(Launch::default().set("database.url", &url)).await;
    server.execute("ALTER ROLE pocket NOLOGIN").await;
    server.cut_connections().await;
    site.stalls(&["does not let this program work"]).await;
    server.execute("ALTER ROLE pocket LOGIN").await;
    site.goes_on().await;
    site.all_is_stored_once().await;
}
