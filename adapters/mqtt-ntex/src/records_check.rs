//! Whether the broker could go on with what is stored, for those who verify a database.

use pocket_domain::{Invalid, TenantId};
use pocket_mqtt_core::ClientId;
use pocket_ports::{BrokerRecords, MessageRecord, StoredSession};

use crate::records;

/// Reads records as [`Broker::restore`](crate::Broker::restore) does, and keeps nothing of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoredRecords;

impl BrokerRecords for StoredRecords {
    fn session(&self, session: &StoredSession) -> Result<(), Invalid> {
        ClientId::parse(&session.session.client_id)?;
        session.session.will.as_deref().map(records::will).transpose()?;
        records::left_session(session, &mut records::Messages::new()).map(drop)
    }

    fn retained(&self, tenant: TenantId, message: &MessageRecord) -> Result<(), Invalid> {
        records::retained(tenant, message).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use pocket_domain::{DeviceId, Timestamp};
    use pocket_ports::{BrokerKey, SessionRecord, SubscriptionRecord};

    use super::*;

    fn session() -> StoredSession {
        StoredSession {
            session: SessionRecord {
                key: BrokerKey::MIN,
                tenant_id: TenantId::new(Timestamp::MIN, [1; 10]),
                device_id: DeviceId::new(Timestamp::MIN, [2; 10]),
                client_id: "c".into(),
                expiry_seconds: 60,
                left_at: None,
                will: None,
            },
            subscriptions: Vec::new(),
            received: Vec::new(),
            deliveries: Vec::new(),
        }
    }

    #[test]
    fn a_session_that_could_not_be_restored_is_refused() {
        assert_eq!(StoredRecords.session(&session()), Ok(()));
        let mut wrong_will = session();
        wrong_will.session.will = Some((*b"{}").into());
        let mut wrong_filter = session();
        wrong_filter.subscriptions =
            vec![SubscriptionRecord { filter: "a/#/b".into(), group: None, options: 0, identifier: None }];
        let mut wrong_qos = session();
        wrong_qos.subscriptions =
            vec![SubscriptionRecord { filter: "a".into(), group: None, options: 3, identifier: None }];
        for wrong in [wrong_will, wrong_filter, wrong_qos] {
            assert!(StoredRecords.session(&wrong).is_err(), "{wrong:?}");
        }
    }
}
