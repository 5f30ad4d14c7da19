//! One connection to a broker, from its `CONNECT` to its end.
//!
//! In: an open stream, who we are, messages. Out: the broker's answer to each, matched by its
//! packet's number; one message is under way at a time. Whoever waits pings: after half of the
//! keep-alive time without a packet from the broker, and after as long without an answer the
//! connection is dead. All but `publish` may be dropped at any time: what was not written yet stays
//! in `output`. A packet from the broker has `LINK_PACKET_BYTES_MAX` at most. Fails by `Broken`;
//! the connection is of no use then.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, LastWill, Login, Packet, PingReq,
    PubAckReason, Publish, PublishProperties, check,
};
use rumqttc::v5::mqttbytes::{Error as PacketError, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::deliver::link::SettingsError;
use crate::deliver::link::framed::Stream;
use crate::limits;

const READ_BYTES: usize = 1024;
const RECORD: &str = "application/vnd.leadscan.record";
/// First byte of a `DISCONNECT`, and of a `PUBACK`.
const DISCONNECT: u8 = 0xe0;
const PUBACK: u8 = 0x40;
const PACKET_TOO_LARGE: u8 = 0x95;

/// Why a connection to a broker is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Line(#[from] std::io::Error),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker does not answer")]
    Silent,
    #[error("{0}")]
    Secret(#[from] SettingsError),
    #[error("the broker does not let the device in: {reason:?}")]
    Refused { reason: ConnectReturnCode },
    #[error("the broker ended the session: reason 0x{reason:02x} of MQTT 5")]
    Ended { reason: u8 },
    #[error("the broker takes no {what}")]
    Lacks { what: &'static str },
    #[error("the broker lets the device not publish to {topic}: {reason:?}")]
    Status { topic: String, reason: PubAckReason },
    #[error("the broker does not take a record of this length")]
    TooLarge,
    #[error("the broker says what was not asked")]
    Stray,
    #[error("the broker does not speak MQTT 5: {0}")]
    Packet(#[from] PacketError),
}

impl From<Elapsed> for Broken {
    fn from(_: Elapsed) -> Self {
        Self::Silent
    }
}

/// Who we are.
pub struct Hello {
    pub client_id: String,
    /// User and password.
    pub login: Option<(String, String)>,
    pub keep_alive_s: u16,
    /// The topic of the device's state.
    pub status: String,
}

/// An open connection.
pub struct Session {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
    packet_id: u16,
    packet_bytes_max: Option<u32>,
    ping_after: Duration,
    is_pinged: bool,
}

impl Session {
    /// Shakes hands and says `online`; who calls it bounds the time.
    pub async fn open(stream: Stream, hello: Hello) -> Result<Self, Broken> {
        let mut session = Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            packet_id: 0,
            packet_bytes_max: None,
            ping_after: half(hello.keep_alive_s),
            is_pinged: false,
        };
        let status = hello.status.clone();
        session.say(&connect(hello)).await?;
        match session.hear().await? {
            Packet::ConnAck(answer) => session.greeted(answer)?,
            _ => return Err(Broken::Stray),
        }
        let mut online = Publish::new(status.as_str(), QoS::AtLeastOnce, "online", None);
        online.retain = true;
        match session.send(online).await? {
            // A retained message waits for who comes later.
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(session),
            reason => Err(Broken::Status {
                topic: status,
                reason,
            }),
        }
    }

    fn greeted(&mut self, answer: ConnAck) -> Result<(), Broken> {
        let reason = answer.code;
        if reason != ConnectReturnCode::Success {
            return Err(Broken::Refused { reason });
        }
        let Some(properties) = answer.properties else {
            return Ok(());
        };
        if properties.max_qos == Some(0) {
            return Err(Broken::Lacks { what: "QoS 1" });
        }
        if properties.retain_available == Some(0) {
            let what = "retained messages";
            return Err(Broken::Lacks { what });
        }
        self.packet_bytes_max = properties.max_packet_size;
        if let Some(keep_alive_s) = properties.server_keep_alive {
            self.ping_after = half(keep_alive_s);
        }
        Ok(())
    }

    /// Sends a record; how the broker answered to it.
    pub async fn publish(&mut self, topic: &str, bytes: Bytes) -> Result<PubAckReason, Broken> {
        let properties = PublishProperties {
            content_type: Some(RECORD.to_owned()),
            ..PublishProperties::default()
        };
        let packet = Publish::new(topic, QoS::AtLeastOnce, bytes, Some(properties));
        self.send(packet).await
    }

    async fn send(&mut self, mut packet: Publish) -> Result<PubAckReason, Broken> {
        // Never 0.
        self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
        packet.pkid = self.packet_id;
        let bytes_max = self.packet_bytes_max.map(|max| max as usize);
        if bytes_max.is_some_and(|max| packet.size() > max) {
            return Err(Broken::TooLarge);
        }
        self.say(&Packet::Publish(packet)).await?;
        match self.hear().await? {
            Packet::PubAck(answer) if answer.pkid == self.packet_id => Ok(answer.reason),
            _ => Err(Broken::Stray),
        }
    }

    /// Keeps the connection alive while there is nothing to send, until it ends.
    pub async fn rest(&mut self) -> Broken {
        match self.hear().await {
            Ok(_) => Broken::Stray,
            Err(broken) => broken,
        }
    }

    async fn say(&mut self, packet: &Packet) -> Result<(), Broken> {
        packet.write(&mut self.output, None)?;
        Ok(self.flush().await?)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        let bound = Duration::from_millis(limits::LINK_WRITE_MS_MAX);
        while !self.output.is_empty() {
            let written = timeout(bound, self.stream.write_buf(&mut self.output)).await;
            if written?? == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
        }
        // The room of a long record is given back.
        self.output = BytesMut::new();
        timeout(bound, self.stream.flush()).await?
    }

    /// The next packet that is no answer to a ping.
    async fn hear(&mut self) -> Result<Packet, Broken> {
        loop {
            self.flush().await?;
            match take(&mut self.input)? {
                Some(Packet::PingResp(_)) => {
                    self.is_pinged = false;
                    continue;
                }
                Some(packet) => return Ok(packet),
                None => {}
            }
            self.input.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.input);
            match timeout(self.ping_after, read).await {
                Ok(Ok(0)) => return Err(Broken::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) if self.is_pinged => return Err(Broken::Silent),
                Err(_) => {
                    self.is_pinged = true;
                    PingReq::write(&mut self.output)?;
                }
            }
        }
    }
}

fn half(keep_alive_s: u16) -> Duration {
    Duration::from_millis(500 * u64::from(keep_alive_s.max(1)))
}

fn connect(hello: Hello) -> Packet {
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(limits::LINK_PACKET_BYTES_MAX);
    let connect = Connect {
        keep_alive: hello.keep_alive_s,
        client_id: hello.client_id,
        clean_start: true,
        properties: Some(properties),
    };
    let will = LastWill::new(hello.status, "offline", QoS::AtLeastOnce, true, None);
    let login = hello
        .login
        .map(|(user, password)| Login::new(user, password));
    Packet::Connect(connect, Some(will), login)
}

/// The first packet of what has come, once it is whole.
fn take(input: &mut BytesMut) -> Result<Option<Packet>, Broken> {
    let bytes_max = Some(limits::LINK_PACKET_BYTES_MAX);
    match check(input.iter(), bytes_max) {
        Err(PacketError::InsufficientBytes(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    // A DISCONNECT of one byte, which MQTT 5 allows, is not read by the crate; nor is the reason
    // that Mosquitto has for a PUBACK of a message that is too large: no list has it.
    match input[..] {
        [DISCONNECT, 0, ..] => Err(Broken::Ended { reason: 0 }),
        [DISCONNECT, _, PACKET_TOO_LARGE, ..] => Err(Broken::TooLarge),
        [DISCONNECT, _, reason, ..] => Err(Broken::Ended { reason }),
        [PUBACK, _, _, _, PACKET_TOO_LARGE, ..] if input[1] > 2 => Err(Broken::TooLarge),
        _ => Ok(Some(Packet::read(input, bytes_max)?)),
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::PubAck;
    use tokio::io::DuplexStream;

    use super::*;

    const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
    const ONLINE_ACK: [u8; 4] = [PUBACK, 2, 0, 1];

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    /// A session with a broker that has said these bytes, and the broker's end.
    async fn opened(said: &[&[u8]]) -> (Result<Session, Broken>, DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(&said.concat()).await.unwrap();
        let hello = Hello {
            client_id: "bed 7".to_owned(),
            login: None,
            keep_alive_s: 1,
            status: "ward/status".to_owned(),
        };
        (Session::open(Box::new(ours), hello).await, theirs)
    }

    /// How a record fares with a broker that says this after the handshake.
    fn answered(said: &[u8]) -> Result<PubAckReason, Broken> {
        run(async {
            let (session, _theirs) = opened(&[&CONNACK, &ONLINE_ACK, said]).await;
            let bytes = Bytes::from_static(b"record");
            session.unwrap().publish("ward/records/1", bytes).await
        })
    }

    #[test]
    fn only_the_packets_own_acknowledgement_counts() {
        assert_eq!(answered(&[PUBACK, 2, 0, 2]).unwrap(), PubAckReason::Success);
        let unread = answered(&[PUBACK, 4, 0, 2, 0x10, 0]).unwrap();
        assert_eq!(unread, PubAckReason::NoMatchingSubscribers);
        for number in [0, 1, 3] {
            let other = answered(&[PUBACK, 2, 0, number]);
            assert!(matches!(other, Err(Broken::Stray)), "{other:?}");
        }
        let other = answered(&CONNACK);
        assert!(matches!(other, Err(Broken::Stray)), "{other:?}");
    }

    #[test]
    fn reasons_that_the_crate_does_not_read_are_told() {
        let ended = answered(&[DISCONNECT, 1, 0x8b]);
        assert!(matches!(ended, Err(Broken::Ended { reason: 0x8b })));
        assert!(matches!(
            answered(&[DISCONNECT, 0]),
            Err(Broken::Ended { reason: 0 })
        ));
        let too_large = answered(&[DISCONNECT, 1, PACKET_TOO_LARGE]);
        assert!(matches!(too_large, Err(Broken::TooLarge)));
        let too_large = answered(&[PUBACK, 3, 0, 2, PACKET_TOO_LARGE]);
        assert!(matches!(too_large, Err(Broken::TooLarge)));
    }

    #[test]
    fn a_broker_that_cannot_do_what_is_needed_is_told_so() {
        let greeted = |said: &[u8]| run(async { opened(&[said, &ONLINE_ACK]).await.0.err() });
        assert!(greeted(&CONNACK).is_none());
        let refused = greeted(&[0x20, 3, 0, 0x87, 0]);
        assert!(matches!(refused, Some(Broken::Refused { .. })));
        for property in [36, 37] {
            let lacks = greeted(&[0x20, 5, 0, 0, 2, property, 0]);
            assert!(matches!(lacks, Some(Broken::Lacks { .. })), "{lacks:?}");
        }
        // MQTT 3 says so in four bytes.
        assert!(matches!(greeted(&[0x20, 2, 0, 1]), Some(Broken::Packet(_))));
    }

    #[test]
    fn a_record_longer_than_the_broker_takes_is_not_sent() {
        let (sent, said) = run(async {
            // At most 60 bytes a packet.
            let connack = [0x20, 8, 0, 0, 5, 39, 0, 0, 0, 60];
            let (session, mut theirs) = opened(&[&connack, &ONLINE_ACK]).await;
            let bytes = Bytes::from_static(&[b'r'; 60]);
            let sent = session.unwrap().publish("ward/records/1", bytes).await;
            let mut said = Vec::new();
            theirs.read_to_end(&mut said).await.unwrap();
            (sent, said)
        });
        assert!(matches!(sent, Err(Broken::TooLarge)), "{sent:?}");
        assert!(said.ends_with(b"online"));
    }

    #[test]
    fn a_broker_that_says_nothing_is_asked_once_and_given_up() {
        let (broken, said) = run(async {
            let (session, mut theirs) = opened(&[&CONNACK, &ONLINE_ACK]).await;
            let broken = session.unwrap().rest().await;
            let mut said = Vec::new();
            theirs.read_to_end(&mut said).await.unwrap();
            (broken, said)
        });
        assert!(matches!(broken, Broken::Silent), "{broken:?}");
        assert!(said.ends_with(b"online\xc0\x00"));
    }

    #[test]
    fn a_packet_longer_than_its_limit_is_not_gathered() {
        let mut input = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
        assert!(matches!(take(&mut input), Err(Broken::Packet(_))));
    }

    #[test]
    fn broken_packets_end_the_session_and_nothing_else() {
        let mut seed = 5u64;
        let mut random = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        let mut whole = BytesMut::new();
        PubAck::new(7, None).write(&mut whole).unwrap();
        let text = [0x20, 12, 0, 0, 9, 31, 0, 2, b'n', b'o', 33, 0, 9, 0xd0, 0];
        let packets: [&[u8]; 4] = [&whole, &text, &CONNACK, &[DISCONNECT, 3, 0x8b, 0, 0]];
        let mut counts = [0; 3];
        for _ in 0..20_000 {
            let mut bytes = packets[random() % packets.len()].to_vec();
            let flipped = random() % bytes.len();
            bytes[flipped] ^= 1 << (random() % 8);
            bytes.truncate(1 + random() % bytes.len());
            let mut input = BytesMut::from(&bytes[..]);
            counts[match take(&mut input) {
                Ok(Some(_)) => 0,
                Ok(None) => 1,
                Err(_) => 2,
            }] += 1;
        }
        println!("seed 5: {counts:?} read, waited for, refused");
        assert!(counts.iter().all(|count| *count > 0));
    }
}
