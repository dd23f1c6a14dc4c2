//! Asking the two threads how it goes: that which reads the ring, and by way of it that which watches processes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::watch::{Question, Report};

/// So long somebody who asks waits for an agent that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// The same for a sign of life: whoever asks for one often waits no longer than a second.
const SIGN_PATIENCE: Duration = Duration::from_millis(500);
/// What is younger is not asked for anew.
const FRESH: Duration = Duration::from_millis(100);
/// The thread that reads the ring is taken for dead when it has not answered for so long …
const DEAD: Duration = Duration::from_secs(10);
/// … and that which watches processes for so long, for attaching to many programs takes a while.
const WATCHER_DEAD: Duration = Duration::from_secs(60);

/// Who is told that somebody asks whether it lives.
pub(super) type Signs = mpsc::Sender<oneshot::Sender<()>>;

/// Asks.
pub(super) struct Asker {
    ask: mpsc::Sender<Question>,
    signs: Signs,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was asked and is not answered.
    pending: Option<Pending>,
    /// The last answer, with maps or without.
    last: Option<Answer>,
    /// Since when there has been no sign of the thread that reads the ring.
    silent: Option<Instant>,
}

struct Pending {
    since: Instant,
    with_maps: bool,
    report: oneshot::Receiver<Report>,
}

struct Answer {
    when: Instant,
    with_maps: bool,
    report: Arc<Report>,
}

impl Asker {
    pub(super) fn new(ask: mpsc::Sender<Question>, signs: Signs) -> Self {
        Self { ask, signs, state: Mutex::default() }
    }

    /// The last report and its age, which is next to nothing unless the agent is busy. Maps are walked only for whoever tells of them.
    pub(super) async fn report(&self, with_maps: bool) -> Option<(Duration, Arc<Report>)> {
        let mut state = self.state.lock().await;
        if !state.suffices(with_maps) {
            let is_first = state.pending.is_none();
            state.ask(&self.ask, with_maps, PATIENCE).await;
            // What came may be what somebody else has asked for, who did not wait.
            if !is_first && !state.suffices(with_maps) && state.pending.is_none() {
                state.ask(&self.ask, with_maps, PATIENCE).await;
            }
        }
        state.last.as_ref().map(|last| (last.when.elapsed(), Arc::clone(&last.report)))
    }

    /// Whether both threads turn; if not, which one does not.
    pub(super) async fn lives(&self) -> Result<(), String> {
        let asked = Instant::now();
        let (answer, sign) = oneshot::channel();
        let is_heard =
            self.signs.try_send(answer).is_ok() && matches!(timeout(SIGN_PATIENCE, sign).await, Ok(Ok(())));
        let mut state = self.state.lock().await;
        state.silent = if is_heard { None } else { state.silent.or(Some(asked)) };
        state.ask(&self.ask, false, Duration::ZERO).await;
        let silent = |what: &str, since: Instant, limit: Duration| {
            let seconds = since.elapsed().as_secs();
            if since.elapsed() < limit {
                Ok(())
            } else {
                Err(format!("{what} has not answered for {seconds} s"))
            }
        };
        state.silent.map_or(Ok(()), |since| silent("the thread that reads the ring", since, DEAD))?;
        let pending = state.pending.as_ref();
        pending.map_or(Ok(()), |asked| silent("the thread that watches processes", asked.since, WATCHER_DEAD))
    }
}

impl State {
    /// Whether the last answer is fresh and has what is asked for.
    fn suffices(&self, with_maps: bool) -> bool {
        self.last.as_ref().is_some_and(|last| last.when.elapsed() <= FRESH && (last.with_maps || !with_maps))
    }

