// Which answer about a viewer's remaining votes is the newest, while those of votes and of questions come in any order. No element,
// no network.

export class Budget {
  constructor() {
    Object.assign(this, { asked: 0, told: 0, event: 0 });
  }

  // A question; its number comes with its answer to `answered`.
  ask() {
    return (this.asked += 1);
  }

  // Whether the answer to that question is to be shown: none that was asked for later has come, and no vote was answered since.
  answered(asked) {
    if (asked < this.told) return false;
    this.told = asked;
    return true;
  }

  // Whether the answer to a vote is, by its place in the log. What was asked for before it came may not know of the vote.
  voted(eventId) {
    const at = Number(eventId);
    if (at < this.event) return false;
    Object.assign(this, { event: at, told: this.asked + 1 });
    return true;
  }

  // The server may have begun anew, and its log with it.
  forget() {
    this.event = 0;
  }
}
