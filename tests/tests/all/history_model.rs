//! The history of a database against a plain list: random messages, late ones among them, while the log is sealed and chunks
//! are merged, while what is too old is removed, what is there is imported again, and while the process is gone from one moment to the next, between any two
//! statements.
//!
//! `POCKET_MODEL_SEED` runs one seed, `POCKET_MODEL_SEEDS` so many, from `POCKET_MODEL_FIRST` on.

mod transfer;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pocket_domain::{
    Aggregate, AggregateQuery, Bucket, Device, DeviceId, DeviceName, Labels, LatestValue, LeafPath, MaxAge,
    NewTelemetry, Notes, Payload, PayloadPolicy, Retention, SortOrder, Tally, Telemetry, TelemetryQuery, Tenant,
    TenantId, TenantName, Timestamp, TokenHash, TopicFilter, TopicName,
};
use pocket_ports::Storage;
use pocket_storage_sea_orm::{Options, Sealing, open};
use pocket_tests::PostgresDatabase;
use tokio::runtime::Runtime;

/// Steps of one seed.
const STEPS: usize = 60;
const DEVICES: usize = 4;
/// Seconds that messages are kept.
const MAX_AGE: u64 = 3_600;
const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "d"];
const FILTERS: [&str; 5] = ["#", "a/#", "a/+", "d", "none"];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeds(default: u64) -> impl Iterator<Item = u64> {
    let first = number("POCKET_MODEL_FIRST").unwrap_or(1);
    let count = number("POCKET_MODEL_SEEDS").unwrap_or(default);
    let one = number("POCKET_MODEL_SEED");
    one.map_or(first..first + count, |seed| seed..seed + 1)
}

/// Random numbers of one run: `SplitMix64` of Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + i64::try_from(millis).unwrap()).unwrap()
}

/// A database that is open in a process of its own, as far as a runtime is one.
struct Process {
    runtime: Runtime,
    storage: Storage,
}

impl Process {
    fn start(url: &str, random: &mut Random) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sealing = Sealing {
            rows: random.one_of(&[1, 1, 30, 1_000_000]),
            per_device: 0,
            batch: random.one_of(&[7, 100, 100_000]),
            every: Duration::from_millis(1),
            lease: Duration::from_millis(20),
            // The model does it, at times of its own.
            prune_every: Duration::from_secs(86_400),
            ..Sealing::default()
        };
        let options = Options { pool: 4, sealing, ..Options::new(url) };
        let storage = runtime.block_on(async { open(options).await.unwrap() });
        Self { runtime, storage }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Nothing is finished or closed.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// The database, and what is in it.
struct World {
    random: Random,
    url: String,
    process: Option<Process>,
    tenant: TenantId,
    devices: Vec<DeviceId>,
    /// How many devices there ever were.
    registered: usize,
    rows: Vec<Telemetry>,
    now: u64,
}

impl World {
    fn start(url: &str, seed: u64) -> Self {
        let mut random = Random(seed);
        let process = Process::start(url, &mut random);
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
            url: url.to_owned(),
            process: Some(process),
            tenant: tenant.id,
            devices: Vec::new(),
            registered: DEVICES,
            rows: Vec::new(),
            now: 1_000_000,
        };
        for number in 0..DEVICES {
            world.register(number);
        }
        world
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    fn register(&mut self, number: usize) {
        let bytes = u8::try_from(number).unwrap();
        let device = Device {
            id: DeviceId::new(at(0), [bytes; 10]),
            tenant_id: self.tenant,
            name: DeviceName::parse(&format!("device {number}")).unwrap(),
            labels: Labels::default(),
            notes: Notes::default(),
            enabled: true,
            token_expires_at: None,
            created_at: at(0),
            updated_at: at(0),
            online: false,
            connection: None,
            last_seen_at: None,
            last_rejection: None,
        };
        let process = self.process();
        let token = TokenHash::from_bytes([bytes; 32]);
        process.run(async { process.storage.devices.create(&device, token).await.unwrap() });
        self.devices.push(device.id);
    }

