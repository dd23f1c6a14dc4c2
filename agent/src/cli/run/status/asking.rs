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
    /// Since when there is no answer, and where it will come.
    pending: Option<(Instant, oneshot::Receiver<Report>)>,
    /// The last answer.
    last: Option<(Instant, Arc<Report>)>,
    /// Since when there has been no sign of the thread that reads the ring.
    silent: Option<Instant>,
}

impl Asker {
    pub(super) fn new(ask: mpsc::Sender<Question>, signs: Signs) -> Self {
        Self { ask, signs, state: Mutex::default() }
    }

    /// The last report and its age, which is next to nothing unless the agent is busy.
    pub(super) async fn report(&self) -> Option<(Duration, Arc<Report>)> {
        let mut state = self.state.lock().await;
        if state.last.as_ref().is_none_or(|(when, _)| when.elapsed() > FRESH) {
            state.ask(&self.ask, PATIENCE).await;
        }
        state.last.as_ref().map(|(when, report)| (when.elapsed(), Arc::clone(report)))
    }

    /// Whether both threads turn; if not, which one does not.
    pub(super) async fn lives(&self) -> Result<(), String> {
        let asked = Instant::now();
        let (answer, sign) = oneshot::channel();
        let is_heard =
            self.signs.try_send(answer).is_ok() && matches!(timeout(SIGN_PATIENCE, sign).await, Ok(Ok(())));
        let mut state = self.state.lock().await;
        state.silent = if is_heard { None } else { state.silent.or(Some(asked)) };
        state.ask(&self.ask, Duration::ZERO).await;
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
        pending.map_or(Ok(()), |(since, _)| silent("the thread that watches processes", *since, WATCHER_DEAD))
    }
}

impl State {
    /// Asks unless an answer is still to come, and takes it if it comes within `patience` from when it was asked for.
    async fn ask(&mut self, ask: &mpsc::Sender<Question>, patience: Duration) {
        if self.pending.is_none() {
            let (answer, report) = oneshot::channel();
            if ask.try_send(Question { answer, with_maps: true }).is_ok() {
                self.pending = Some((Instant::now(), report));
            }
        }
        let Some((since, report)) = &mut self.pending else { return };
        if let Ok(answer) = timeout(patience.saturating_sub(since.elapsed()), report).await {
            self.pending = None;
            if let Ok(report) = answer {
                self.last = Some((Instant::now(), Arc::new(report)));
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
            let (report, ()) = tokio::join!(agent.asker.report(), async {
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
            let (age, _) = agent.asker.report().await.unwrap();
            assert!(age >= PATIENCE && began.elapsed() >= PATIENCE, "{age:?}");
            let answer = agent.asked.recv().await.unwrap();
            // The next one does not wait for what the first has waited for.
            let began = Instant::now();
            let (age, _) = agent.asker.report().await.unwrap();
            assert!(age >= PATIENCE && began.elapsed() < PATIENCE, "{age:?}");
            assert!(agent.asked.try_recv().is_err(), "it was asked twice");
            answer.answer.send(Report::default()).unwrap();
            let (age, report) = agent.asker.report().await.unwrap();
            assert!(age < PATIENCE && !report.has_looked, "{age:?}");
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
            agent.asker.state.lock().await.pending.as_mut().unwrap().0 = ago(WATCHER_DEAD);
            let (dead, ()) = tokio::join!(agent.asker.lives(), async {
                agent.signs.recv().await.unwrap().send(()).unwrap();
            });
            assert_eq!(dead.unwrap_err(), "the thread that watches processes has not answered for 60 s");
        });
    }
}
