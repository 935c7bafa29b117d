//! What is said of a voter's own data.

use super::about::{About, Access, about, text_of};
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

pub(in crate::http) fn erase() -> About {
    erasure(about(OWN, "eraseOwn", Access::Known, "Erase what ties the voter to their past"))
        .with(&["Set-Cookie"])
        .refuses(&[codes::RATE_LIMITED])
}

pub(in crate::http) fn erase_voter() -> About {
    erasure(about(OWN, "eraseVoter", Access::Admin, "Erase what ties a voter to their past").path(
        "sub",
        text_of(),
        "The `sub` of the voter's tokens, or the name that others see (`userId`).",
    ))
}

fn erasure(about: About) -> About {
    about
        .says(
            "Names, pictures, comments' texts and hashes of networks go; in locked slots the voter's id goes too, in open ones when they              lock. Votes, likes and reports count on, and a vote for the same clip is still a second one. Answered once it is on the              disk; the rest follows, over restarts. What the voter does afterwards is not touched. A ban stays. Of one voter eight may be under way at most: 409 behind that.",
        )
        .gives::<me::Erasure>(202, "It has begun.")
        .with(&["Cache-Control"])
        .refuses(&[codes::WRONG_STATE, codes::STORAGE_FAILED])
}
