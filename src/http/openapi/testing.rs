//! What is said of the routes for a site's own tests.

use super::about::{About, Access, about};
use super::errors::codes;
use crate::http::testing;

const TESTS: &str = "For a site's own tests";

pub(in crate::http) fn reset() -> About {
    about(TESTS, "resetServer", Access::Anyone, "Begin anew: the demo season as at the start, and the machine's time")
        .says("Connections stay; those of viewers are closed, and their clients come back. In memory mode alone.")
        .gives_nothing(204, "The new server answers.")
        .refuses(&[codes::STORAGE_FAILED])
}

pub(in crate::http) fn clock() -> About {
    about(TESTS, "clock", Access::Anyone, "What time it is here")
        .says("In memory mode alone.")
        .gives::<testing::ClockBody>(200, "The time.")
}

pub(in crate::http) fn set_clock() -> About {
    about(TESTS, "setClock", Access::Anyone, "Set the clock, or move it forwards")
        .says(
            "It runs on from there. Rounds whose time is over have ended when this is answered. In memory mode alone.",
        )
        .takes::<testing::Move>()
        .gives::<testing::ClockBody>(200, "The time.")
        .refuses(&[codes::INVALID_PARAMETER, codes::STORAGE_FAILED])
}
