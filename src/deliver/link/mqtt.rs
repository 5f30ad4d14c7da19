//! A link to an MQTT 5 broker: each record is one message, QoS 1.
//!
//! ```text
//! PREFIX/records/ID   a record's bytes, not retained
//! PREFIX/status       "online" or, by the broker once the device is gone, "offline"; retained
//! ```
//!
//! In: records; settings: an address, what keeps the connection safe (as for `tcp`), the prefix, a
//! user and a file with the password. Out: `Ok` once the broker has acknowledged the record's own
//! packet. Then *the broker* has it: it is durable only where the broker keeps its messages on disk
//! (Mosquitto: `persistence true`, `autosave_on_changes true`, `autosave_interval 1`; it
//! acknowledges just before it saves, so a power cut in that moment loses a record that no receiver
//! has yet), and it gets to a receiver that is away only where that one has a session that lasts
//! and the broker's queue has room (`max_queued_messages 0`). Who cannot grant that takes a link
//! whose receiver answers itself: `tcp`, `serial`, `https`. A record that nobody subscribes to is
//! not delivered: the broker would drop it and says so, which MQTT 3 could not; nor could it say
//! that an access list dropped it. So it is MQTT 5 or nothing.
//!
//! A broken connection leaves the record `Temporary`, and it is published again: receivers know
//! records by their id. Sessions begin clean: the spool is what remembers, and a session kept by
//! the broker holds nothing for a device that only publishes, but would oblige it to repeat the
//! packets of records that it has given up. `rest` holds the connection between records and opens
//! it again, so that `PREFIX/status` tells the truth. Of `rumqttc` only the packets are used: its
//! event loop opens its own connections (the broker's address is then its certificate's name),
//! repeats by itself what was given up, and bounds no wait for an answer. One client id is one
//! device: two destinations at one broker need one each. A record is copied once, into its packet.

mod session;

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::answer::AnswerTime;
use super::backoff::Backoff;
use super::framed::Line;
use super::secret::SecretFile;
use super::sender::Outgoing;
use super::tcp::{Connection, Security};
use super::wire::NAME_BYTES_MAX;
use super::{Checking, Delivering, Link, LinkError, Resting, SettingsError};
use crate::limits;

use session::{Broken, Hello, Session};

/// What the configuration says of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `HOST:PORT`
    pub address: String,
    pub security: Security,
    /// What all topics begin with, without a slash at its end.
    pub prefix: String,
    /// How the broker knows the device; its name, if not set.
    pub client_id: Option<String>,
    pub login: Option<LoginSettings>,
    #[serde(default = "keep_alive_s")]
    pub keep_alive_s: u16,
    #[serde(default)]
    pub answer_ms: AnswerTime,
}

/// As whom the broker lets the device in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    pub user: String,
    /// File of the password.
    pub password: SecretFile,
}

fn keep_alive_s() -> u16 {
    30
}

/// The link.
pub struct Mqtt {
    connection: Connection,
    prefix: String,
    client_id: String,
    login: Option<LoginSettings>,
    keep_alive_s: u16,
    answer: AnswerTime,
    /// Open and with no packet half sent.
    session: Option<Session>,
}

/// The link; it connects as soon as it rests, or with the first record.
pub fn new(settings: Settings, device: &str) -> Result<Mqtt, SettingsError> {
    check_prefix(&settings.prefix)?;
    let client_id = settings.client_id.unwrap_or_else(|| device.to_owned());
    check_name("client_id", &client_id)?;
    if let Some(login) = &settings.login {
        check_name("login.user", &login.user)?;
        login.password.read()?;
    }
    let [min, max] = limits::LINK_KEEP_ALIVE_S;
    let keep_alive_s = settings.keep_alive_s;
    if !(min..=max).contains(&keep_alive_s) {
        let reason = format!("keep_alive_s: {keep_alive_s}; {min} to {max} can be had");
        return Err(SettingsError::Table { reason });
    }
    Ok(Mqtt {
        connection: Connection::new(settings.address, &settings.security)?,
        prefix: settings.prefix,
        client_id,
        login: settings.login,
        keep_alive_s,
        answer: settings.answer_ms,
        session: None,
    })
}

fn check_prefix(prefix: &str) -> Result<(), SettingsError> {
    let is_wild = prefix.contains(['+', '#', '\0']) || prefix.starts_with(['$', '/']);
    let is_whole = !prefix.is_empty() && !prefix.ends_with('/');
    if is_wild || !is_whole || prefix.len() > limits::LINK_TOPIC_BYTES_MAX {
        let reason =
            format!("prefix: {prefix:?} is not the beginning of a topic, as in ward/bed-7");
        return Err(SettingsError::Table { reason });
    }
    Ok(())
}

fn check_name(key: &str, name: &str) -> Result<(), SettingsError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        let reason = format!("{key}: {name:?} is not a name of 1 to {NAME_BYTES_MAX} bytes");
        return Err(SettingsError::Table { reason });
    }
    Ok(())
}

impl Mqtt {
    async fn send(&mut self, record: &Outgoing) -> Result<(), LinkError> {
        // A session that was kept may be dead without our knowing; a fresh one is not.
        if let Some(session) = self.session.take()
            && let Ok(reason) = self.publish(session, record).await
        {
            return self.verdict(reason);
        }
        let published = match self.open().await {
            Ok(session) => self.publish(session, record).await,
            Err(broken) => Err(broken),
        };
        match published {
            Ok(reason) => self.verdict(reason),
            Err(broken @ Broken::TooLarge) => Err(LinkError::permanent(broken)),
            Err(broken) => Err(LinkError::temporary(broken)),
        }
    }

