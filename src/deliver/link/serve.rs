//! The receiver's end of one line: bytes to messages, messages to answers.
//!
//! In: an open stream, a `Receiver`, a `Store` that other lines may share. Out: the answers, and a
//! call for each record that has become durable. Ends well where the device closed the line or said
//! nothing for `idle_max`; fails where the line broke, takes no bytes, or the call failed.

use std::cell::RefCell;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::frame::{self, FrameReader};
use super::framed::{Stream, write};
use super::receiver::{Receiver, Store};
use super::wire::Offer;

const READ_BYTES: usize = 4096;

/// Answers what a device says until the line ends.
pub async fn serve(
    stream: &mut Stream,
    receiver: &mut Receiver,
    store: &RefCell<impl Store>,
    idle_max: Duration,
    mut stored: impl FnMut(Offer) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut reader = FrameReader::default();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let count = match timeout(idle_max, stream.read(&mut bytes)).await {
            Ok(read) => read?,
            Err(_) => 0,
        };
        if count == 0 {
            return Ok(());
        }
        let mut messages = Vec::new();
        reader.read(&bytes[..count], |message| messages.push(message));
        for message in messages {
            let answer = receiver.step(message, &mut *store.borrow_mut());
            if let Some(offer) = answer.stored {
                stored(offer)?;
            }
            if let Some(message) = answer.message {
                let frame = frame::encode(&message).map_err(std::io::Error::other)?;
                write(stream, &frame).await?;
            }
        }
    }
}
