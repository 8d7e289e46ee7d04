//! The database, the processes that have it open, and the list of what is in it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{
    Device, DeviceId, DeviceName, MaxAge, NewTelemetry, Payload, PayloadPolicy, Retention, SortOrder, Telemetry,
    TelemetryId, TelemetryQuery, Tenant, TenantId, TenantName, Timestamp, TokenHash, TopicName,
};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use tokio::runtime::Runtime;

use super::Random;
use super::questions::{Question, Told};

/// How much there is at a time.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) devices: usize,
    /// The most messages of a batch.
    messages: u64,
    /// The most rows of a page.
    pub(super) page: u64,
    /// Rows that may be sealed together.
    batches: [u32; 3],
}

impl Size {
    /// All is read at once.
    pub(super) const SMALL: Self = Self { devices: 4, messages: 40, page: 60, batches: [7, 100, 100_000] };
    /// More than is read at once: rows of a walk and of the log, chunks.
    pub(super) const LARGE: Self =
        Self { devices: 80, messages: 2_000, page: 1_000, batches: [1_000, 10_000, 100_000] };
}

/// Seconds that messages are kept.
const MAX_AGE: u64 = 3_600;
pub(super) const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "d"];

pub(super) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + i64::try_from(millis).unwrap()).unwrap()
}

/// A database that is open in a process of its own, as far as a runtime is one.
pub(super) struct Process {
    pub(super) runtime: Runtime,
    pub(super) storage: Storage,
    /// The same database, opened once more, as by a process that shares it.
    pub(super) other: Storage,
}

impl Process {
    pub(super) fn start(url: &str, random: &mut Random, size: Size) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sealing = Sealing {
            rows: random.one_of(&[1, 1, 30, 1_000_000]),
            per_device: 0,
            batch: random.one_of(&size.batches),
            every: Duration::from_millis(1),
            lease: Duration::from_millis(20),
            ..Sealing::default()
        };
        let options = Options { pool: 4, sealing, ..Options::new(url) };
        let open = || runtime.block_on(async { open(options.clone()).await.unwrap() });
        let (storage, other) = (open(), open());
        Self { runtime, storage, other }
    }

    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Nothing is finished or closed.
    pub(super) fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// The database, and what is in it.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) size: Size,
    url: String,
    process: Option<Process>,
    pub(super) tenant: TenantId,
    pub(super) devices: Vec<DeviceId>,
    /// How many devices there ever were.
    registered: usize,
    pub(super) rows: Vec<Telemetry>,
    pub(super) now: u64,
}

impl World {
    pub(super) fn start(url: &str, seed: u64, size: Size) -> Self {
        let mut random = Random(seed);
        let process = Process::start(url, &mut random, size);
        let tenant = Tenant {
            id: TenantId::new(at(0), [1; 10]),
            name: TenantName::parse("acme").unwrap(),
            payload_policy: PayloadPolicy::Json,
            retention: Retention { max_age: MaxAge::parse(MAX_AGE).ok(), max_bytes: None },
            created_at: at(0),
        };
        process.run(async { process.storage.tenants.create(&tenant).await.unwrap() });
        let mut world = Self {
            random,
            size,
            url: url.to_owned(),
            process: Some(process),
            tenant: tenant.id,
            devices: Vec::new(),
            registered: size.devices,
            rows: Vec::new(),
            now: 1_000_000,
        };
        for number in 0..size.devices {
            world.register(number);
        }
        world
    }

    pub(super) fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub(super) fn register(&mut self, number: usize) {
        let bytes = u8::try_from(number).unwrap();
        let name = DeviceName::parse(&format!("device {number}")).unwrap();
        let device = Device::new(DeviceId::new(at(0), [bytes; 10]), self.tenant, name, at(0));
        let process = self.process();
        let token = TokenHash::from_bytes([bytes; 32]);
        process.run(async { process.storage.devices.create(&device, token).await.unwrap() });
        self.devices.push(device.id);
    }