    async fn open(&mut self) -> Result<Session, Broken> {
        let login = match &self.login {
            None => None,
            Some(login) => Some((login.user.clone(), login.password.read()?)),
        };
        let hello = Hello {
            client_id: self.client_id.clone(),
            login,
            keep_alive_s: self.keep_alive_s,
            status: format!("{}/status", self.prefix),
        };
        let stream = self.connection.open().await?;
        let opening = Session::open(stream, hello);
        timeout(self.answer.alone(), opening).await?
    }

    /// The session is kept only if this comes to its end: one that is given up may be in the middle
    /// of a packet.
    async fn publish(
        &mut self,
        mut session: Session,
        record: &Outgoing,
    ) -> Result<PubAckReason, Broken> {
        let topic = format!("{}/records/{}", self.prefix, record.offer().id);
        let bytes = Bytes::from_owner(Held(record.clone()));
        let publishing = session.publish(&topic, bytes);
        let reason = timeout(self.answer.of(record), publishing).await??;
        self.session = Some(session);
        Ok(reason)
    }

    fn verdict(&self, reason: PubAckReason) -> Result<(), LinkError> {
        let prefix = &self.prefix;
        let why = match reason {
            PubAckReason::Success => return Ok(()),
            PubAckReason::PayloadFormatInvalid => {
                return Err(LinkError::permanent("the broker refuses the record"));
            }
            PubAckReason::NoMatchingSubscribers => {
                format!("nobody subscribes to {prefix}/records/+, the broker would drop the record")
            }
            PubAckReason::NotAuthorized => {
                format!(
                    "the broker lets the device not publish to {prefix}/records: see its rights"
                )
            }
            PubAckReason::TopicNameInvalid => {
                format!("the broker knows no topic {prefix}/records: see the prefix")
            }
            PubAckReason::QuotaExceeded => "the broker is full".to_owned(),
            PubAckReason::UnspecifiedError
            | PubAckReason::ImplementationSpecificError
            | PubAckReason::PacketIdentifierInUse => {
                format!("the broker cannot take the record now: {reason:?}")
            }
        };
        Err(LinkError::temporary(why))
    }

    async fn stay(&mut self) -> Infallible {
        let mut backoff = Backoff::deliveries();
        loop {
            if let Some(session) = &mut self.session {
                // Why it ended, the next record is told.
                let _ = session.rest().await;
                self.session = None;
            }
            match self.open().await {
                Ok(session) => {
                    self.session = Some(session);
                    backoff.reset();
                }
                Err(_) => {
                    let random = RandomState::new().build_hasher().finish();
                    sleep(Duration::from_millis(backoff.next_jittered_ms(random))).await;
                }
            }
        }
    }
}

impl Link for Mqtt {
    fn deliver<'a>(&'a mut self, record: &'a Outgoing) -> Delivering<'a> {
        Box::pin(self.send(record))
    }

    fn check(&mut self) -> Checking<'_> {
        Box::pin(async {
            let opened = self.open().await.map_err(LinkError::temporary);
            opened.map(|_| "the broker lets the device in".to_owned())
        })
    }

    fn rest(&mut self) -> Resting<'_> {
        Box::pin(self.stay())
    }
}

/// A record's bytes, lent to the packet.
struct Held(Outgoing);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: &str) -> Option<String> {
        let text = format!("address = 'a:1'\nsecurity = 'plain'\n{settings}");
        let settings = toml::from_str(&text).unwrap();
        new(settings, "bed 7").err().map(|error| error.to_string())
    }

    #[test]
    fn topics_and_names_are_checked() {
        for good in ["ward", "ward/bed 7/ecg", "Straße"] {
            assert_eq!(refusal(&format!("prefix = '{good}'")), None);
        }
        for bad in [
            "",
            "/ward",
            "ward/",
            "ward/+",
            "ward/#",
            "$SYS",
            &"a".repeat(201),
        ] {
            assert!(refusal(&format!("prefix = '{bad}'")).is_some(), "{bad}");
        }
        assert!(refusal("prefix = 'a'\nclient_id = ''").is_some());
        assert!(refusal("prefix = 'a'\nkeep_alive_s = 0").is_some());
        let login = "prefix = 'a'\nlogin = { user = 'b', password = '/none' }";
        assert!(refusal(login).unwrap().contains("/none"));
    }

    #[test]
    fn only_success_is_a_delivery() {
        use crate::deliver::spool::Failure;
        let settings = "address = 'a:1'\nsecurity = 'plain'\nprefix = 'ward'";
        let link = new(toml::from_str(settings).unwrap(), "bed 7").unwrap();
        let fault = |reason| link.verdict(reason).err().map(|error| error.fault);
        assert_eq!(fault(PubAckReason::Success), None);
        let permanent = fault(PubAckReason::PayloadFormatInvalid);
        assert_eq!(permanent, Some(Failure::Permanent));
        for reason in [
            PubAckReason::NoMatchingSubscribers,
            PubAckReason::NotAuthorized,
            PubAckReason::TopicNameInvalid,
            PubAckReason::QuotaExceeded,
            PubAckReason::UnspecifiedError,
            PubAckReason::ImplementationSpecificError,
            PubAckReason::PacketIdentifierInUse,
        ] {
            assert_eq!(fault(reason), Some(Failure::Temporary), "{reason:?}");
        }
    }
}
