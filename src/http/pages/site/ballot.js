// One clip's count and this viewer's vote, while answers and pushes come in any order. No element, no network.

export class Ballot {
  constructor(clip, { votes, weight = null, voted = false }) {
    Object.assign(this, { clip, votes, weight, voted, seq: 0, wish: null, wishes: 1, turns: 0, asked: 0, told: 0 });
  }

  // What is shown: the wish counts at once, on top of what was known when it was made.
  get shown() {
    if (this.votes === null || this.wish === null) return this.votes;
    return Math.max(0, this.votes + (this.wish ? 1 : -1));
  }

  // What decides the round. What a vote taken back weighed is known once it is gone.
  get score() {
    const known = this.weight ?? this.votes;
    return known !== null && this.wish ? known + this.wishes : known;
  }

  get isOn() {
    return this.wish ?? this.voted;
  }

  // A wish for a vote that weighs so much, or for none.
  begin(on, weight = 1) {
    if (this.wish !== null || on === this.voted) return false;
    Object.assign(this, { wish: on, wishes: weight, waits: null });
    this.turns += 1;
    return true;
  }

  // The server may have begun anew: then its next sequence is lower, and the newer one all the same.
  forget() {
    Object.assign(this, { seq: 0, waits: null });
  }

  // Where this stands when all is asked for anew; its answer comes with it to `loaded`.
  mark() {
    return { seq: this.seq, turns: this.turns, asked: (this.asked += 1) };
  }

  // What a request that was sent at the mark was answered. It may be older than what was pushed since: that stays, for where the
  // answer is the newer one a push of it is on its way. So may it be than a later request's answer, or than a wish.
  loaded({ votes, weight = null, voted }, mark) {
    if (mark.asked < this.told) return;
    this.told = mark.asked;
    if (mark.turns === this.turns && this.wish === null) this.voted = voted;
    if (mark.seq === this.seq && this.wish === null) Object.assign(this, { votes, weight });
  }

  // A count that was pushed. While a wish is under way it may hold that vote already, or not yet: it waits.
  pushed(votes, weight, seq) {
    const at = Number(seq);
    if (at < this.seq) return;
    if (this.wish !== null) {
      if (!this.waits || at >= this.waits.seq) this.waits = { votes, weight, seq: at };
      return;
    }
    Object.assign(this, { votes, weight, seq: at });
  }

  // The server's answer to the wish: the newer of it and of what was pushed meanwhile is true.
  settled({ voteCount, weightedScore, eventId }) {
    this.voted = this.wish;
    this.wish = null;
    this.turns += 1;
    const at = Number(eventId);
    if (at >= this.seq) Object.assign(this, { votes: voteCount, weight: weightedScore, seq: at });
    this.take();
  }

  // The wish was refused; `stands`, where the refusal says whether there is a vote.
  refused(stands) {
    if (stands !== undefined) this.voted = stands;
    this.wish = null;
    this.turns += 1;
    this.take();
  }

  take() {
    const waits = this.waits;
    this.waits = null;
    if (waits) this.pushed(waits.votes, waits.weight, waits.seq);
  }
}