    fn payload(&mut self) -> String {
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

    fn append(&mut self) {
        let count = 1 + self.random.below(40);
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
        let process = self.process();
        let ids = process.run(async { process.storage.telemetry.append(messages.clone().into()).await.unwrap() });
        let rows = messages.into_iter().zip(ids).map(|(message, id)| Telemetry {
            id: id.unwrap(),
            device_id: message.device_id,
            topic: message.topic,
            payload: message.payload,
            timestamp: message.timestamp,
            received_at: message.received_at,
        });
        self.rows.extend(rows.collect::<Vec<_>>());
        self.rows.sort_by_key(|row| (row.timestamp, row.id));
    }

    fn query(&mut self) {
        let mut query = TelemetryQuery::default().with_limit(Some(1 + self.random.below(60))).unwrap();
        query.order = self.random.one_of(&[SortOrder::Ascending, SortOrder::Descending]);
        if self.random.below(2) == 0 {
            query.device_id = Some(self.random.one_of(&self.devices));
        }
        if self.random.below(3) == 0 {
            query.topic = Some(TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap());
        }
        if self.random.below(2) == 0 {
            let from = self.now - self.random.below(250_000);
            query.from = Some(at(from));
            query.to = (self.random.below(2) == 0).then(|| at(from + self.random.below(100_000)));
        }
        let is_wanted = |row: &&Telemetry| {
            query.device_id.is_none_or(|device| row.device_id == device)
                && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
                && query.from.is_none_or(|from| row.timestamp >= from)
                && query.to.is_none_or(|to| row.timestamp < to)
        };
        let mut expected: Vec<Telemetry> = self.rows.iter().filter(is_wanted).cloned().collect();
        if query.order == SortOrder::Descending {
            expected.reverse();
        }
        // Not more than a few pages, so that the next step comes while the log is being sealed.
        let mut found = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let process = self.process();
            let page = process.run(async { process.storage.telemetry.range(self.tenant, &query).await.unwrap() });
            found.extend(page.rows);
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => {
                    assert_eq!(found, expected, "{query:?}");
                    return;
                }
            }
        }
        assert_eq!(found, expected[..found.len()], "{query:?}");
    }

    fn aggregate(&mut self) {
        let from = self.now - self.random.below(250_000);
        let query = AggregateQuery {
            devices: self.devices.clone(),
            keys: ["t", "b.mv", "$"].iter().map(|key| LeafPath::parse(key).unwrap()).collect(),
            aggregate: self.random.one_of(&[
                Aggregate::Count,
                Aggregate::Min,
                Aggregate::Max,
                Aggregate::First,
                Aggregate::Last,
            ]),
            interval: self.random.one_of(&["1s", "10s", "1m", "1h"]).parse().unwrap(),
            from: at(from),
            to: at(from + self.random.below(100_000)),
            topic: (self.random.below(3) == 0).then(|| TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap()),
        };
        let process = self.process();
        let found = process.run(async { process.storage.telemetry.aggregate(self.tenant, &query).await.unwrap() });
        let expected = query.devices.iter().flat_map(|device| query.keys.iter().map(move |key| (device, key)));
        for ((device, key), series) in expected.zip(&found) {
            let mut buckets: BTreeMap<Timestamp, Tally> = BTreeMap::new();
            for row in self.rows.iter().filter(|row| {
                row.device_id == *device
                    && (query.from..query.to).contains(&row.timestamp)
                    && query.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
            }) {
                let leaves = row.payload.leaves();
                let point = leaves.iter().find(|leaf| leaf.path == *key).and_then(|leaf| leaf.value.number());
                for point in point.into_iter().map(Tally::of) {
                    let start = query.interval.start_of(row.timestamp);
                    buckets.entry(start).and_modify(|tally| tally.append(point)).or_insert(point);
                }
            }
            let bucket = |(start, tally): (Timestamp, Tally)| Bucket {
                start,
                value: tally.value(query.aggregate),
                count: tally.count,
            };
            let buckets: Vec<Bucket> = buckets.into_iter().map(bucket).collect();
            assert_eq!((series.device_id, &series.key, &series.buckets), (*device, key, &buckets), "{query:?}");
        }
        assert_eq!(found.len(), query.devices.len() * query.keys.len());
    }

