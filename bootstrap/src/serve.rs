//! `serve`: the platform until somebody asks it to stop.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

use pocket_application::CreatedAdmin;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{LogFormat, Settings};
use crate::private_file::Unfinished;
use crate::{Failure, FirstPassword, Platform, StartBlock, console, open_files};

/// Threads that run queries and the ingest; SQLite and the transports have their own.
const RUNTIME_THREADS: usize = 2;

/// The file in the data directory that has the password of the first administrator, where the output is kept by programs.
const PASSWORD_FILE: &str = "first-password";

/// Where systemd names the device and the inode of the journal's end of an output.
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Serves until SIGTERM or SIGINT, then stops in order. A second signal ends the process at once. SIGHUP stops it in order when its
/// terminal is gone; of a service it asks for files to be read anew, which happens by itself.
///
/// # Errors
/// When the platform cannot start, or could not store everything before it stopped.
pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("storage")
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("cannot start a runtime", error))?;
    let result = runtime.block_on(serve(settings));
    runtime.shutdown_background();
    result
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let no_signals = |error| Failure::while_doing("cannot listen for signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let has_terminal = std::io::stdin().is_terminal();
    let platform = Platform::start(&settings).await?;
    console::finish(start_block(&settings, &platform)?)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if has_terminal {
                    break;
                }
                tracing::info!("SIGHUP: certificates are read again whenever their files change; other settings need a restart");
            }
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        result = platform.stop() => result,
        _ = terminate.recv() => Err(Failure::Other("stopped by a second signal".into())),
        _ = interrupt.recv() => Err(Failure::Other("stopped by a second signal".into())),
    }
}

fn start_block(settings: &Settings, platform: &Platform) -> Result<StartBlock, Failure> {
    let admin = match platform.created_admin() {
        Some(admin) => Some((admin.user.username.clone(), first_password(settings, admin)?)),
        None => None,
    };
    Ok(StartBlock {
        api: platform.api(),
        mqtt: platform.mqtt_listeners().to_vec(),
        database: settings.database.url.to_string(),
        data_dir: settings.data_dir.display().to_string(),
        admin,
    })
}

/// Programs that read JSON, and the journal of systemd, keep what they read for long and show it to others: a password that was
/// generated goes to a file there. Elsewhere it is in the output, also where that is a pipe or a file.
fn first_password(settings: &Settings, admin: &CreatedAdmin) -> Result<FirstPassword, Failure> {
    let Some(password) = &admin.generated else { return Ok(FirstPassword::Configured) };
    if settings.log.format != LogFormat::Json && !is_journal(std::env::var_os(JOURNAL_VARIABLE), &std::io::stdout()) {
        return Ok(FirstPassword::Told(password.clone()));
    }
    let path = settings.data_dir.join(PASSWORD_FILE);
    let written = Unfinished::beside(&path).and_then(|mut file| {
        writeln!(file.file(), "{}", password.expose())?;
        file.replace()
    });
    written.map_err(|error| Failure::while_doing(format_args!("cannot write {}", path.display()), error))?;
    Ok(FirstPassword::InFile(path))
}

/// Whether an output goes to the journal of systemd: see `$JOURNAL_STREAM` in systemd.exec(5).
fn is_journal(named: Option<OsString>, output: &impl AsFd) -> bool {
    let Some(named) = named.and_then(|named| named.into_string().ok()) else { return false };
    rustix::fs::fstat(output).is_ok_and(|stat| named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_number() {
        let file = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let named = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_journal(Some(named.clone().into()), &file));
        assert!(!is_journal(Some(format!("{named}0").into()), &file));
        assert!(!is_journal(Some("".into()), &file) && !is_journal(None, &file));
    }
}
