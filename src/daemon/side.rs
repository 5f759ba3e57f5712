//! The thread beside the loop: it talks to clients, hears signals and asks for names, none of which may keep the loop
//! from a line of a log.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The tasks' runtime, which does nothing until it is given to [`Side::run`].
///
/// # Errors
/// No descriptor is to be had.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// The running thread. Dropping it ends its tasks; a name that is being asked for is not waited for.
pub struct Side {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Side {
    /// Runs what was and will be spawned on `runtime`.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn run(runtime: Runtime) -> io::Result<Side> {
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            // An error means the same: nobody wants the thread any more.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("portero-side".to_owned()).spawn(work)?;
        Ok(Side { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there was told where it arose.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_spawned_before_and_while_it_runs_runs_and_ends_with_it() {
        /// Tells when it is dropped.
        struct Ended(mpsc::Sender<&'static str>);
        impl Drop for Ended {
            fn drop(&mut self) {
                let _ = self.0.send("ended");
            }
        }
        let (send, told) = mpsc::channel();
        let next = || told.recv_timeout(Duration::from_secs(10)).expect("a word");
        let runtime = runtime().expect("a runtime");
        let handle = runtime.handle().clone();
        let (before, ended) = (send.clone(), Ended(send.clone()));
        handle.spawn(async move {
            let _ended = ended;
            let _ = before.send("before");
            std::future::pending::<()>().await;
        });
        let side = Side::run(runtime).expect("a thread");
        assert_eq!(next(), "before");
        handle.spawn(async move { send.send("after") });
        assert_eq!(next(), "after");
        // A resolver that does not answer.
        handle.spawn_blocking(|| std::thread::sleep(Duration::from_secs(3)));
        drop(side);
        assert_eq!(next(), "ended");
    }
}
