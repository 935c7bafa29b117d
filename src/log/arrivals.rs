//! How long a batch waits for company, by how the last ones came. Never: takes an entry.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// A flush costs the same hundreds of microseconds of CPU for ten events as for a thousand. So a batch waits for more, at most
/// so long...
const LINGER: Duration = Duration::from_millis(1);
/// ...looking every so often whether more have come, for once none has, none will for a while; the first time as late as the last
/// batches allow, since each look costs this thread a sleep and a wake-up...
const LINGER_LOOK: Duration = Duration::from_micros(100);
/// ...until it holds so many, among which a flush is cheap enough...
const LINGER_ENOUGH: usize = 256;
/// ...and only while entries come so fast that a wait of [`LINGER`] gathers so many: a lone voter never waits for others.
/// Measured with 64 HTTP connections: a tenth to a quarter less CPU a vote, at the same latency; at 10,000 votes a second 40 % less,
/// for 0.7 ms at the median. That the wait begins before the first entry, and its first look is late: 2 % and 8 % less again.
const LINGER_GAIN: f64 = 8.0;

/// Batches in a row that are looked at together...
const ALIKE: usize = 4;
/// ...and are alike when the largest is larger than the smallest by no more than this share of itself. Then they are clients who each
/// wait for their answer before they ask again, and once as many are there nobody else is likely on the way: another look would
/// only find that out. Measured with 64 HTTP connections: 7 % more votes a second, at 2 % less CPU a vote.
const ALIKE_SHARE: usize = 16;

/// How entries come, as the last few batches tell.
#[derive(Debug)]
pub struct Arrivals {
    a_second: f64,
    counted: Instant,
    /// How long batches were waited for that gathered from their first entry on.
    gathering: Duration,
    /// How large the last batches were, in turn.
    sizes: [usize; ALIKE],
    batches: usize,
}

impl Default for Arrivals {
    fn default() -> Self {
        let (counted, gathering) = (Instant::now(), Duration::ZERO);
        Self { a_second: 0.0, counted, gathering, sizes: [0; ALIKE], batches: 0 }
    }
}

impl Arrivals {
    /// So many have come since the last call.
    pub fn count(&mut self, entries: usize) {
        self.sizes[self.batches % ALIKE] = entries;
        self.batches = self.batches.wrapping_add(1);
        let now = Instant::now();
        let took = now.duration_since(self.counted).as_secs_f64().max(1e-6);
        let entries = u32::try_from(entries).map_or(f64::MAX, f64::from);
        self.a_second += (entries / took - self.a_second) / 8.0;
        self.counted = now;
    }

    /// Lets a batch gather of which none is taken: those that the last one has answered are coming back.
    pub fn come_back<T>(&mut self, inbox: &Receiver<T>) {
        if !self.are_fast() {
            return;
        }
        let began = Instant::now();
        let enough = self.enough(inbox.len());
        if gather(inbox, 0, enough, self.first_look(enough), sleep) > 0 {
            self.note_gathering(began.elapsed());
        }
    }

    /// Lets more gather behind one that was taken, which came after a silence.
    pub fn follow<T>(&self, inbox: &Receiver<T>) {
        if self.are_fast() {
            gather(inbox, 1, LINGER_ENOUGH, LINGER_LOOK, sleep);
        }
    }

    fn are_fast(&self) -> bool {
        self.a_second * LINGER.as_secs_f64() >= LINGER_GAIN
    }

    /// How many make a batch that is worth no further wait, when so many are there already. Where that is half a batch, they are
    /// others than those who were just answered: taken alone, each of the two would come in batches of its own from then on.
    fn enough(&self, there: usize) -> usize {
        let (least, most) =
            self.sizes.iter().fold((usize::MAX, 0), |(least, most), size| (least.min(*size), most.max(*size)));
        let alike = most - least <= most / ALIKE_SHARE && there < most / 2;
        if alike { most.min(LINGER_ENOUGH) } else { LINGER_ENOUGH }
    }

    /// A batch has gathered in that time, the last look included.
    fn note_gathering(&mut self, took: Duration) {
        self.gathering = (self.gathering * 7 + took) / 8;
    }

