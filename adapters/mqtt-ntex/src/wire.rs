//! Bytes to packets and back, for the version that the CONNECT of a connection announced.
//!
//! A packet reaches the codec only when all of it is there and [`frame::check`] has passed, so a PUBLISH always comes
//! with its whole payload. PUBLISH is written by [`publish`], what has a shorter form than the codec's by [`shortest`], and
//! all else by the codec.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use ntex::codec::{Decoder, Encoder};
use ntex::util::{BytePages, Bytes, BytesMut};
use ntex_mqtt::{v3, v5};
use pocket_mqtt_core::{Account, Limits, Packet, ProtocolVersion, Purse, ReasonCode};

use crate::frame::{self, Header};
use crate::oversized::Oversized;
use crate::properties::Notes;
use crate::publish::{self, Size};
use crate::shortest;
use crate::traffic::Traffic;
use crate::{v3 as convert3, v5 as convert5};

/// Whether there is room for a packet of so many bytes.
type HasRoom = Box<dyn Fn(usize) -> bool>;

/// Both codecs of one connection.
pub(crate) struct Wire {
    version: Cell<Option<ProtocolVersion>>,
    v3: v3::codec::Codec,
    v5: v5::codec::Codec,
    maximum: u32,
    /// The most bytes of what is no PUBLISH.
    usual: u32,
    /// Whose account a large packet is taken from while it arrives.
    account: RefCell<Option<Arc<Account>>>,
    arriving: RefCell<Option<Box<Purse>>>,
    /// Asked whether there is room for a CONNECT that is large, until it has come.
    has_room: RefCell<Option<HasRoom>>,
    /// Whether the client wants to be told why in words.
    wants_words: Cell<bool>,
    /// Whether the client is the bridge of another broker.
    is_bridge: Cell<bool>,
    /// The PUBLISH that was larger than packets may be.
    oversized: Cell<Option<Box<Oversized>>>,
    pub(crate) traffic: Traffic,
}

/// A packet as its codec left it, with what the codec of 5.0 cannot say of it.
#[derive(Debug)]
pub(crate) enum Frame {
    V3(v3::codec::Decoded),
    V5(v5::codec::Decoded, Notes),
}

impl Frame {
    /// The packet, which borrows from the frame; `None` for a part of a packet, which [`Wire`] never lets through.
    pub(crate) fn packet(&self) -> Option<Packet<'_>> {
        match self {
            Self::V3(decoded) => convert3::packet(decoded),
            Self::V5(decoded, notes) => convert5::packet(decoded, *notes),
        }
    }
}

impl Wire {
    /// For packets as large as the limits allow.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            version: Cell::new(None),
            v3: v3::codec::Codec::new(),
            v5: v5::codec::Codec::new(),
            maximum: limits.packet_bytes,
            usual: limits.usual_packet_bytes,
            account: RefCell::default(),
            arriving: RefCell::default(),
            has_room: RefCell::new(None),
            wants_words: Cell::new(true),
            is_bridge: Cell::new(false),
            oversized: Cell::new(None),
            traffic: Traffic::default(),
        }
    }

    /// Asks this whether there is room for a CONNECT, when it is large and has not come whole.
    pub(crate) fn ask_for_room(&self, has_room: Option<Box<dyn Fn(usize) -> bool>>) {
        self.has_room.replace(has_room);
    }

    /// Takes large packets from this account while they arrive.
    pub(crate) fn charge_to(&self, account: &Arc<Account>) {
        self.account.replace(Some(Arc::clone(account)));
    }

    /// Takes room for a large packet that has not come whole; `false` when its device or person has none left.
    fn takes_room(&self, bytes: usize) -> bool {
        let mut arriving = self.arriving.borrow_mut();
        if arriving.is_some() {
            return true;
        }
        let mut purse = self.account.borrow().as_ref().map(Purse::of).unwrap_or_default();
        let is_taken = purse.take(bytes);
        *arriving = is_taken.then(|| Box::new(purse));
        is_taken
    }

    /// What is known of a PUBLISH that was too large to be read.
    pub(crate) fn take_oversized(&self) -> Option<Oversized> {
        self.oversized.take().map(|oversized| *oversized)
    }

    /// Whether the client said that it is the bridge of another broker.
    pub(crate) fn is_bridge(&self) -> bool {
        self.is_bridge.get()
    }

    /// The version, once a CONNECT announced one.
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.version.get()
    }

    /// Appends the bytes of a packet; `false` when the codec cannot write it. A packet that the version does not have is nothing.
    pub(crate) fn write(&self, packet: Packet<'_>, pages: &mut BytePages) -> bool {
        if let Packet::Publish(publish) = &packet {
            publish::write(&Size::of(self.version.get(), publish), publish, pages);
            return true;
        }
        if self.version.get() == Some(ProtocolVersion::V5) {
            let is_short = |item: &_, pages: &mut _| shortest::write(item, self.wants_words.get(), pages);
            convert5::encoded(packet).is_none_or(|item| is_short(&item, pages) || self.v5.encodev(item, pages).is_ok())
        } else {
            convert3::encoded(packet).is_none_or(|item| self.v3.encodev(item, pages).is_ok())
        }
    }

    /// The bytes of a packet by themselves.
    pub(crate) fn bytes(&self, packet: Packet<'_>) -> Option<Bytes> {
        if let Packet::Publish(publish) = &packet {
            let size = Size::of(self.version.get(), publish);
            let mut bytes = BytesMut::with_capacity(size.total());
            publish::write(&size, publish, &mut bytes);
            return Some(bytes.freeze());
        }
        let mut pages = BytePages::default();
        self.write(packet, &mut pages).then(|| pages.freeze())
    }
}

