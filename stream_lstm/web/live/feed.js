// The live feed: one event source, told again to whoever listens. A hidden tab has none.

const AGAIN_MS = 3_000;

export class Feed {
  #source = null;
  #path = "api/live";
  #timer = 0;
  #again = false;
  #listeners = new Map();
  overview = null;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#open());
    window.addEventListener("pagehide", () => this.#close());
    window.addEventListener("pageshow", () => this.#open());
  }

  // Kinds: overview, news, gone; state ("live", "away", "hidden"); open, and whether again: news before may be lost.
  on(kind, call) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(call);
    return () => this.#listeners.get(kind).delete(call);
  }

  #tell(kind, told) {
    for (const call of this.#listeners.get(kind) ?? []) call(told);
  }

  // Look at one stream, or at none.
  look(name, layer = 0) {
    const path = name ? `api/live?${new URLSearchParams({ name, layer })}` : "api/live";
    if (path === this.#path && this.#source) return;
    this.#path = path;
    this.#open();
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.#close();
    if (document.visibilityState === "hidden") return this.#tell("state", "hidden");
    const source = new EventSource(this.#path);
    this.#source = source;
    source.addEventListener("open", () => { this.#tell("state", "live"); this.#tell("open", this.#again); this.#again = true; });
    source.addEventListener("error", () => {
      this.#tell("state", "away");
      // It tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED && source === this.#source) this.#timer = setTimeout(() => this.#open(), AGAIN_MS);
    });
    source.addEventListener("overview", (event) => { this.overview = JSON.parse(event.data); this.#tell("overview", this.overview); });
    for (const kind of ["news", "gone"]) source.addEventListener(kind, (event) => this.#tell(kind, JSON.parse(event.data)));
  }
}
