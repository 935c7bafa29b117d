//! What is said of the pages and of the files that they load.

use super::about::{About, Access, about, clip_id, text_of};
use super::errors::codes;

const PAGES: &str = "Pages";

pub(in crate::http) fn viewer() -> About {
    page("viewerPage", "The viewers' page: the open slot, votes, comments and past rounds")
}

pub(in crate::http) fn admin() -> About {
    page("operatorPage", "The operators' page; it asks for the token")
}

pub(in crate::http) fn embed() -> About {
    sent(about(PAGES, "embed", Access::Anyone, "A clip's vote and comments, in a frame of another site").path(
        "clip",
        clip_id(),
        "The clip's id.",
    ))
    .refuses(&[codes::CLIP_NOT_FOUND])
}

pub(in crate::http) fn loader() -> About {
    page("embedScript", "The script that puts the frame into another site's page")
}

pub(in crate::http) fn file() -> About {
    let one = about(PAGES, "pageFile", Access::Anyone, "A script, style or picture of the pages");
    sent(one.path("file", text_of(), "Its name.")).refuses(&[codes::NOT_FOUND])
}

fn page(id: &'static str, summary: &'static str) -> About {
    sent(about(PAGES, id, Access::Anyone, summary))
}

fn sent(about: About) -> About {
    about
        .gives_other(200, "*/*", "The file.")
        .with(&["Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options"])
        .cached()
}