    /// After how long a look at what gathers is worth its while: sooner, more would be coming still; later where it ends with
    /// a number that is known, and not with a look that finds no more.
    fn first_look(&self, enough: usize) -> Duration {
        let share = if enough < LINGER_ENOUGH { self.gathering * 3 / 4 } else { self.gathering * 3 / 5 };
        share.clamp(LINGER_LOOK, LINGER)
    }
}

/// Waits while more keep coming; how many there are then, with those that are taken.
fn gather<T>(
    inbox: &Receiver<T>,
    taken: usize,
    enough: usize,
    first_look: Duration,
    mut sleep: impl FnMut(Duration),
) -> usize {
    let (began, mut pause) = (Instant::now(), first_look);
    let mut gathered = inbox.len() + taken;
    while gathered < enough && began.elapsed() < LINGER {
        sleep(std::mem::replace(&mut pause, LINGER_LOOK));
        let earlier = std::mem::replace(&mut gathered, inbox.len() + taken);
        if gathered == earlier {
            break;
        }
    }
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_follows_how_batches_gather_and_stays_within_the_wait() {
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.first_look(LINGER_ENOUGH), LINGER_LOOK, "nothing is known yet");
        (0..50).for_each(|_| arrivals.note_gathering(LINGER / 2));
        let look = arrivals.first_look(LINGER_ENOUGH);
        assert!(look > LINGER_LOOK && look < LINGER / 2, "before the last one would have ended: {look:?}");
        let later = arrivals.first_look(64);
        assert!(later > look && later < LINGER / 2, "where a number ends it: {later:?}");
        // A thread that was not woken for long is no reason to sleep for as long.
        (0..50).for_each(|_| arrivals.note_gathering(LINGER * 100));
        assert_eq!(arrivals.first_look(LINGER_ENOUGH), LINGER);
        (0..50).for_each(|_| arrivals.note_gathering(Duration::ZERO));
        assert_eq!(arrivals.first_look(LINGER_ENOUGH), LINGER_LOOK);
    }

    #[test]
    fn as_many_as_last_time_are_enough_once_batches_are_alike() {
        let mut arrivals = Arrivals::default();
        let mut enough_after = |sizes: &[usize]| {
            for size in sizes {
                arrivals.count(*size);
            }
            arrivals.enough(0)
        };
        assert_eq!(enough_after(&[64]), LINGER_ENOUGH, "one says nothing");
        assert_eq!(enough_after(&[64, 64, 64]), 64);
        assert_eq!(enough_after(&[61, 63]), 64, "some come late");
        assert_eq!(enough_after(&[30]), LINGER_ENOUGH, "half have left");
        assert_eq!(enough_after(&[30, 30, 30]), 30);
        assert_eq!(enough_after(&[9, 14, 11, 12]), LINGER_ENOUGH, "they come when they like");
        assert_eq!(enough_after(&[1_000; ALIKE]), LINGER_ENOUGH);
        assert_eq!(enough_after(&[32; ALIKE]), 32);
        assert_eq!(arrivals.enough(5), 32, "the first are back");
        assert_eq!(arrivals.enough(32), LINGER_ENOUGH, "others, who came meanwhile, and these are to be one batch");
    }

    #[test]
    fn nobody_is_waited_for_once_enough_are_there() {
        let gathered = |enough| {
            let (send, inbox) = crossbeam_channel::unbounded();
            let mut looks = 0;
            // All come at once, before the first look.
            let come = |_| {
                let coming = if looks == 0 { 30 } else { 0 };
                (0..coming).for_each(|n| send.send(n).unwrap());
                looks += 1;
            };
            (gather(&inbox, 0, enough, LINGER_LOOK, come), looks)
        };
        // Fewer where this thread was not run for the whole of a wait.
        let (count, looks) = gathered(30);
        assert!(count <= 30 && looks <= 1, "{count} in {looks} looks");
        let (count, looks) = gathered(31);
        assert!(count <= 30 && looks <= 2, "a look that finds no more is the last: {count} in {looks} looks");
    }
}
