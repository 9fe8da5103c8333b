//! Many callers of single verbs in one process.

use std::future::Future;
use std::time::Instant;

use super::{AREA, Bench, Folder};
use crate::Result;
use crate::measure::{rate, take_turns};
use crate::memory::BODY;
use crate::memory::one_thread::ours_one_at_a_time;
use crate::report::{Goal, Row, Unit};
use crate::yardsticks::heed_group::HeedGroup;

const ROUNDS: usize = 7;
const CALLERS: u64 = 100;
const EACH: u64 = 100;

pub fn row() -> Result<Row> {
    let (folder, other) = (Folder::new("callers")?, Folder::new("callers-heed")?);
    let ours = Bench::open(&folder.url("commit"))?;
    let heed = HeedGroup::new(other.path())?;
    let [ours, heed] = take_turns(
        ROUNDS,
        [
            &mut || {
                all(&ours, || {
                    let (queue, bodies) = (ours.queue.clone(), ours.runtime.bodies().clone());
                    async move { ours_one_at_a_time(&queue, &bodies, EACH).await }
                })
            },
            &mut || {
                all(&ours, || {
                    let heed = heed.clone();
                    async move {
                        for _ in 0..EACH {
                            heed.cycle(&BODY).await?;
                        }
                        Ok(())
                    }
                })
            },
        ],
    )?;
    let name = "send + receive + ack, commit, 100 callers: heed behind a group-commit thread";
    Ok(Row::beside(
        AREA,
        name,
        Unit::Rate,
        &ours,
        &heed,
        Goal::AtLeast(1.0),
    ))
}

/// Runs a task for each caller on the runtime, and answers their rate.
fn all<F: Future<Output = Result<()>> + Send + 'static>(
    bench: &Bench,
    mut caller: impl FnMut() -> F,
) -> Result<f64> {
    let start = Instant::now();
    bench.runtime.block_on(async {
        let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(caller())).collect();
        for caller in callers {
            caller.await??;
        }
        Result::Ok(())
    })??;
    Ok(rate(CALLERS * EACH, start))
}
