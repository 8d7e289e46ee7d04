//! `user create-admin` and `user reset-password`: ways in when nobody can log in.

use std::io::Read;

use pocket_application::{Adapters, Error, recovery};
use pocket_domain::{Password, TenantName, User, Username};

use crate::cli::UserCommand;
use crate::config::Settings;
use crate::{Failure, adapters, console};

/// The most bytes read from stdin; more than any password has.
const MAX_INPUT: u64 = 4_096;

/// Adds an administrator or replaces a password.
///
/// # Errors
/// A name or password that is not allowed, a name that is taken or unknown, and those of the database.
pub(super) async fn run(settings: &Settings, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::CreateAdmin { username, password_stdin } => {
            let username = Username::parse(&username)?;
            let input = given(password_stdin)?;
            let adapters = adapters::open(settings).await?;
            let (password, generated) = chosen(input, &adapters);
            let policy = settings.ingest.payload_policy;
            let user = recovery::add_platform_admin(&adapters, username.clone(), password, policy).await;
            done(&adapters, "platform administrator added", user, generated).await
        }
        UserCommand::ResetPassword { username, tenant, password_stdin } => {
            let username = Username::parse(&username)?;
            let tenant = TenantName::parse(&tenant).map_err(|error| error.of("tenant"))?;
            let input = given(password_stdin)?;
            let adapters = adapters::open(settings).await?;
            let (password, generated) = chosen(input, &adapters);
            let user = recovery::reset_password(&adapters, &tenant, &username, password).await;
            let user = user.map_err(|error| match error {
                Error::NotFound => Failure::Other(format!("there is no user {username} in the tenant {tenant}")),
                error => Failure::Other(error.to_string()),
            });
            done(&adapters, "password replaced", user, generated).await
        }
    }
}

/// The password on stdin, when it is wanted from there: everything but the last line break.
fn given(password_stdin: bool) -> Result<Option<Password>, Failure> {
    if !password_stdin {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| Failure::while_doing("cannot read the password from stdin", error))?;
    Ok(Some(Password::parse(text.trim_end_matches(['\r', '\n']))?))
}

/// The password given, or a generated one, which must be shown.
fn chosen(given: Option<Password>, adapters: &Adapters) -> (Password, Option<Password>) {
    match given {
        Some(password) => (password, None),
        None => {
            let mut random = [0; 20];
            adapters.entropy.fill(&mut random);
            let password = Password::generate(random);
            (password.clone(), Some(password))
        }
    }
}

async fn done(
    adapters: &Adapters,
    what: &str,
    user: Result<User, impl std::fmt::Display>,
    generated: Option<Password>,
) -> Result<(), Failure> {
    adapters.storage.health.close().await;
    let user = user.map_err(|error| Failure::Other(error.to_string()))?;
    let shown = generated.map_or_else(String::new, |password| format!(", password {}", password.expose()));
    console::finish(format_args!("{what}: {}{shown}\n", user.username))
}