    pub(super) fn payload(&mut self) -> String {
        let number = self.random.below(1_000);
        match self.random.below(6) {
            0 => format!("{number}"),
            1 => format!("\"text {}\"", number % 3),
            2 => format!(r#"{{"t":{}.{},"on":{}}}"#, number / 10, number % 10, number.is_multiple_of(2)),
            3 => format!(r#"{{"t":{number}.50,"b":{{"mv":-{number},"s":"x{number}"}}}}"#),
            4 => format!(r#"{{"t":"none","l":[{number}]}}"#),
            _ => format!(r#"{{"t":{}.{},"count":{number}}}"#, number / 10, number % 10),
        }
    }

    /// Some messages of devices that are there.
    pub(super) fn messages(&mut self) -> Vec<NewTelemetry> {
        let count = 1 + self.random.below(self.size.messages);
        let mut messages = Vec::new();
        for _ in 0..count {
            self.now += self.random.below(5);
            // Some are late, some of the same time.
            let late = if self.random.below(5) == 0 { self.random.below(200_000) } else { 0 };
            let device_id = self.random.one_of(&self.devices);
            messages.push(NewTelemetry {
                tenant_id: self.tenant,
                device_id,
                topic: TopicName::parse(self.random.one_of(&TOPICS)).unwrap(),
                payload: Payload::from_stored(self.payload()),
                timestamp: at(self.now - late),
                received_at: at(self.now),
            });
        }
        messages
    }

    pub(super) fn append(&mut self) {
        let messages = self.messages();
        let process = self.process();
        let ids = process.run(async { process.storage.telemetry.append(messages.clone().into()).await.unwrap() });
        add(&mut self.rows, messages, ids);
    }

    /// Asks for some pages, one after the other. Not more than a few, so that the next step comes while the log is being sealed.
    pub(super) fn query(&mut self) {
        let mut query = self.any_query();
        for _ in 0..1 + self.random.below(4) {
            let question = Question::Range(query.clone());
            let Told::Range(page) = self.ask(&question) else { return };
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return,
            }
        }
    }

    pub(super) fn aggregate(&mut self) {
        let question = self.any_aggregate();
        self.ask(&question);
    }

    pub(super) fn latest(&mut self) {
        let device = self.random.one_of(&self.devices);
        self.ask(&Question::Latest(device, pocket_domain::LatestQuery::default()));
    }

    /// The answer to a question, which is what the list says.
    fn ask(&self, question: &Question) -> Told {
        let process = self.process();
        let told = process.run(question.ask(&process.storage, self.tenant));
        assert_eq!(told, question.answer(&self.rows), "{question:?}");
        told
    }

    /// A time, before which messages are to go, and when it is that they are too old.
    pub(super) fn any_end(&mut self) -> (Timestamp, Timestamp) {
        let from = match self.random.below(8) {
            0 => self.now + 1,
            _ => self.now - self.random.below(200_000),
        };
        (at(from), at(from + MAX_AGE * 1_000))
    }

    /// Messages before a time go, now and then in the middle of a crash.
    pub(super) fn prune(&mut self) {
        let (from, now) = self.any_end();
        if self.random.below(2) == 0 {
            let process = self.process();
            let store = Arc::clone(&process.storage.telemetry);
            process.runtime.spawn(async move { while store.prune(now).await.is_ok_and(|pruned| !pruned.is_done) {} });
            self.crash();
        }
        let process = self.process();
        process.run(prune_all(&process.storage, now));
        self.see_pruned(from);
    }

    /// Takes over what is left. Of what is before a time some may stay, beside younger messages of its device.
    pub(super) fn see_pruned(&mut self, from: Timestamp) {
        let found = self.all();
        let was_there =
            |row: &Telemetry| self.rows.binary_search_by_key(&(row.timestamp, row.id), |row| (row.timestamp, row.id));
        assert!(found.iter().all(|row| was_there(row).is_ok_and(|place| self.rows[place] == *row)));
        let young = |rows: &[Telemetry]| rows.iter().filter(|row| row.timestamp >= from).cloned().collect::<Vec<_>>();
        assert_eq!(young(&found), young(&self.rows), "{from:?}");
        for device in &self.devices {
            let mut rows = found.iter().filter(|row| row.device_id == *device).peekable();
            // What was received later stays, whatever time it is of.
            let is_young = |row: &Telemetry| row.timestamp >= from || row.received_at >= from;
            assert!(rows.peek().is_none() || rows.any(is_young), "{from:?}");
        }
        self.rows = found;
    }

    /// All that there is, the oldest first.
    pub(super) fn all(&self) -> Vec<Telemetry> {
        let mut query = TelemetryQuery::default().with_limit(Some(1_000)).unwrap();
        query.order = SortOrder::Ascending;
        let mut found = Vec::new();
        let process = self.process();
        loop {
            let page = process.run(async { process.storage.telemetry.range(self.tenant, &query).await.unwrap() });
            found.extend(page.rows);
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return found,
            }
        }
    }

    /// Rows and their times as a usage tells them.
    pub(super) fn usage(&self) {
        let process = self.process();
        let total = process.run(async { process.storage.telemetry.usage(self.tenant).await.unwrap() }).total();
        let time = |row: Option<&Telemetry>| row.map(|row| row.timestamp);
        assert_eq!(
            (total.rows, total.oldest, total.newest),
            (self.rows.len() as u64, time(self.rows.first()), time(self.rows.last()))
        );
    }

    /// A device goes with all that is its own, and another comes.
    pub(super) fn replace_device(&mut self) {
        let place = usize::try_from(self.random.below(self.devices.len() as u64)).unwrap();
        let device = self.devices.remove(place);
        let process = self.process();
        process.run(async { process.storage.devices.delete(self.tenant, device).await.unwrap() });
        self.rows.retain(|row| row.device_id != device);
        self.register_another();
    }

    pub(super) fn register_another(&mut self) {
        self.registered += 1;
        self.register(self.registered);
    }

    pub(super) fn end(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(super) fn crash(&mut self) {
        // Sometimes at once, sometimes in the middle of what goes on in the background.
        let pause = Duration::from_micros(self.random.below(8_000));
        self.process().run(async { tokio::time::sleep(pause).await });
        self.process.take().unwrap().kill();
        self.process = Some(Process::start(&self.url, &mut self.random, self.size));
    }
}

/// Removes what is too old.
pub(super) async fn prune_all(storage: &Storage, now: Timestamp) {
    while !storage.telemetry.prune(now).await.unwrap().is_done {
        // Another process, or the one before, may be taken for alive.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Adds messages to a list, under their ids.
pub(super) fn add(rows: &mut Vec<Telemetry>, messages: Vec<NewTelemetry>, ids: Vec<Option<TelemetryId>>) {
    rows.extend(messages.into_iter().zip(ids).map(|(message, id)| Telemetry {
        id: id.unwrap(),
        device_id: message.device_id,
        topic: message.topic,
        payload: message.payload,
        timestamp: message.timestamp,
        received_at: message.received_at,
    }));
    rows.sort_by_key(|row| (row.timestamp, row.id));
}
