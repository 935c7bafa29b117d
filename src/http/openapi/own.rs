//! What is said of a voter's own data.

use super::about::{About, Access, about};
use super::errors::codes;
use crate::http::me;

const OWN: &str = "One's own data";

pub(in crate::http) fn export() -> About {
    about(OWN, "ownData", Access::Known, "All that is kept of the voter")
        .says(
            "Votes in every slot, comments, likes, reports, ban and budget, with everything that was acknowledged before this was asked \
             for. Two voters at a time: others are answered 503 `OVERLOADED`. What breaks off before its end is not whole.",
        )
        .gives::<me::OwnBody<'_>>(200, "It, as it is read.")
        .with(&["Cache-Control", "Content-Disposition"])
        .refuses(&[codes::RATE_LIMITED, codes::STORAGE_FAILED])
}
