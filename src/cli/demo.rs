//! The demo season of an empty store: read from a file that is part of the program, created by the engine's public
//! operations like any other season.

use serde::Deserialize;

use crate::domain::{ClipDraft, ClipId, SeasonId};
use crate::engine::Engine;
use crate::error::Reject;

const DEMO: &str = include_str!("../../data/demo.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Demo {
    season: Season,
    slots: Vec<Slot>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Season {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Slot {
    #[serde(default)]
    open: bool,
    #[serde(default)]
    clips: Vec<Clip>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clip {
    id: String,
    title: String,
    username: String,
}

/// Creates the demo season, its slots and clips. The slot opens last: nobody votes in a half-made season.
pub(super) async fn load(engine: &Engine) -> Result<(), Reject> {
    let demo = read();
    engine.create_season(Some(SeasonId::new(&demo.season.id)?), demo.season.name).await?;
    for slot in demo.slots {
        let position = engine.create_slot(&demo.season.id, None).await?.position;
        for clip in slot.clips {
            let id = ClipId::new(&clip.id)?;
            engine.add_clip(&demo.season.id, position, Some(id), clip.draft()).await?;
        }
        if slot.open {
            engine.open_slot(&demo.season.id, position, None, false).await?;
        }
    }
    Ok(())
}

impl Clip {
    fn draft(self) -> ClipDraft {
        ClipDraft { title: self.title, username: Some(self.username), ..ClipDraft::default() }
    }
}

fn read() -> Demo {
    toml::from_str(DEMO).expect("data/demo.toml is part of the program, and a test reads it")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_demo_is_three_slots_with_sixteen_sound_clips_in_the_open_first() {
        let demo = read();
        assert_eq!(SeasonId::new(&demo.season.id).unwrap().as_str(), "demo");
        assert_eq!(demo.slots.iter().map(|slot| slot.open).collect::<Vec<_>>(), [true, false, false]);
        let clips: Vec<Clip> = demo.slots.into_iter().flat_map(|slot| slot.clips).collect();
        let expected: Vec<String> = (1..=16).map(|n| format!("clip-{n}")).collect();
        assert_eq!(clips.iter().map(|clip| clip.id.clone()).collect::<Vec<_>>(), expected);
        let titles: BTreeSet<_> = clips.iter().map(|clip| clip.title.clone()).collect();
        assert_eq!(titles.len(), 16);
        for clip in clips {
            ClipId::new(&clip.id).unwrap();
            clip.draft().checked().unwrap();
        }
    }
}
