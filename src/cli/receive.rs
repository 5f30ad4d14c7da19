//! The reference receiver: records from devices to files, for integrators and for tests.
//!
//! In: a serial line, or a TCP address for several devices. Out: `DIR/ID.lsr`, one line `ID BYTES` on
//! stdout for each record once it is durable, and messages on stderr. A port that was pulled out is
//! opened again when it is back; a connection that breaks ends alone. SIGINT and SIGTERM end it: what
//! was stored is stored, and what was on its way is gone on with next time.

use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use super::arguments::ReceiveArguments;
use super::console::complain;
use super::{ExitStatus, UsageError};
use crate::deliver::link::{Backoff, FolderStore, Offer, Receiver, Stream, open_port, serve};
use crate::limits;

/// How devices know us.
const NAME: &str = concat!("leadscan receive ", env!("CARGO_PKG_VERSION"));
const IDLE_MAX: Duration = Duration::from_millis(limits::LINK_IDLE_MS_MAX);
/// After a connection that could not be taken: no memory, or no file handle.
const PAUSE: Duration = Duration::from_millis(250);

type Shared = Rc<RefCell<FolderStore>>;

/// Receives until it is told to end.
pub fn receive(arguments: &ReceiveArguments) -> Result<ExitStatus, UsageError> {
    let store = FolderStore::open(&arguments.out).map_err(|error| UsageError::OutFolder {
        path: arguments.out.clone(),
        error,
    })?;
    let store = Rc::new(RefCell::new(store));
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(UsageError::Runtime)?;
    LocalSet::new().block_on(&runtime, until_told(arguments, store))
}

async fn until_told(arguments: &ReceiveArguments, store: Shared) -> Result<ExitStatus, UsageError> {
    let listen = |kind| -> Result<Signal, UsageError> { signal(kind).map_err(UsageError::Runtime) };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(ExitStatus::Done),
        _ = terminate.recv() => Ok(ExitStatus::Done),
        ended = on_line(arguments, store) => ended,
    }
}

async fn on_line(arguments: &ReceiveArguments, store: Shared) -> Result<ExitStatus, UsageError> {
    let unusable = |line: String| move |error| UsageError::Line { line, error };
    if let (Some(path), Some(baud)) = (&arguments.serial, arguments.baud) {
        let line = unusable(path.display().to_string());
        let port = open_port(path, baud).map_err(line)?;
        on_serial(port, path, baud, &store).await;
    }
    if let Some(address) = arguments.tcp {
        let bound = TcpListener::bind(address).await;
        on_tcp(bound.map_err(unusable(address.to_string()))?, store).await;
    }
    Ok(ExitStatus::Done)
}

/// For ever: whatever becomes of the port.
async fn on_serial(port: Stream, path: &Path, baud: u32, store: &Shared) {
    let name = path.display();
    let mut receiver = Receiver::new(NAME);
    let mut port = Some(port);
    let mut backoff = Backoff::lines();
    loop {
        if let Some(mut stream) = port.take() {
            complain(&format!("receiving on {name}"));
            let ended = serve(&mut stream, &mut receiver, store, Duration::MAX, tell).await;
            let reason = ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
            complain(&format!("{name}: {reason}"));
            backoff.reset();
        }
        sleep(Duration::from_millis(backoff.next_ms())).await;
        port = open_port(path, baud).ok();
    }
}

/// For ever: every connection is a task of its own.
async fn on_tcp(listener: TcpListener, store: Shared) {
    if let Ok(address) = listener.local_addr() {
        complain(&format!("receiving on {address}"));
    }
    let mut connections = JoinSet::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((_, peer)) if connections.len() >= limits::LINK_CONNECTIONS_MAX => {
                complain(&format!("{peer}: too many connections"));
            }
            Ok((stream, peer)) => {
                let store = Rc::clone(&store);
                connections.spawn_local(async move {
                    if let Err(error) = on_connection(stream, &store).await {
                        complain(&format!("{peer}: {error}"));
                    }
                });
            }
            Err(error) => {
                complain(&error.to_string());
                sleep(PAUSE).await;
            }
        }
    }
}

async fn on_connection(stream: TcpStream, store: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream: Stream = Box::new(stream);
    let mut receiver = Receiver::new(NAME);
    serve(&mut stream, &mut receiver, store, IDLE_MAX, tell).await
}

/// One line a record.
fn tell(offer: Offer) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} {}", offer.id, offer.bytes)?;
    out.flush()
}
