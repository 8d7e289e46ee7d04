//! User names and passwords of devices that come from a password file of Mosquitto: each user becomes a device that logs in as before.
//!
//! - Like [`recovery`](crate::recovery), this is for somebody with a shell on the machine; no edge that is reached over a network calls it.
//! - A line that cannot be taken is told with its number and the reason, and the others are taken.
//! - What is stored is stored in batches, each in one transaction, so that an import that was broken off can be repeated.

use std::collections::HashMap;
use std::fmt;

use pocket_domain::{
    Device, DeviceFilter, DeviceId, DeviceLoginId, DeviceName, DevicePassword, DeviceToken, DeviceUsername,
    PageRequest, PasswordHash, TenantId, TenantName, Username,
};
use pocket_ports::{Conflict, DeviceLoginImport, ImportedDevice, NewDeviceLogin, StorageError};
use tokio::task::JoinSet;

use crate::password_file::{self, Entry, Line, Secret, Wrong};
use crate::{Adapters, Error};

/// Devices that are stored in one transaction. It is also how many passwords are hashed together at the most.
const BATCH: usize = 50;

/// What there is to say about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRemark {
    /// Its number, the first is 1.
    pub line: usize,
    /// The user name, where there is one.
    pub username: Option<DeviceUsername>,
    /// What there is to say. No password and no hash is in it.
    pub text: String,
}

impl fmt::Display for LineRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(username) = &self.username {
            write!(f, "{username}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// What became of the lines of a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LoginImportReport {
    /// Lines that say something.
    pub lines: usize,
    /// Users for whom a device was added.
    pub added: usize,
    /// Users whose device was there.
    pub given: usize,
    /// Users whose device has the user name already, and keeps the password it has.
    pub unchanged: usize,
    /// Lines that were not taken, and why.
    pub refused: Vec<LineRemark>,
    /// Lines that were taken though something about them should be better.
    pub warnings: Vec<LineRemark>,
}

impl fmt::Display for LoginImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, added, given, unchanged, refused, .. } = self;
        let refused = refused.len();
        write!(
            f,
            "{lines} users: {added} new devices, {given} existing devices, {unchanged} unchanged, {refused} refused"
        )
    }
}

/// What is to be done for a file.
#[derive(Debug)]
pub struct LoginImportPlan {
    /// What would become of the lines.
    pub report: LoginImportReport,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    line: usize,
    username: DeviceUsername,
    secret: NewSecret,
    /// `None`: a device is added.
    device: Option<DeviceId>,
}

#[derive(Debug)]
enum NewSecret {
    Hash(PasswordHash),
    Plain(DevicePassword),
}

/// Brings the users of password files into a tenant.
pub struct LoginImporter<'a> {
    adapters: &'a Adapters,
    tenant: TenantId,
    is_replacing: bool,
    by_name: HashMap<DeviceName, (DeviceId, Option<DeviceUsername>)>,
    by_username: HashMap<DeviceUsername, DeviceName>,
}

