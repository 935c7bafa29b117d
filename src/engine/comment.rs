//! The whole journey of a comment, and of what is done to one: claim under the comments' lock, log, settlement.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::vote::TRIES;
use super::{Core, Engine};
use crate::comments::{Claim, Cursor, Found, Order, Page, PublicComment, Sight, Wish, WordList, may_see};
use crate::domain::{
    ClipNo, Comment, CommentChange, CommentPost, CommentText, DEPTH_MAX, Event, ModerationQueue, Profile, RequestKey,
    Seq, Verdict, VoterId,
};
use crate::error::{Fault, Reject};
use crate::fold::comments::LIKED;
use crate::log::{Body, Entry};

/// A comment to be posted.
#[derive(Clone, Debug)]
pub struct CommentDraft<'a> {
    /// The clip's id.
    pub clip: &'a str,
    /// The comment that it answers.
    pub parent: Option<Seq>,
    /// Who writes.
    pub author: VoterId,
    /// Who others see.
    pub profile: Profile,
    /// What it says.
    pub text: CommentText,
    /// What tells a retry of this request from another one.
    pub request: Option<RequestKey>,
}

/// A comment that was posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted {
    /// As it stands.
    pub comment: Arc<Comment>,
    /// An earlier request with the same key posted it.
    pub again: bool,
}

/// A like's outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liked {
    /// Likes that the comment has; 0 of one that can't be seen.
    pub likes: u32,
    /// Whether the voter's stands.
    pub stands: bool,
}

/// Which comments are asked for.
#[derive(Clone, Copy, Debug)]
pub struct CommentQuery<'a> {
    /// The clip's id.
    pub clip: &'a str,
    /// Replies to this comment; `None`: the clip's own comments.
    pub parent: Option<Seq>,
    /// In which order.
    pub order: Order,
    /// Behind which place of it.
    pub after: Option<Cursor>,
    /// How many at most.
    pub limit: usize,
    /// Who asks.
    pub viewer: Option<VoterId>,
}

impl Engine {
    /// Posts a comment and waits until it is on the disk, as [`Engine::vote`] does. A request whose key is known gets its
    /// comment again.
    pub async fn post_comment(&self, draft: CommentDraft<'_>) -> Result<Posted, Reject> {
        let core = &*self.core;
        core.takes_writes()?;
        // Before anything else is looked at: a retry must not meet what has changed since.
        let at = core.clock.now_ms();
        if let Some(claim) = draft.request.and_then(|request| core.comments.earlier(request, at)) {
            return core.earlier(claim);
        }
        let clip = {
            let scene = core.stage.look();
            let clip = scene.clip(draft.clip)?.clip.no;
            scene.allows(draft.author, at)?;
            clip
        };
        let mut parent = draft.parent.map(|id| core.sight(id, None)).transpose()?;
        let depth = parent.as_ref().map_or(Ok(0), |sight| depth_below(&sight.comment, clip))?;
        let text = draft.text.as_str().to_owned();
        let held = core.settings.comments.held_first || core.words.load().finds(&text);
        let (author, profile, request) = (draft.author, draft.profile, draft.request);
        let post = CommentPost { clip, parent: draft.parent.unwrap_or(0), depth, author, profile, text, held, request };

        for _ in 0..TRIES {
            let (waiter, answer) = oneshot::channel();
            let event = Event::CommentPosted(Box::new(post.clone()));
            let send = || core.enqueue(at, event, waiter);
            match core.comments.claim_post(at, (author, clip), parent.as_ref(), request, send) {
                Claim::Sent => {
                    let seq = core.outcome(answer).await?;
                    return Ok(Posted { comment: Arc::new(Comment::posted(seq, at, &post)), again: false });
                }
                Claim::Stale => parent = Some(core.sight(post.parent, None)?),
                Claim::Gone => return Err(Reject::NotFound),
                other => return core.earlier(other),
            }
        }
        Err(core.overloaded())
    }

