//! The state of brokers in tables.
//!
//! A transaction first brings its changes into a plan, in which what comes and goes within it cancels out: a message that
//! a client acknowledged before the commit leaves no trace. The plan is then written in few large statements.

mod load;
mod plan;
pub(crate) mod rows;
mod sessions;
mod statements;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use pocket_domain::{DeviceId, NodeName, TenantId, Timestamp};
use pocket_ports::{BrokerChange, BrokerState, BrokerStore, DeviceSession, SessionRepository, StorageError};

use sea_orm::DbBackend;

use crate::claim::others;
use crate::database::Database;
use crate::writers::WriterName;

/// The state of brokers in a database.
pub(crate) struct BrokerTables(pub(crate) Arc<Database>);

/// What a transaction stores besides messages.
pub(crate) struct Changes<'a> {
    pub(crate) node: &'a str,
    pub(crate) changes: &'a [BrokerChange],
}

pub(crate) use statements::{any_of, insert, statement};
pub(crate) use write::apply;

#[async_trait]
impl BrokerStore for BrokerTables {
    async fn claim(&self, node: &NodeName) -> Result<(), StorageError> {
        let node = node.clone();
        let work = move |db: Arc<Database>| async move {
            db.writers.get(WriterName::Node(&node)).await.ready(&db).await?;
            let others =
                if db.backend() == DbBackend::Postgres { others(&db, node.as_str()).await? } else { Vec::new() };
            if !others.is_empty() {
                tracing::warn!(
                    %node, ?others,
                    "other brokers run on this database: sessions, retained messages and deliveries are not shared between them"
                );
            }
            Ok(())
        };
        self.0.run(work).await
    }

    async fn load(&self, node: &NodeName, now: Timestamp) -> Result<BrokerState, StorageError> {
        let node = node.clone();
        // Of a large broker it takes long.
        self.0.run_to_its_end(move |db| async move { load::load(&db, node.as_str(), now).await }).await
    }
}

#[async_trait]
impl SessionRepository for BrokerTables {
    async fn sessions_of(
        &self,
        tenant: TenantId,
        device: DeviceId,
        except: Option<&NodeName>,
    ) -> Result<Vec<DeviceSession>, StorageError> {
        let except = except.cloned();
        self.0.run(move |db| async move { sessions::list(&db, tenant, device, except.as_ref()).await }).await
    }

    async fn end_session(&self, tenant: TenantId, device: DeviceId, client_id: &str) -> Result<(), StorageError> {
        let client_id = client_id.to_owned();
        self.0.run_to_its_end(move |db| async move { sessions::end(&db, tenant, device, &client_id).await }).await
    }
}