impl fmt::Debug for LoginImporter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginImporter").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl<'a> LoginImporter<'a> {
    /// Reads which devices the tenant has. With `is_replacing`, devices get what the file says in place of the user name and password
    /// they have; otherwise they keep them.
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant; those of storage.
    pub async fn new(adapters: &'a Adapters, tenant: &TenantName, is_replacing: bool) -> Result<Self, Error> {
        let storage = &adapters.storage;
        let tenant = storage.tenants.find_by_name(tenant).await?.ok_or(Error::NotFound)?.id;
        let (mut by_name, mut by_username) = (HashMap::new(), HashMap::new());
        let mut offset = 0;
        loop {
            let page = PageRequest::new(Some(PageRequest::MAX_LIMIT.into()), Some(offset))?;
            let page = storage.devices.list(tenant, &DeviceFilter::default(), page).await?;
            offset += page.items.len() as u64;
            let is_last = page.items.is_empty() || offset >= page.total;
            for device in page.items {
                if let Some(username) = &device.username {
                    by_username.insert(username.clone(), device.name.clone());
                }
                by_name.insert(device.name, (device.id, device.username));
            }
            if is_last {
                return Ok(Self { adapters, tenant, is_replacing, by_name, by_username });
            }
        }
    }

    /// Judges each line of a file. Nothing is changed.
    ///
    /// # Errors
    /// `Invalid` when the file is no text; those of storage.
    pub async fn plan(&self, file: &[u8]) -> Result<LoginImportPlan, Error> {
        let lines =
            password_file::read(file).map_err(|wrong| Error::Invalid(pocket_domain::Invalid::new("file", wrong)))?;
        let mut report = LoginImportReport { lines: lines.len(), ..LoginImportReport::default() };
        let mut steps = Vec::with_capacity(lines.len());
        for Line { number: line, entry } in lines {
            let (username, judged) = match entry {
                Ok(Entry { username, secret }) => {
                    (Some(username.clone()), self.judge(line, username, secret, &mut report).await?)
                }
                Err(Wrong { username, reason }) => (username, Err(reason)),
            };
            match judged {
                Ok(Some(step)) => steps.push(step),
                Ok(None) => report.unchanged += 1,
                Err(text) => report.refused.push(LineRemark { line, username, text }),
            }
        }
        report.added = steps.iter().filter(|step| step.device.is_none()).count();
        report.given = steps.len() - report.added;
        Ok(LoginImportPlan { report, steps })
    }

    /// What is to be done for a line; `None` when nothing is, or why it is refused.
    async fn judge(
        &self,
        line: usize,
        username: DeviceUsername,
        secret: Secret<'_>,
        report: &mut LoginImportReport,
    ) -> Result<Result<Option<Step>, String>, Error> {
        let secret = match secret {
            Secret::Plain(password) => NewSecret::Plain(password),
            Secret::Hash(text) => match self.adapters.password_hasher.adopt(text) {
                Ok(hash) => NewSecret::Hash(hash),
                Err(invalid) => return Ok(Err(format!("the hash {}", invalid.message))),
            },
        };
        if self.is_a_person(&username).await? {
            return Ok(Err("there is a user (a person) of this name; give the device another user name".into()));
        }
        let device = match self.device_for(&username) {
            Ok(device) => device,
            Err(reason) => return Ok(Err(reason)),
        };
        let has_it = self.by_username.contains_key(&username);
        if has_it && (!self.is_replacing || self.has(device, &secret).await?) {
            return Ok(Ok(None));
        }
        if let NewSecret::Plain(password) = &secret
            && let Some(weakness) = password.weakness(&username)
        {
            let text = format!("taken, but a new password {}", weakness.message);
            report.warnings.push(LineRemark { line, username: Some(username.clone()), text });
        }
        Ok(Ok(Some(Step { line, username, secret, device })))
    }

    /// The device of a user name, if it is there and may have it.
    fn device_for(&self, username: &DeviceUsername) -> Result<Option<DeviceId>, String> {
        if let Some(owner) = self.by_username.get(username).filter(|owner| owner.as_str() != username.as_str()) {
            return Err(format!("the device `{owner}` has this user name"));
        }
        let name = DeviceName::parse(username.as_str()).map_err(|invalid| format!("the name {}", invalid.message))?;
        match self.by_name.get(&name) {
            Some((_, Some(other))) if other != username && !self.is_replacing => {
                Err(format!("the device of this name has the user name `{other}`; --replace gives it this one instead"))
            }
            device => Ok(device.map(|(id, _)| *id)),
        }
    }

    /// Whether a person logs in with the name.
    async fn is_a_person(&self, username: &DeviceUsername) -> Result<bool, Error> {
        let (tenant, name) = match username.as_str().split_once('/') {
            Some((tenant, name)) => (TenantName::parse(tenant).ok(), name),
            None => (Some(TenantName::default_tenant()), username.as_str()),
        };
        let (Some(tenant), Ok(name)) = (tenant, Username::parse(name)) else { return Ok(false) };
        let Some(tenant) = self.adapters.storage.tenants.find_by_name(&tenant).await? else { return Ok(false) };
        Ok(self.adapters.storage.users.find_by_name(tenant.id, &name).await?.is_some())
    }

    /// Whether a device has this very hash.
    async fn has(&self, device: Option<DeviceId>, secret: &NewSecret) -> Result<bool, Error> {
        let (Some(device), NewSecret::Hash(hash)) = (device, secret) else { return Ok(false) };
        let login = self.adapters.storage.device_logins.get(self.tenant, device).await?;
        Ok(login.is_some_and(|login| login.hash == *hash))
    }

    /// Does what a plan says, and tells after each batch how far it is.
    ///
    /// # Errors
    /// Those of storage and of the password hasher, with what was done before.
    pub async fn store(
        &self,
        plan: LoginImportPlan,
        mut tell: impl FnMut(&LoginImportReport),
    ) -> Result<LoginImportReport, (Error, LoginImportReport)> {
        let mut report = LoginImportReport { added: 0, given: 0, ..plan.report };
        let mut steps = plan.steps.into_iter().peekable();
        while steps.peek().is_some() {
            let batch: Vec<Step> = steps.by_ref().take(BATCH).collect();
            match self.prepared(batch).await {
                Ok(batch) => self.store_batch(&batch, &mut report).await.map_err(|error| (error, report.clone()))?,
                Err(error) => return Err((error, report)),
            }
            tell(&report);
        }
        Ok(report)
    }

    /// A batch with its passwords hashed.
    async fn prepared(&self, batch: Vec<Step>) -> Result<Vec<(usize, DeviceLoginImport)>, Error> {
        let mut hashing = JoinSet::new();
        let mut hashes = vec![None; batch.len()];
        for (index, step) in batch.iter().enumerate() {
            match &step.secret {
                NewSecret::Hash(hash) => hashes[index] = Some(hash.clone()),
                NewSecret::Plain(password) => {
                    let (hasher, password) = (self.adapters.password_hasher.clone(), password.clone());
                    hashing.spawn(async move { (index, hasher.hash(password.into_password()).await) });
                }
            }
        }
        while let Some(hashed) = hashing.join_next().await {
            let (index, hash) = hashed.map_err(|error| Error::Internal(error.to_string()))?;
            hashes[index] = Some(hash?);
        }
        let ready =
            batch.into_iter().zip(hashes).filter_map(|(step, hash)| Some((step.line, self.import_of(step, hash?))));
        Ok(ready.collect())
    }

    fn import_of(&self, step: Step, hash: PasswordHash) -> DeviceLoginImport {
        let Adapters { clock, entropy, token_hasher, .. } = self.adapters;
        let now = clock.now();
        let random = || {
            let mut random = [0; 10];
            entropy.fill(&mut random);
            random
        };
        let device = match (step.device, DeviceName::parse(step.username.as_str())) {
            (Some(device), _) => ImportedDevice::Present(device),
            (None, name) => {
                let name = name.expect("a plan has only user names that are names of devices");
                let mut secret = [0; 8];
                entropy.fill(&mut secret);
                // Nobody sees this token; an operator may ask for another.
                let token = token_hasher.hash(&DeviceToken::generate(secret));
                ImportedDevice::New(Box::new(Device::new(DeviceId::new(now, random()), self.tenant, name, now)), token)
            }
        };
        let login = NewDeviceLogin { id: DeviceLoginId::new(now, random()), username: step.username, hash, now };
        DeviceLoginImport { device, login }
    }

    async fn store_batch(
        &self,
        batch: &[(usize, DeviceLoginImport)],
        report: &mut LoginImportReport,
    ) -> Result<(), Error> {
        let logins = &self.adapters.storage.device_logins;
        let all: Vec<DeviceLoginImport> = batch.iter().map(|(_, import)| import.clone()).collect();
        match logins.import(self.tenant, &all).await {
            Ok(()) => all.iter().for_each(|import| report.took(import)),
            // Something changed since the plan was made: each by itself tells which one it is about.
            Err(StorageError::Conflict(_) | StorageError::NotFound) => {
                for (line, import) in batch {
                    match logins.import(self.tenant, std::slice::from_ref(import)).await {
                        Ok(()) => report.took(import),
                        Err(error @ (StorageError::Conflict(_) | StorageError::NotFound)) => {
                            let username = Some(import.login.username.clone());
                            report.refused.push(LineRemark { line: *line, username, text: changed(&error).into() });
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

fn changed(error: &StorageError) -> &'static str {
    match error {
        StorageError::Conflict(Conflict::DeviceName) => "a device of this name was added meanwhile; repeat the import",
        StorageError::Conflict(_) => "another device was given this user name meanwhile",
        _ => "the device was removed meanwhile; repeat the import",
    }
}

impl LoginImportReport {
    fn took(&mut self, import: &DeviceLoginImport) {
        match import.device {
            ImportedDevice::Present(_) => self.given += 1,
            ImportedDevice::New(..) => self.added += 1,
        }
    }
}
