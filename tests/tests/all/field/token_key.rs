//! A database that was brought to another place without its key.

use std::process::{Command, Stdio};

use pocket_tests::binary;

use super::stage::Stage;

#[tokio::test]
async fn a_database_without_its_token_key_is_refused_in_every_mode() {
    let mut stage = Stage::start().await;
    drop(stage.connected().await);
    assert!(stage.platform.stop().await.success());
    for mode in ["all", "api", "broker"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(stage.platform.data_dir().join("pocket.db"), dir.path().join("pocket.db")).unwrap();
        let mut process = Command::new(binary());
        process
            .args(["serve", "--mode", mode, "--set", "api.port=0", "--set", "mqtt.port=0", "--data-dir"])
            .arg(dir.path());
        let output = process.env_clear().stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{mode}: {told}");
        assert!(told.contains("POCKET_TOKEN_KEY") && told.contains("token-key adopt"), "{mode}: {told}");
        assert!(!dir.path().join("token-key").exists(), "{mode}: a key was made that nobody wants");
    }
}
