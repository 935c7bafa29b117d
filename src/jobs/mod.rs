//! What can wait: each a `step()` that does a little and returns. They change things through the queue alone.

pub mod backup;
mod certify;
mod erase;
pub mod export;
pub mod foreign;
mod forget;
mod reconcile;
mod rounds;
mod voids;

pub use certify::SortedBallots;
pub use erase::{EraseJob, RETRY_MS as ERASURE_RETRY_MS};
pub use forget::Forget;
pub use reconcile::{Drift, Reconcile};
pub use rounds::{RoundSettings, Rounds, Seal, Sealed, Unsealed, tallied};
pub use voids::{Found, Pace, Search, VOID_CLIPS_MAX, VoidJob, VoidWaiter, too_wide};
