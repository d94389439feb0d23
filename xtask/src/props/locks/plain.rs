//! Who holds the lock, in the plainest form.

use super::servant::{LOST, NOBODY, OK};
use super::story::{NAMES, Which, Who};
use sdk_state::Liveness;

#[derive(Default)]
pub(super) struct Plain {
    pub(super) marker: Option<Marker>,
    /// The tokens that each actor was given and has not given back, the oldest first.
    pub(super) guards: [Vec<String>; NAMES.len()],
    /// One at a time, so that it is known who gets what becomes free.
    pub(super) waiter: Option<Who>,
    pub(super) original_holds: bool,
}

pub(super) struct Marker {
    /// A token, or the original's process id.
    pub(super) name: String,
    pub(super) liveness: Liveness,
}

impl Plain {
    pub(super) fn status(&self) -> Option<(String, Liveness)> {
        let marker = self.marker.as_ref()?;
        Some((marker.name.clone(), marker.liveness))
    }

    /// Whether whoever asks now gets it.
    pub(super) fn is_to_be_had(&self) -> bool {
        self.marker
            .as_ref()
            .is_none_or(|marker| marker.liveness == Liveness::Dead)
    }

    /// Whether `answer` is what one who asks must hear; takes note of a lock that was given.
    pub(super) fn try_lock(&mut self, who: Who, answer: &str) -> Result<(), String> {
        let holder = self
            .marker
            .as_ref()
            .map_or(NOBODY.into(), |marker| marker.name.clone());
        if !self.is_to_be_had() {
            return same(answer, &format!("busy {holder}"));
        }
        let token = answer
            .strip_prefix("held ")
            .and_then(|held| held.strip_suffix(&format!(" after {holder}")))
            .ok_or_else(|| format!("{answer} instead of held … after {holder}"))?;
        if self.guards.iter().flatten().any(|known| known == token) {
            return Err(format!("{token} was given twice"));
        }
        self.guards[who].push(token.into());
        self.marker = Some(Marker {
            name: token.into(),
            liveness: Liveness::Alive,
        });
        Ok(())
    }

    /// Whether `answer` is what the bearer of this token must hear when it matters that it holds the lock.
    pub(super) fn bear(&self, token: &str, answer: &str) -> Result<(), String> {
        same(answer, if self.is_held_by(token) { OK } else { LOST })
    }

    pub(super) fn give_back(&mut self, token: &str) {
        if self.is_held_by(token) {
            self.marker = None;
        }
    }

    pub(super) fn force(&mut self, expected: Option<&str>, answer: &str) -> Result<(), String> {
        match self.marker.take() {
            None => same(answer, NOBODY),
            Some(marker) if expected.is_some_and(|expected| expected != marker.name) => {
                let foretold = format!("busy {}", marker.name);
                self.marker = Some(marker);
                same(answer, &foretold)
            }
            Some(marker) => same(answer, &format!("evicted {}", marker.name)),
        }
    }

    pub(super) fn kill(&mut self, who: Who) {
        for token in std::mem::take(&mut self.guards[who]) {
            if let Some(marker) = &mut self.marker
                && marker.name == token
            {
                marker.liveness = Liveness::Dead;
            }
        }
        self.waiter = self.waiter.filter(|waiter| *waiter != who);
    }

    pub(super) fn which(&self, who: Who, which: Which) -> Option<usize> {
        let last = self.guards[who].len().checked_sub(1)?;
        Some(match which {
            Which::First => 0,
            Which::Last => last,
        })
    }

    pub(super) fn is_held_by(&self, token: &str) -> bool {
        self.marker.as_ref().is_some_and(|marker| marker.name == token)
    }
}

pub(super) fn same(found: &str, foretold: &str) -> Result<(), String> {
    if found == foretold {
        Ok(())
    } else {
        Err(format!("{found} instead of {foretold}"))
    }
}
