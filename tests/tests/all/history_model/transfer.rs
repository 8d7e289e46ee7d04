//! Walks through the history, and imports of what is partly there.

use std::collections::HashSet;

use pocket_domain::{NewTelemetry, Payload, Telemetry, TelemetryScan, TopicFilter, TopicName};
use pocket_ports::{Import, Imported};

use super::questions::FILTERS;
use super::world::{TOPICS, World, at};

fn identity(message: &NewTelemetry) -> (String, String, i64, String) {
    let (device, topic) = (message.device_id.to_string(), message.topic.to_string());
    (device, topic, message.timestamp.as_millis(), message.payload.as_str().to_owned())
}

impl World {
    /// A message that is there, or a new one, which may be like another by chance.
    fn old_or_new(&mut self) -> NewTelemetry {
        let place = self.random.below(self.rows.len().max(1) as u64) as usize;
        if self.random.below(2) == 0
            && let Some(row) = self.rows.get(place)
        {
            return NewTelemetry {
                tenant_id: self.tenant,
                device_id: row.device_id,
                topic: row.topic.clone(),
                payload: row.payload.clone(),
                timestamp: row.timestamp,
                received_at: at(self.now),
            };
        }
        NewTelemetry {
            tenant_id: self.tenant,
            device_id: self.random.one_of(&self.devices),
            topic: TopicName::parse(self.random.one_of(&TOPICS)).unwrap(),
            payload: Payload::from_stored(self.payload()),
            timestamp: at(self.now - self.random.below(200_000)),
            received_at: at(self.now),
        }
    }

    /// What is there is found, and what is not is stored.
    pub(super) fn import(&mut self) {
        let count = 1 + self.random.below(60);
        let messages: Vec<NewTelemetry> = (0..count).map(|_| self.old_or_new()).collect();
        let process = self.process();
        let imported = process.run(async { process.storage.telemetry.import(messages.clone().into()).await.unwrap() });
        let Import::Done(imported) = imported else { panic!("all devices are there") };
        let as_new = |row: &Telemetry| NewTelemetry {
            tenant_id: self.tenant,
            device_id: row.device_id,
            topic: row.topic.clone(),
            payload: row.payload.clone(),
            timestamp: row.timestamp,
            received_at: row.received_at,
        };
        let mut there: HashSet<_> = self.rows.iter().map(|row| identity(&as_new(row))).collect();
        assert_eq!(imported.len(), messages.len());
        for (message, imported) in messages.into_iter().zip(imported) {
            let is_new = there.insert(identity(&message));
            match imported {
                Imported::Present => assert!(!is_new, "{message:?} is not there"),
                Imported::Stored(id) => {
                    assert!(is_new, "{message:?} was there");
                    self.rows.push(Telemetry {
                        id,
                        device_id: message.device_id,
                        topic: message.topic,
                        payload: message.payload,
                        timestamp: message.timestamp,
                        received_at: message.received_at,
                    });
                }
            }
        }
        self.rows.sort_by_key(|row| (row.timestamp, row.id));
    }

    /// All that a walk gives, in its order.
    pub(super) fn walk(&mut self) {
        let filter = (self.random.below(3) == 0).then(|| TopicFilter::parse(self.random.one_of(&FILTERS)).unwrap());
        let from = (self.random.below(2) == 0).then(|| at(self.now - self.random.below(250_000)));
        let mut scan = TelemetryScan { topic: filter, from, ..TelemetryScan::default() };
        let is_wanted = |row: &&Telemetry| {
            scan.topic.as_ref().is_none_or(|filter| filter.matches(row.topic.as_str()))
                && scan.from.is_none_or(|from| row.timestamp >= from)
        };
        let mut expected: Vec<Telemetry> = self.rows.iter().filter(is_wanted).cloned().collect();
        expected.sort_by_key(|row| (row.device_id, row.timestamp, row.id));
        let mut found = Vec::new();
        loop {
            let process = self.process();
            let part = process.run(async { process.storage.telemetry.scan(self.tenant, &scan).await.unwrap() });
            found.extend(part.rows);
            match part.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
        let same = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
        assert!(
            found == expected,
            "{scan:?} gives {} rows where there are {}; row {same} is {:?} where it is {:?}",
            found.len(),
            expected.len(),
            found.get(same),
            expected.get(same)
        );
    }
}
