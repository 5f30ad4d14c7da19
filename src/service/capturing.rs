//! The thread on which sources capture: one order at a time, each page safe before the next.
//!
//! In: orders. Out: `Delivered` pages, each of which waits for its answer, and the end of each order.
//! A page is looked at before it is handed over: one that cannot be read is refused while the paper
//! still lies there, and one that looks like the last is asked for again. The thread ends with its
//! orders.

use std::ops::ControlFlow;
use std::sync::mpsc as orders;

use tokio::sync::{mpsc, oneshot};

use super::Captured;
use super::config::NamedSource;
use super::gate::{Gate, Word};
use crate::capture::source::{SourceError, Stop};

/// What the thread is told.
pub enum Order {
    Capture {
        source: usize,
        even_if_doubtful: bool,
        reference: Option<String>,
        stop: Stop,
    },
    Check {
        source: usize,
    },
}

/// What the thread tells.
pub enum Told {
    /// A page, whose reply says whether to go on.
    Page {
        page: Vec<u8>,
        reference: Option<String>,
        reply: oneshot::Sender<Kept>,
    },
    Captured {
        source: usize,
        captured: Captured,
        /// What to tell people, where there is something.
        advice: Option<String>,
    },
    Checked {
        source: usize,
        found: Result<String, SourceError>,
    },
}

/// What became of a page that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Durable here, or it was before.
    Yes,
    No {
        reason: String,
    },
}

/// Begins the thread; it ends when the sender of its orders is dropped.
pub fn begin(
    sources: Vec<NamedSource>,
    gate: Gate,
    tell: mpsc::Sender<Told>,
) -> std::io::Result<orders::Sender<Order>> {
    let (give, take) = orders::channel();
    let bed = Bed {
        sources,
        gate,
        tell,
    };
    std::thread::Builder::new()
        .name("capture".to_owned())
        .spawn(move || bed.run(&take))?;
    Ok(give)
}

struct Bed {
    sources: Vec<NamedSource>,
    gate: Gate,
    tell: mpsc::Sender<Told>,
}

impl Bed {
    fn run(mut self, orders: &orders::Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            let told = match order {
                Order::Check { source } => Told::Checked {
                    source,
                    found: self.sources[source].source.check(),
                },
                Order::Capture {
                    source,
                    even_if_doubtful,
                    reference,
                    stop,
                } => {
                    let (captured, advice) =
                        self.capture(source, even_if_doubtful, reference.as_deref(), &stop);
                    Told::Captured {
                        source,
                        captured,
                        advice,
                    }
                }
            };
            if self.tell.blocking_send(told).is_err() {
                return;
            }
        }
    }

    fn capture(
        &mut self,
        source: usize,
        even_if_doubtful: bool,
        reference: Option<&str>,
        stop: &Stop,
    ) -> (Captured, Option<String>) {
        let Self {
            sources,
            gate,
            tell,
        } = self;
        let mut count = 0;
        let mut end = None;
        let mut take = |page: Vec<u8>| {
            // Pages of a feeder may well look alike: they are other sheets.
            let word = gate.look(&page, even_if_doubtful || count > 0, reference);
            let reference = match word {
                Word::Page { reference } => reference,
                Word::Cover => return ControlFlow::Continue(()),
                Word::Doubtful { advice } => {
                    end = Some((Captured::Doubtful, advice));
                    return ControlFlow::Break(());
                }
                Word::Refused { advice } => {
                    end = Some((Captured::Refused, advice));
                    return ControlFlow::Break(());
                }
            };
            match hand_over(tell, page, reference) {
                Kept::Yes => {
                    gate.taken();
                    count += 1;
                    ControlFlow::Continue(())
                }
                Kept::No { reason } => {
                    end = Some((Captured::Refused, reason));
                    ControlFlow::Break(())
                }
            }
        };
        let done = sources[source].source.capture(stop, &mut take);
        gate.ended(count);
        if let Some((captured, advice)) = end {
            return (captured, Some(advice));
        }
        match done {
            Ok(()) => (Captured::Pages, None),
            Err(SourceError::Stopped) => (Captured::Cancelled, None),
            // Paper and covers are no fault of the device.
            Err(error @ SourceError::Operator { .. }) => {
                (Captured::Refused, Some(error.to_string()))
            }
            Err(error) => (Captured::Failed, Some(error.to_string())),
        }
    }
}

fn hand_over(tell: &mpsc::Sender<Told>, page: Vec<u8>, reference: Option<String>) -> Kept {
    let (reply, told) = oneshot::channel();
    let page = Told::Page {
        page,
        reference,
        reply,
    };
    let ended = Kept::No {
        reason: "the service ends".to_owned(),
    };
    if tell.blocking_send(page).is_err() {
        return ended;
    }
    told.blocking_recv().unwrap_or(ended)
}
