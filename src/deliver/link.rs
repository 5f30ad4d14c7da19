//! Links: how a record gets to a receiver, and how it is known to be there.
//!
//! In: a record under its job's id. Out: `Ok` once it is durable at the other end, else whether
//! trying again helps. Delivery is at least once: receivers know records by their id and keep each
//! once. Links with frames speak to a `Receiver` over a line that may lose, flip and double bytes;
//! what they say is in `wire.rs`, the bytes around it in `frame.rs`, the order of it in `sender.rs`.
//! Both ends are pure state machines.

mod backoff;
#[cfg(test)]
mod channel;
mod frame;
mod receiver;
mod sender;
mod wire;

pub use backoff::Backoff;
pub use frame::{FrameCounts, FrameError, FrameReader, encode};
pub use receiver::{Answer, Committed, Receiver, Store, StoreError};
pub use sender::{Action, Event, Outgoing, Pace, Sender, TooLong};
pub use wire::{Message, Offer, RecordDigest, RecordId, Refusal, State};
