//! Lines for tests: edges are given by hand, and what is done to the light is kept.
//!
//! In: edges, faults. Out: `Lines`, and what became of them. A wait ends with an edge, as with real
//! ones.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::PanelError;
use super::button::Edge;
use super::lines::{Lines, Opened};

#[derive(Debug, Default)]
pub struct Record {
    pub edges: VecDeque<Edge>,
    pub is_pressed: bool,
    pub is_lit: bool,
    pub is_broken: bool,
    pub is_absent: bool,
    pub opens: usize,
}

/// The same lines for whoever opens them, and for the test.
#[derive(Clone, Default)]
pub struct Recorded(Arc<(Mutex<Record>, Condvar)>);

impl Recorded {
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.0.lock().expect("no test panics with it")
    }

    pub fn give(&self, edge: Edge) {
        let mut record = self.record();
        record.is_pressed = edge.is_pressed;
        record.edges.push_back(edge);
        self.0.1.notify_all();
    }

    pub fn open(&self) -> Opened {
        let mut record = self.record();
        record.opens += 1;
        if record.is_absent {
            return Err(PanelError::NoChip);
        }
        Ok(Box::new(self.clone()))
    }

    /// Waits for something to become so, 10 s at most.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Record) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !is_so(&self.record()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.record());
            std::thread::yield_now();
        }
    }

    fn works(&self) -> Result<MutexGuard<'_, Record>, PanelError> {
        let record = self.record();
        if record.is_broken {
            return Err(PanelError::Failed {
                device: "GPIO17".to_owned(),
                reason: "No such device".to_owned(),
            });
        }
        Ok(record)
    }
}

impl Lines for Recorded {
    fn wait(&mut self, wait: Duration) -> Result<Option<Edge>, PanelError> {
        let record = self.works()?;
        let waited = self
            .0
            .1
            .wait_timeout_while(record, wait, |record| record.edges.is_empty());
        Ok(waited.expect("no test panics with it").0.edges.pop_front())
    }

    fn is_pressed(&mut self) -> Result<bool, PanelError> {
        Ok(self.works()?.is_pressed)
    }

    fn switch(&mut self, is_lit: bool) -> Result<(), PanelError> {
        self.works()?.is_lit = is_lit;
        Ok(())
    }

    fn about(&self) -> String {
        "recorded".to_owned()
    }
}
