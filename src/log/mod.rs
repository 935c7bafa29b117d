//! The write-ahead log: everything that was acknowledged is in it, in one order, before anything else knows of it.
//!
//! ```text
//! queue ─▶ commit (sequence, verdict, block, flush) ─▶ settlement ─▶ apply (tables, mark, drop)
//! ```

pub mod answers;
pub mod append;
pub mod apply;
pub mod arrivals;
pub mod block;
pub mod commit;
pub mod hold;
pub mod progress;
pub mod queue;
pub mod recover;

pub use answers::Answers;
pub use append::Appender;
pub use apply::{Applier, STEP_EVENTS};
pub use commit::{Batch, Committer, Decided, End, Outlet, Turn};
pub use hold::{Held, Holds};
pub use progress::Progress;
pub use queue::{Body, Entry, Outcome, Queue, Reading, queue};
pub use recover::{Recovered, recover};