    /// Deletes a comment for its author, or for a moderator (`by` none). Its replies stay.
    pub async fn delete_comment(&self, id: Seq, by: Option<VoterId>) -> Result<(), Reject> {
        let may = |comment: &Comment| match by {
            Some(voter) if voter != comment.author => {
                // Who can't see it must not learn that it is there.
                Err(if comment.is_visible() { Reject::NotYours } else { Reject::NotFound })
            }
            _ => Ok(()),
        };
        self.core.wish(id, None, |_| Wish::Change(CommentChange::Deleted { by }), may).await.map(drop)
    }

    /// Likes a comment, or takes the like back; that it is so already is no error.
    pub async fn like_comment(&self, voter: VoterId, id: Seq, on: bool) -> Result<Liked, Reject> {
        let core = &*self.core;
        if on {
            core.stage.look().allows(voter, core.clock.now_ms())?;
        }
        core.wish(id, Some(voter), |_| Wish::Like(voter, on), |_| Ok(())).await?;
        let after = core.sight(id, Some(voter))?;
        let likes = if may_see(&after.comment, Some(voter)) { after.comment.likes } else { 0 };
        Ok(Liked { likes, stands: after.set & LIKED != 0 })
    }

    /// Reports a comment; a second report of the same voter changes nothing.
    pub async fn report_comment(&self, voter: VoterId, id: Seq) -> Result<(), Reject> {
        let core = &*self.core;
        core.stage.look().allows(voter, core.clock.now_ms())?;
        let hides_at = core.settings.comments.hides_at;
        core.wish(id, Some(voter), |_| Wish::Report(voter, hides_at), |_| Ok(())).await.map(drop)
    }

    /// A moderator's word about a comment; gives it as it then stands.
    pub async fn moderate_comment(&self, id: Seq, verdict: Verdict) -> Result<Arc<Comment>, Reject> {
        let core = &*self.core;
        core.wish(id, None, |_| Wish::Change(CommentChange::Moderated(verdict)), |_| Ok(())).await?;
        Ok(core.sight(id, None)?.comment)
    }

    /// A page of comments.
    pub fn comments(&self, query: CommentQuery<'_>) -> Result<Page, Reject> {
        let core = &*self.core;
        let clip = core.stage.look().clip(query.clip)?.clip.no;
        let parent = match query.parent {
            None => 0,
            Some(id) => {
                // A comment that is gone or hidden still has its replies; without any, it isn't there.
                let comment = core.sight(id, query.viewer)?.comment;
                if comment.place.clip != clip || !core.read(core.comments.shows(&comment, query.viewer))? {
                    return Err(Reject::NotFound);
                }
                id
            }
        };
        let CommentQuery { order, after, limit, viewer, .. } = query;
        core.read(core.comments.list(clip, parent, order, after, limit, viewer, core.clock.now_ms()))
    }

    /// One comment as a viewer sees it, with its counts.
    pub fn comment(&self, id: Seq, viewer: Option<VoterId>) -> Result<Found, Reject> {
        let comment = self.core.sight(id, None)?.comment;
        self.core.read(self.core.comments.found(comment, viewer))
    }

    /// A clip's comments that everyone can see, replies included.
    pub fn comment_count(&self, clip: &str) -> Result<u64, Reject> {
        self.core.stage.look().clip(clip).map(|state| state.comment_count())
    }

    /// A page of what moderators look through, oldest first, and the id that the next one goes on behind.
    pub fn moderation_queue(
        &self,
        queue: ModerationQueue,
        past: Seq,
        limit: usize,
    ) -> Result<(Vec<Arc<Comment>>, Option<Seq>), Reject> {
        self.core.read(self.core.comments.queue(queue, past, limit))
    }

    /// From here on comments with one of these words wait for a moderator.
    pub fn block_words(&self, words: WordList) {
        self.core.words.store(Arc::new(words));
    }

    /// The voter that an operator names: by the `userId` that others see if it is one that is known (of a ban, of a comment, of
    /// a vote in a slot that isn't locked), else by `sub`. Looks at all of them: not for a thread that others wait for.
    pub fn voter_named(&self, name: &str) -> Result<VoterId, Reject> {
        let key = &self.core.settings.voter_key;
        if let Some(public) = public_name(name) {
            let banned = self.core.stage.look().bans.keys().copied().find(|voter| key.is_public(*voter, public));
            let known = match banned {
                Some(voter) => Some(voter),
                None => self.core.read(self.core.comments.author_named(name, key))?,
            };
            if let Some(voter) = known.or_else(|| self.core.ballots.find(|voter| key.is_public(voter, public))) {
                return Ok(voter);
            }
        }
        Ok(key.user(name))
    }

