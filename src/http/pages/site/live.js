// What is pushed: one stream of server-sent events for all channels. It resumes where it was, also when the channels
// change, and heals by itself after a restart of the server.

const EVENTS = ['counts-update', 'vote-update', 'slot-opened', 'slot-extended', 'slot-frozen', 'slot-closed', 'slot-corrected', 'new-comment', 'delete-comment', 'comment-updated', 'plaudit:resync'];

export class Live {
  // `on(name, data)` for each event; `state(isUp, missed)` when the connection comes or goes; `missed`: what came before it
  // opened was not pushed, and whoever loaded earlier loads again.
  constructor(on, state) {
    Object.assign(this, { on, state, channels: [], last: '', wait: 500 });
    // A page that nobody sees needs no stream; browsers have few connections to a server.
    document.addEventListener('visibilitychange', () => (document.hidden ? this.close() : this.open()));
    addEventListener('pagehide', () => this.close());
  }

  watch(channels) {
    const same = channels.length === this.channels.length && channels.every((one) => this.channels.includes(one));
    if (same && this.source) return;
    this.channels = channels;
    this.close();
    this.open();
  }

  open() {
    if (this.source || !this.channels.length || document.hidden) return;
    const since = this.last ? `&since=${encodeURIComponent(this.last)}` : '';
    const source = new EventSource(`/api/stream?channels=${encodeURIComponent(this.channels.join(','))}${since}`);
    this.source = source;
    source.onopen = () => {
      this.wait = 500;
      this.state(true, !since);
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.state(false, false);
      // Refused, and not just broken: the browser won't come back by itself.
      if (source.readyState === EventSource.CLOSED) {
        this.close();
        this.timer = setTimeout(() => this.open(), this.wait);
        this.wait = Math.min(this.wait * 2, 8000);
      }
    };
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.last = event.lastEventId;
        this.on(name, JSON.parse(event.data));
      });
    }
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
