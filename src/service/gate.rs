//! What a captured page is held against before it is accepted.
//!
//! In: a page's bytes. Out: a `Word`: take it, with its reference; ask for it again; or refuse it with
//! what to do. What cannot be told from a page of the paper is left to the digitizer. A sheet with a
//! code and no ECG says whose the pages of this capture are, or of the next one within
//! `COVER_S_MAX`; who asks for a capture by name knows better. Nothing of a reference is logged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::capture::gate::{self, Judgement, PageHash, Verdict};
use crate::capture::reference::{self, NoReference, Reference};
use crate::capture::{Fault, decode_in, header_in};
use crate::limits;
use crate::memory;

/// A cover sheet is forgotten: whoever laid it down has gone.
const COVER_S_MAX: u64 = 600;

/// What is looked at.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// Light, sharpness, whether a page is there, whether it looks like the last one.
    pub page: bool,
    /// Codes that begin so are references.
    pub codes: Option<String>,
}

/// Judges pages one after another, and knows the last one that was taken.
pub struct Gate {
    checks: Checks,
    last: Option<PageHash>,
    /// The page that was looked at last.
    seen: Option<PageHash>,
    cover: Option<(Reference, Instant)>,
}

/// What is to be done with a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Page {
        reference: Option<String>,
    },
    /// A sheet that only says whose the next pages are.
    Cover,
    /// To be taken if it is asked for again.
    Doubtful {
        advice: String,
    },
    Refused {
        advice: String,
    },
}

impl Gate {
    pub fn new(checks: Checks) -> Self {
        Self {
            checks,
            last: None,
            seen: None,
            cover: None,
        }
    }

    /// Looks at a page; `given` is what the caller says it is called.
    pub fn look(&mut self, page: &[u8], even_if_doubtful: bool, given: Option<&str>) -> Word {
        self.seen = None;
        if !self.checks.page && self.checks.codes.is_none() {
            return self.named(given.map(str::to_owned));
        }
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(page)));
        let (judgement, code) = match judged {
            Ok(Ok(judged)) => judged,
            // A fault of ours is no reason to refuse a page: digitizing has the last word.
            Err(_) => return self.named(given.map(str::to_owned)),
            // No picture: said while the paper still lies there.
            Ok(Err(fault)) => {
                return Word::Refused {
                    advice: fault.to_string(),
                };
            }
        };
        if given.is_none() && reference::is_cover_sheet(&judgement, &code) {
            self.cover = code.ok().map(|code| (code, Instant::now()));
            return Word::Cover;
        }
        if self.checks.page
            && let Some(word) = self.objection(&judgement, even_if_doubtful)
        {
            return word;
        }
        self.seen = Some(judgement.likeness);
        match (given, code) {
            (Some(given), _) => self.named(Some(given.to_owned())),
            (None, Ok(code)) => self.named(Some(code.as_str().to_owned())),
            // Which one is meant is not guessed.
            (None, Err(error @ NoReference::Several { .. })) => Word::Refused {
                advice: error.to_string(),
            },
            (None, Err(_)) => self.named(None),
        }
    }

    /// The page that was looked at last is safe.
    pub fn taken(&mut self) {
        if let Some(seen) = self.seen.take() {
            self.last = Some(seen);
        }
    }

    /// A capture has ended, and took so many pages: their cover sheet is not for others.
    pub fn ended(&mut self, count: usize) {
        if count > 0 {
            self.cover = None;
        }
    }

    fn named(&self, reference: Option<String>) -> Word {
        let age_max = Duration::from_secs(COVER_S_MAX);
        let cover = self.cover.as_ref();
        let cover = cover.filter(|(_, since)| since.elapsed() <= age_max);
        Word::Page {
            reference: reference.or_else(|| cover.map(|(code, _)| code.as_str().to_owned())),
        }
    }

    fn judge(&self, page: &[u8]) -> Result<(Judgement, Result<Reference, NoReference>), Fault> {
        let header = header_in(page)?;
        let budget = memory::Budget::of_mib(limits::SERVE_BUDGET_MIB);
        let now = memory::resident().map_or(0, |resident| resident.now_bytes);
        let plan = gate::plan(&header, budget.room_bytes(now))?;
        let image = decode_in(page, &header, plan)?;
        let code = match &self.checks.codes {
            None => Err(NoReference::NoCode),
            Some(begin) => reference::read(&image, |text| text.starts_with(begin.as_str())),
        };
        Ok((gate::judge(&image), code))
    }

    fn objection(&self, judgement: &Judgement, even_if_doubtful: bool) -> Option<Word> {
        let advice = judgement.verdict.advice().to_owned();
        match judgement.verdict {
            Verdict::Good => {}
            Verdict::Blurred { .. } if even_if_doubtful => {}
            Verdict::Blurred { .. } => {
                let advice = format!("{advice}; or press again to take it as it is");
                return Some(Word::Doubtful { advice });
            }
            Verdict::Dark { .. } | Verdict::WashedOut { .. } | Verdict::NoPage => {
                return Some(Word::Refused { advice });
            }
        }
        let is_alike = |last: &PageHash| last.looks_like(&judgement.likeness);
        if !even_if_doubtful && self.last.as_ref().is_some_and(is_alike) {
            let advice = "it looks like the last page: press again to take it".to_owned();
            return Some(Word::Doubtful { advice });
        }
        None
    }
}
