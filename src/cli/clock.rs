//! The wall clock that times the stages of a page.

use std::io::Write;
use std::time::Instant;

use crate::deliver::StageTime;
use crate::digitize::{Observer, Stage};

/// Whether stages are told on stderr as they begin, for who counts what each of them costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    Nothing,
    Stages,
}

/// Times stages one after another; a stage that runs twice is one entry.
pub struct Clock {
    telling: Telling,
    began: Instant,
    running: Option<(&'static str, Instant)>,
    times: Vec<StageTime>,
}

impl Clock {
    pub fn start(telling: Telling) -> Self {
        Self {
            telling,
            began: Instant::now(),
            running: None,
            times: Vec::new(),
        }
    }

    /// Ends the stage that runs and begins this one.
    pub fn begin(&mut self, stage: &'static str) {
        self.stop();
        self.tell(stage);
        self.running = Some((stage, Instant::now()));
    }

    /// Ends the stage that runs, if there is one.
    pub fn end(&mut self) {
        self.stop();
        self.tell("none");
    }

    fn tell(&self, stage: &str) {
        if self.telling == Telling::Stages {
            // In one write, so that nothing comes between; nobody listens where it fails.
            let _ = std::io::stderr().write_all(format!("stage {stage}\n").as_bytes());
        }
    }

    fn stop(&mut self) {
        let Some((stage, began)) = self.running.take() else {
            return;
        };
        let seconds = began.elapsed().as_secs_f64();
        match self.times.iter_mut().find(|time| time.stage == stage) {
            Some(time) => time.seconds += seconds,
            None => self.times.push(StageTime {
                stage: stage.to_owned(),
                seconds,
            }),
        }
    }

    /// Seconds since the start, to a millisecond.
    pub fn seconds(&self) -> f64 {
        to_milliseconds(self.began.elapsed().as_secs_f64())
    }

    /// The stages that have ended, to a millisecond.
    pub fn stages(&self) -> Vec<StageTime> {
        let rounded = |time: &StageTime| StageTime {
            stage: time.stage.clone(),
            seconds: to_milliseconds(time.seconds),
        };
        self.times.iter().map(rounded).collect()
    }
}

impl Observer for Clock {
    fn begins(&mut self, stage: Stage) {
        self.begin(stage.name());
    }
}

fn to_milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_listed_in_order_and_once() {
        let mut clock = Clock::start(Telling::Nothing);
        clock.begin("read");
        clock.begins(Stage::Labels);
        clock.begins(Stage::Grid);
        clock.begins(Stage::Labels);
        clock.end();
        let stages: Vec<_> = clock.stages().into_iter().map(|time| time.stage).collect();
        assert_eq!(stages, ["read", "labels", "grid"]);
    }
}
