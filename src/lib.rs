//! Plaudit takes votes at burst scale in one process: exact counts, nothing acknowledged is lost.
//!
//! # The path of one vote
//!
//! ```text
//! http/front.rs, vote.rs   POST /api/vote: parse, bound (http/wakes.rs, joined.rs: no poll and no piece more than that takes)
//! identity/                bearer JWT or device → VoterId
//! admission/               rate limits; challenge.rs: a device's first vote; risk.rs: how much it looks like cheating
//! engine/vote.rs           the whole journey, stage by stage, in one function
//!   ballots.rs               claim: one lock on the voter's shard decides duplicate and daily limit, and enqueues while
//!                            holding it, so the log's order is the order of claims for each voter
//!   log/commit.rs            bounded queue → commit thread: sequence, verdict → ONE block a batch → store → flush; while votes come
//!                            fast a batch gathers first (log/arrivals.rs), and most of sled's threads sleep (store/herd.rs)
//!   engine/settle.rs         in log order: claims kept → tallies (summed a batch and clip, then added once) → hub (one
//!                            message a batch) → waiters (log/answers.rs); small batches on the commit thread itself
//!                            (engine/threads/handover.rs)
//! http/reply.rs            the answer, counts included
//!
//! hub/worker.rs            positions → channels → viewers' queues, counts at most every 100 ms a clip
//! push/pumps.rs            queues → sockets that take all of it; what one doesn't take is left to its connection's task
//! log/apply.rs             every 100 ms or 1,000 settled events, at once when far behind: fold whole blocks past the mark → pages, the mark, flush,
//!                          drop the log's blocks up to the mark
//! log/recover.rs           start: checks, then the same fold over the log's tail
//! ```
//!
//! # The path of one comment
//!
//! ```text
//! http/comments.rs         POST /api/comments: parse, bound, identify
//! engine/comment.rs        the whole journey, and that of a like, a report, a moderator's word
//!   comments/live.rs         claim: one lock decides retry, slow mode, like and report, and enqueues while holding it
//!   log/commit.rs            as above; the judge refuses what answers or likes a comment deleted before it
//!   engine/settle.rs         comments/live.rs takes it in, the clip's count follows, `commented` has all that a push needs
//! log/apply.rs             fold/comments.rs: pages of ranges, what is derived first; then memory lets go of it
//! ```
//!
//! # The end of a round
//!
//! ```text
//! jobs/rounds.rs           every 20 ms, and at the start: what is due by the stage and the clock, one event a season
//! engine/rounds.rs         the same on an operator's word
//!   log/commit.rs            a freeze takes its place among the votes: the judge refuses every vote behind it, and whatever
//!                            rests on a step of the slot that another has overtaken
//!   engine/settle.rs         the votes before it, then the freeze: from there on the slot's tallies stand still
//! log/apply.rs             between its steps closed/ sorts the frozen slot's ballots into pages, a tree over them: the lock's seal
//! jobs/rounds.rs           frozen by the clock, and sealed → the lock names that freeze and the winner → the next slot opens, or
//!                          waits for its clips
//! log/apply.rs             the lock is in the tables: the pages stand for the slot's blocks, which go
//! engine/certify.rs        certificates and proofs, from the pages; behind each void another certificate (engine/editions.rs)
//! ```
//!
//! # A void
//!
//! ```text
//! engine/voids.rs          an operator's word, and what it would change; http/ has no part in what follows
//! jobs/voids.rs            begun in the log, the votes searched for as of there (jobs/voids/search.rs), named in bounded events,
//!                          taken out by the last one; a start ends what was under way
//!   fold/voids.rs            which votes are under a void, by the log's order: what the judge asks, and what an event does to
//!                            counts. The commit thread's account goes to settlement, the applier's to the fold
//!   engine/settle.rs         tallies, then the stage: its masks are what readers leave out
//! log/apply.rs             fold/void_pages.rs: what a start needs to know it again. Minutes and trees stay as they are: boards,
//!                          timelines, recounts and certificates leave masked votes out as they read
//! ```
//!
//! # A voter's own data
//!
//! ```text
//! http/me.rs               GET /api/me/export: identify, take one of two places (places.rs)
//! engine/own.rs            all that was acknowledged is applied first; then the tables, a little at a time: sorted pages are looked up,
//!                          blocks and comments looked through, on half a core at most, and no hold keeps a backup out
//! http/pieces.rs           written while it is read, into a short queue that the connection takes from
//! ```
//!
//! # An erasure
//!
//! ```text
//! http/me.rs               DELETE /api/me, DELETE /api/admin/voters/{sub}: who asks, and for whom
//! engine/erase.rs          a voter's wish, or an operator's: begun in the log, and answered
//! jobs/erase.rs            the voter's comments, likes and reports of before, found in the tables: a change of each through the queue,
//!                          so that overlay, counts and pushes follow as ever; their clips lose their name; a start goes on with it
//!   fold/comments.rs         a comment becomes a stub, a like or report nameless
//! closed/erase.rs          between the applier's steps: networks go from ballots, and from those of locked slots the id, for c; then what
//!                          pages of comments have left over, and what voids keep of the voter (fold/erasures.rs notes how far it is)
//! engine/load.rs           a start charges the day to who is erased by their c, as long as the record knows them
//! jobs/erase.rs            all of it done, their slots locked, the day and the next over: the record lets go of the id
//! ```
//!
//! # A whole store, read while votes go on
//!
//! ```text
//! http/data.rs             GET /api/admin/export, /api/admin/backup: all that was acknowledged is applied first
//! log/hold.rs              between two steps the applier holds the tables: that is N
//! store/versions.rs        what the applier changes from then on is copied first; the reader takes the copies
//! jobs/export, backup.rs   a table, a record at a time, to whoever reads (http/pieces.rs); its end lets the applier forget the copies
//! engine/kept.rs           an export that broke off: kept for two minutes, so that whoever asks again gets the rest of the same moment
//! engine/building.rs       and back: an empty directory, the records, now and then how far it is, a recount, the marker last
//! engine/compact.rs        a stopped store's files made anew: copied, compared, exchanged in one step (store/generation.rs)
//! engine/upgrade.rs        what serving it would change, and nothing is
//! ```
//!
//! # The code map
//!
//! A file imports downwards only, and freely inside its own folder; `tests/levels.rs` holds the code to this table.
//!
//! | level | module | owns | never |
//! |---|---|---|---|
//! | 0 | [`error`], [`clock`] | the caller's faults and ours; time that a test can set | |
//! | 1 | [`domain`] | ids, seasons, slots, clips, votes, events, each checked when it is made | time, settings, storage |
//! | 1 | [`metrics`] | counters and gauges | a voter's or clip's name |
//! | 2 | [`outbound`] | the one HTTP client | following, retrying |
//! | 2 | [`config`] | settings from flags, environment and file, held against each other | the disk |
//! | 2 | [`codec`] | the envelope of every stored record; names bincode | what a record means |
//! | 2 | [`tally`] | lock-free counts of a clip | a lock |
//! | 2 | [`store`] | the one seam to the disk, its failing twin, one in memory, the data directory; names sled | what the bytes mean |
//! | 3 | [`fold`] | judge and fold, and the pages that the fold changes | a clock, a setting, a duplicate |
//! | 3 | [`merkle`] | leaves, trees, certificates and proofs, byte for byte | a store |
//! | 3 | [`traces`] | spans of sampled requests, on their way to a collector | a voter's or clip's name |
//! | 4 | [`ballots`] | who voted for what in open slots, and today's budgets | blocking under a lock |
//! | 4 | [`stage`] | seasons, slots and clips as a snapshot that settlement swaps | a verdict |
//! | 4 | [`comments`] | comments as they are now: pages, what is not in them yet, what is in flight | blocking under its lock |
//! | 4 | [`boards`] | ranks, and what clips had when, from what the tables hold | ranking by what is hidden, holding up a vote |
//! | 4 | [`closed`] | closed slots: ballots sorted into pages, the tree over them | a decision about a slot's life |
//! | 4 | [`hub`] | channels, what they keep, viewers' queues | a socket, a wait for a viewer |
//! | 5 | [`log`] | queue, commit, apply, recover | ballots and tallies |
//! | 6 | [`jobs`] | what can wait, a step at a time, through the queue alone | a write of their own |
//! | 7 | [`engine`] | the public operations; what benches, tests and embedders use | transport |
//! | 8 | [`identity`] | credentials → voter | storing them |
//! | 8 | [`admission`] | rate limits, client addresses, votes' risk, devices' challenge | whether a vote counts |
//! | 9 | [`push`] | the Pusher protocol: apps, viewers' sockets, the API for triggers, webhooks | what is worth telling |
//! | 10 | [`http`] | hyper's server, routes, answers, the document of both; in `http/pages/` what people see | a decision about a vote |
//! | 11 | [`cli`] | commands and wiring | |
//!

pub mod admission;
pub mod ballots;
pub mod boards;
pub mod cli;
pub mod clock;
pub mod closed;
pub mod codec;
pub mod comments;
pub mod config;
pub mod domain;
pub mod engine;
pub mod error;
pub mod fold;
pub mod http;
pub mod hub;
pub mod identity;
pub mod jobs;
pub mod log;
pub mod merkle;
pub mod metrics;
pub mod outbound;
pub mod push;
pub mod stage;
pub mod store;
pub mod tally;
pub mod traces;