impl Decoder for Wire {
    type Item = Frame;
    type Error = ReasonCode;

    fn decode(&self, src: &mut BytesMut) -> Result<Option<Frame>, ReasonCode> {
        let Some(header) = Header::read(src)? else { return Ok(None) };
        // [MQTT-3.1.0-1] the first packet is a CONNECT; other bytes are not waited for
        if self.version.get().is_none() && !header.is_connect() {
            return Err(ReasonCode::ProtocolError);
        }
        let is_large = header.total() > self.usual as usize;
        if header.total() > self.maximum as usize || is_large && !header.is_publish() {
            self.oversized.set(Oversized::read(&header, src).map(Box::new));
            return Err(ReasonCode::PacketTooLarge);
        }
        if src.len() < header.total() {
            if is_large && !self.takes_room(header.total()) {
                return Err(ReasonCode::QuotaExceeded);
            }
            let is_refused = self.has_room.borrow().as_ref().is_some_and(|has_room| !has_room(header.total()));
            return if is_refused { Err(ReasonCode::QuotaExceeded) } else { Ok(None) };
        }
        if is_large {
            self.arriving.take();
        }
        if self.version.get().is_none()
            && let Some(translated) = frame::translate_connect(&src[header.len..header.total()])
        {
            self.is_bridge.set(translated.is_bridge);
            drop(src.split_to(header.total()));
            return self.decode(&mut BytesMut::from(&translated.packet[..]));
        }
        let body = &src[header.len..header.total()];
        let version = match self.version.get() {
            Some(version) => version,
            None => {
                let version = frame::version_of_connect(body)?;
                self.version.set(Some(version));
                version
            }
        };
        // [MQTT-1.5.5-1] of 5.0
        if version == ProtocolVersion::V5 && !header.is_minimal() {
            return Err(ReasonCode::MalformedPacket);
        }
        let notes = frame::check(version, header.first, body)?;
        if let Some(at) = notes.zero_expiry {
            // The codec refuses a message expiry of 0: it is shown a 1.
            src[header.len + at + 3] = 1;
        }
        self.traffic.received(header.total());
        let frame = match version {
            ProtocolVersion::V311 => self.v3.decode(src).map(|decoded| decoded.map(Frame::V3)),
            ProtocolVersion::V5 => self.v5.decode(src).map(|decoded| decoded.map(|packet| Frame::V5(packet, notes))),
        };
        if let Ok(Some(Frame::V5(v5::codec::Decoded::Packet(v5::codec::Packet::Connect(connect), _), _))) = &frame {
            self.wants_words.set(connect.request_problem_info);
        }
        frame.map_err(|error| crate::reason::of_decode_error(&error))
    }
}
