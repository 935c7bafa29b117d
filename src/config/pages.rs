//! Where the pages that this server serves may be shown.

use clap::Args;

use super::push::origin;

/// What the pages can be told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pages")]
pub struct PageSettings {
    /// Sites that may show /embed/CLIP in a frame, scheme and host, with commas between; default: none
    #[arg(long, value_name = "ORIGINS", env = "PLAUDIT_EMBED_ORIGIN", value_delimiter = ',', value_parser = framing)]
    pub embed_origin: Vec<String>,
}

/// An origin that can stand in a list of a header: what would end the list, or begin another, is none.
fn framing(text: &str) -> Result<String, String> {
    let origin = origin(text)?;
    let web = origin.starts_with("http://") || origin.starts_with("https://");
    if web && origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/.-[]".contains(&byte)) {
        return Ok(origin);
    }
    Err("an origin is http:// or https:// and a host, such as https://example.com".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_may_frame_is_an_origin_and_nothing_else() {
        assert_eq!(framing("https://Example.com:8443"), Ok("https://example.com:8443".into()));
        assert_eq!(framing("http://[::1]:80"), Ok("http://[::1]:80".into()));
        for bad in [
            "",
            "https://",
            "example.com",
            "https://a/b",
            "https://*.a",
            "https://a; script-src *",
            "data://x",
            "https://a b",
        ] {
            assert!(framing(bad).is_err(), "{bad:?}");
        }
    }
}