    fn latest(&mut self) {
        let device = self.random.one_of(&self.devices);
        let mut expected = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.device_id == device) {
            for leaf in row.payload.leaves() {
                let (key, value) = (leaf.path.clone(), leaf.value.json().into());
                expected.insert(leaf.path, LatestValue { key, value, timestamp: row.timestamp });
            }
        }
        let process = self.process();
        let found = process.run(async { process.storage.telemetry.latest(self.tenant, device).await.unwrap() });
        assert_eq!(found, expected.into_values().collect::<Vec<_>>());
    }

    /// Messages before a time go, now and then in the middle of a crash. Some may stay, beside younger ones of their device.
    fn prune(&mut self) {
        let from = match self.random.below(4) {
            0 => self.now + 1,
            _ => self.now - self.random.below(200_000),
        };
        let (now, from) = (at(from + MAX_AGE * 1_000), at(from));
        if self.random.below(2) == 0 {
            let process = self.process();
            let store = Arc::clone(&process.storage.telemetry);
            process.runtime.spawn(async move { while store.prune(now).await.is_ok_and(|pruned| !pruned.is_done) {} });
            self.crash();
        }
        let process = self.process();
        process.run(async {
            while !process.storage.telemetry.prune(now).await.unwrap().is_done {
                // The process before may be taken for alive.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let found = self.all();
        let was_there =
            |row: &Telemetry| self.rows.binary_search_by_key(&(row.timestamp, row.id), |row| (row.timestamp, row.id));
        assert!(found.iter().all(|row| was_there(row).is_ok_and(|place| self.rows[place] == *row)));
        let young = |rows: &[Telemetry]| rows.iter().filter(|row| row.timestamp >= from).cloned().collect::<Vec<_>>();
        assert_eq!(young(&found), young(&self.rows), "{from:?}");
        for device in &self.devices {
            let mut rows = found.iter().filter(|row| row.device_id == *device).peekable();
            assert!(rows.peek().is_none() || rows.any(|row| row.timestamp >= from), "{from:?}");
        }
        self.rows = found;
    }

    /// All that there is, the oldest first.
    fn all(&self) -> Vec<Telemetry> {
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
    fn usage(&self) {
        let process = self.process();
        let total = process.run(async { process.storage.telemetry.usage(self.tenant).await.unwrap() }).total();
        let time = |row: Option<&Telemetry>| row.map(|row| row.timestamp);
        assert_eq!(
            (total.rows, total.oldest, total.newest),
            (self.rows.len() as u64, time(self.rows.first()), time(self.rows.last()))
        );
    }

    /// A device goes with all that is its own, and another comes.
    fn replace_device(&mut self) {
        let place = usize::try_from(self.random.below(self.devices.len() as u64)).unwrap();
        let device = self.devices.remove(place);
        let process = self.process();
        process.run(async { process.storage.devices.delete(self.tenant, device).await.unwrap() });
        self.rows.retain(|row| row.device_id != device);
        self.registered += 1;
        self.register(self.registered);
    }

    fn crash(&mut self) {
        // Sometimes at once, sometimes in the middle of what goes on in the background.
        let pause = Duration::from_micros(self.random.below(8_000));
        self.process().run(async { tokio::time::sleep(pause).await });
        self.process.take().unwrap().kill();
        self.process = Some(Process::start(&self.url, &mut self.random));
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..5 => self.append(),
            5..9 => self.query(),
            9..11 => self.aggregate(),
            11 => self.latest(),
            12 => self.crash(),
            13 => self.usage(),
            14 => self.prune(),
            15..18 => self.import(),
            18 => self.walk(),
            _ if self.random.below(8) == 0 => self.replace_device(),
            _ => self.query(),
        }
    }
}

fn run(seed: u64, url: &str) {
    let mut world = World::start(url, seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.process.take().unwrap().kill();
}

#[test]
fn a_history_in_sqlite_is_what_was_written() {
    for seed in seeds(6) {
        let directory = tempfile::tempdir().unwrap();
        println!("seed {seed}");
        run(seed, &format!("sqlite://{}?mode=rwc", directory.path().join("pocket.db").display()));
    }
}

#[test]
fn a_history_in_postgresql_is_what_was_written() {
    let runtime = Runtime::new().unwrap();
    for seed in seeds(4) {
        let database = runtime.block_on(PostgresDatabase::create());
        println!("seed {seed}");
        run(seed, &database.url());
        let _in_runtime = runtime.enter();
        drop(database);
    }
}
