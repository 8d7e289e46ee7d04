//! An MQTT broker without sockets and clocks: packets of both versions, routing, sessions, limits.
//!
//! An adapter decodes bytes to [`Packet`]s, gives them to a [`Connection`], does what the returned [`Action`] says, and
//! asks the [`Session`] for what is to be sent. Time is an argument; randomness too.
//!
//! Invariants: a packet id is never used twice at the same time; acknowledgements leave in the order in which messages
//! came, those of a batch when the batch is stored; every queue and map has a bound of [`Limits`]; what is kept is counted in
//! the [`Ledger`], by the device, the tenant and in all; what belongs to one tenant is found by nobody of another.
//!
//! Architecture invariant: no ntex, no tokio, no I/O; nothing here knows who stores messages or who may log in.

mod acknowledgements;
mod action;
mod authorizer;
mod children;
mod client;
mod connection;
mod delivery;
mod handshake;
mod holders;
mod incoming;
mod inflight;
mod keep_alive;
mod kept;
mod ledger;
mod limits;
mod matches;
mod message;
mod outgoing;
mod outgoing_aliases;
mod packet;
mod publish_rate;
mod purse;
mod qos;
mod reason;
mod reply;
mod retained;
mod session;
mod session_storage;
mod shared_group;
mod stored;
mod subscription;
mod subscription_index;
mod topic_aliases;
mod topic_cache;
mod topic_order;
mod trie;
mod weight;
mod will;

pub use acknowledgements::{Acknowledgement, BatchId, Outcome};
pub use action::{Action, Closing, Inbound, NewSubscription};
pub use authorizer::{Authorizer, RuleAuthorizer, TenantAuthorizer};
pub use client::{Client, ClientId};
pub use connection::Connection;
pub use delivery::Delivery;
pub use handshake::{Handshake, Opened, Refusal};
pub use keep_alive::KeepAlive;
pub use ledger::{Account, Holding, Ledger, Level, Resource, TenantAccount};
pub use limits::Limits;
pub use matches::{Match, Matches, Own};
pub use message::{Message, MessageProperties};
pub use outgoing::{Offer, OutgoingPacket};
pub use outgoing_aliases::OutgoingAliases;
pub use packet::{
    Ack, Auth, Connect, ConnectAck, Disconnect, Packet, PacketId, ProtocolVersion, Publish, Subscribe, SubscribeAck,
    SubscribeRequest, Unsubscribe, UnsubscribeAck, WillRequest,
};
pub use publish_rate::PublishRate;
pub use purse::Purse;
pub use qos::QoS;
pub use reason::{ConnectReturnCode, ReasonCode};
pub use reply::{Reply, Settled};
pub use retained::{RetainedCursor, RetainedPart, RetainedStore, Retention};
pub use session::Session;
pub use shared_group::{Member, SharedGroup};
pub use stored::{LeftDelivery, LeftSession, SessionChange, StoreKey, StoreKeys, StoredAs, key_behind};
pub use subscription::{GroupName, RetainHandling, Subscription, SubscriptionOptions};
pub use subscription_index::{SubscriptionIndex, TenantIndex, TooMuchMatching};
pub use topic_cache::TopicCache;
pub use will::Will;