    /// Asks unless an answer is still to come, and takes it if it comes within `patience` from when it was asked for.
    async fn ask(&mut self, ask: &mpsc::Sender<Question>, with_maps: bool, patience: Duration) {
        if self.pending.is_none() {
            let (answer, report) = oneshot::channel();
            if ask.try_send(Question { answer, with_maps }).is_ok() {
                self.pending = Some(Pending { since: Instant::now(), with_maps, report });
            }
        }
        let Some(Pending { since, with_maps, report }) = &mut self.pending else { return };
        let with_maps = *with_maps;
        if let Ok(answer) = timeout(patience.saturating_sub(since.elapsed()), report).await {
            self.pending = None;
            if let Ok(report) = answer {
                // It may have come long before somebody looked.
                let when = report.when.unwrap_or_else(Instant::now);
                self.last = Some(Answer { when, with_maps, report: Arc::new(report) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Agent {
        asker: Asker,
        asked: mpsc::Receiver<Question>,
        signs: mpsc::Receiver<oneshot::Sender<()>>,
    }

    fn agent() -> Agent {
        let (ask, asked) = mpsc::channel(4);
        let (sign, signs) = mpsc::channel(8);
        Agent { asker: Asker::new(ask, sign), asked, signs }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    #[test]
    fn a_busy_agent_is_waited_for_once_and_its_last_report_stands() {
        run(async {
            let mut agent = agent();
            let (report, ()) = tokio::join!(agent.asker.report(true), async {
                let _ = agent
                    .asked
                    .recv()
                    .await
                    .unwrap()
                    .answer
                    .send(Report { has_looked: true, ..Report::default() });
            });
            let (age, report) = report.unwrap();
            assert!(report.has_looked && age < PATIENCE, "{age:?}");
            tokio::time::sleep(FRESH * 2).await;
            let began = Instant::now();
            let (age, _) = agent.asker.report(true).await.unwrap();
            assert!(age >= PATIENCE && began.elapsed() >= PATIENCE, "{age:?}");
            let answer = agent.asked.recv().await.unwrap();
            // The next one does not wait for what the first has waited for.
            let began = Instant::now();
            let (age, _) = agent.asker.report(true).await.unwrap();
            assert!(age >= PATIENCE && began.elapsed() < PATIENCE, "{age:?}");
            assert!(agent.asked.try_recv().is_err(), "it was asked twice");
            answer.answer.send(Report::default()).unwrap();
            let (age, report) = agent.asker.report(true).await.unwrap();
            assert!(age < PATIENCE && !report.has_looked, "{age:?}");
        });
    }

    #[test]
    fn health_is_told_without_maps_and_what_it_left_is_nobodys_fresh_answer() {
        run(async {
            let mut agent = agent();
            agent.asker.lives().await.unwrap();
            let question = agent.asked.recv().await.unwrap();
            assert!(!question.with_maps);
            let before = Instant::now().checked_sub(FRESH * 2);
            question.answer.send(Report { when: before, ..Report::default() }).unwrap();
            let (report, ()) = tokio::join!(agent.asker.report(true), async {
                let question = agent.asked.recv().await.unwrap();
                assert!(question.with_maps);
                let now = Report { when: Some(Instant::now()), has_looked: true, ..Report::default() };
                question.answer.send(now).unwrap();
            });
            let (age, report) = report.unwrap();
            assert!(age < FRESH && report.has_looked, "{age:?}");
            // That has more than readiness asks for, and what has no maps is not enough for whoever tells of them.
            assert!(agent.asker.report(false).await.unwrap().1.has_looked);
            assert!(agent.asked.try_recv().is_err());
            agent.asker.state.lock().await.last.as_mut().unwrap().with_maps = false;
            let (report, ()) = tokio::join!(agent.asker.report(true), async {
                drop(agent.asked.recv().await.unwrap().answer.send(Report::default()));
            });
            assert!(!report.unwrap().1.has_looked);
        });
    }

    #[test]
    fn an_agent_that_is_silent_for_long_is_taken_for_dead_and_comes_to_life() {
        run(async {
            let mut agent = agent();
            assert_eq!(agent.asker.lives().await, Ok(()));
            let ago = |limit: Duration| Instant::now().checked_sub(limit).unwrap();
            agent.asker.state.lock().await.silent = Some(ago(DEAD));
            let dead = agent.asker.lives().await.unwrap_err();
            assert_eq!(dead, "the thread that reads the ring has not answered for 10 s");
            while let Ok(sign) = agent.signs.try_recv() {
                drop(sign);
            }
            let (lives, ()) = tokio::join!(agent.asker.lives(), async {
                agent.signs.recv().await.unwrap().send(()).unwrap();
            });
            assert_eq!(lives, Ok(()));
            agent.asker.state.lock().await.pending.as_mut().unwrap().since = ago(WATCHER_DEAD);
            let (dead, ()) = tokio::join!(agent.asker.lives(), async {
                agent.signs.recv().await.unwrap().send(()).unwrap();
            });
            assert_eq!(dead.unwrap_err(), "the thread that watches processes has not answered for 60 s");
        });
    }
}
