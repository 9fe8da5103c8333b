//! Sides of a row run in turn, in rounds, so that the noise of the machine hits them alike.

use std::time::Instant;

use serde::Deserialize;

use crate::Result;

/// One side of a row: each call measures one round.
pub type Side<'a> = &'a mut dyn FnMut() -> Result<f64>;

/// What one side measured, round by round.
#[derive(Deserialize)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// The middle round.
    pub fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// The largest round: the best of a rate.
    pub fn largest(&self) -> f64 {
        self.0.iter().copied().fold(f64::MIN, f64::max)
    }

    /// The smallest round: the best of a time.
    pub fn smallest(&self) -> f64 {
        self.0.iter().copied().fold(f64::MAX, f64::min)
    }

    /// The median of the ratios within each round, which ran within the same moment.
    pub fn ratio_to(&self, other: &Samples) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

impl From<Vec<f64>> for Samples {
    fn from(rounds: Vec<f64>) -> Self {
        Self(rounds)
    }
}

/// Runs every side once to warm up, then in rounds; each round begins with another side.
pub fn take_turns<const N: usize>(rounds: usize, mut sides: [Side<'_>; N]) -> Result<[Samples; N]> {
    let mut samples = [const { Samples(Vec::new()) }; N];
    for side in &mut sides {
        side()?;
    }
    for round in 0..rounds {
        for turn in 0..N {
            let which = (round + turn) % N;
            samples[which].0.push(sides[which]()?);
        }
    }
    Ok(samples)
}

/// Messages in a second.
pub fn rate(messages: u64, since: Instant) -> f64 {
    messages as f64 / since.elapsed().as_secs_f64()
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