    /// Changes of comments in memory that the tables do not contain, and comments kept for readers.
    pub fn comments_held(&self) -> (usize, usize) {
        self.core.comments.held()
    }

    /// A comment as everyone may see it: all of it, or its place alone.
    pub fn public_comment(&self, comment: &Comment, whole: bool) -> PublicComment {
        let clip = self.core.stage.look().clips[comment.place.clip.index()].clip.id.clone();
        if whole {
            PublicComment::whole(comment, clip, &self.core.settings.voter_key)
        } else {
            PublicComment::stub(comment, clip)
        }
    }
}

/// What looks like a name that others see of a voter.
pub(super) fn public_name(name: &str) -> Option<[u8; 16]> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let whole = name.len() == 32 && name.bytes().all(hex);
    let number = if whole { u128::from_str_radix(name, 16).ok() } else { None };
    number.map(u128::to_be_bytes)
}

/// How deep a reply to a comment lies, if it may have one.
fn depth_below(parent: &Comment, clip: ClipNo) -> Result<u8, Reject> {
    let wrong = |why: &str| Reject::InvalidParameter { name: "parentId", why: why.into() };
    // First of all: who can't see it must not learn that it is there.
    if !parent.is_visible() {
        return Err(Reject::NotFound);
    }
    if parent.place.clip != clip {
        return Err(wrong("it is a comment on another clip"));
    }
    if parent.depth >= DEPTH_MAX {
        return Err(wrong("replies go five deep"));
    }
    Ok(parent.depth + 1)
}

impl Core {
    /// Claims a change of a comment and waits until it stands.
    async fn wish(
        &self,
        id: Seq,
        voter: Option<VoterId>,
        wish: impl Fn(&Comment) -> Wish,
        may: impl Fn(&Comment) -> Result<(), Reject>,
    ) -> Result<(), Reject> {
        for _ in 0..TRIES {
            self.takes_writes()?;
            let sight = self.sight(id, voter)?;
            may(&sight.comment)?;
            let at = self.clock.now_ms();
            let (waiter, answer) = oneshot::channel();
            let send = |event| self.enqueue(at, event, waiter);
            match self.comments.claim(&sight, wish(&sight.comment), send) {
                Claim::Sent => return self.outcome(answer).await.map(drop),
                Claim::Already => return Ok(()),
                Claim::Gone => return Err(Reject::NotFound),
                Claim::Stale => {}
                Claim::InFlight => self.barrier().await?,
                _ => return Err(self.overloaded()),
            }
        }
        Err(self.overloaded())
    }

    fn enqueue(&self, at: u64, event: Event, waiter: oneshot::Sender<crate::log::Outcome>) -> bool {
        self.queue.claim(Entry::new(at, Body::Event(event), Some(waiter))).is_some()
    }

    /// The answer to a post that was not sent.
    fn earlier(&self, claim: Claim) -> Result<Posted, Reject> {
        match claim {
            Claim::Again(id) => Ok(Posted { comment: self.sight(id, None)?.comment, again: true }),
            Claim::RequestInFlight => Err(Reject::RequestInFlight),
            Claim::OtherBody => Err(Reject::IdempotencyKeyReused),
            Claim::TooSoon(wait_ms) => Err(Reject::RateLimited { retry_after_s: wait_ms.div_ceil(1000) }),
            _ => Err(self.overloaded()),
        }
    }

    fn sight(&self, id: Seq, voter: Option<VoterId>) -> Result<Sight, Reject> {
        self.read(self.comments.sight(id, voter))?.ok_or(Reject::NotFound)
    }

    /// What was read of the tables; a failure is logged, and the caller hears that the store has failed.
    pub(super) fn read<T>(&self, read: Result<T, Fault>) -> Result<T, Reject> {
        read.map_err(|failure| {
            self.metrics.read_failures.inc();
            tracing::error!("what is stored can't be read: {failure}");
            Reject::StorageFailed
        })
    }
}
