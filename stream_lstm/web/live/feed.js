// The live feed: one event source for all listeners on the page. A hidden tab has none.

const RETRY_MS = 3_000; // after the service rejected the connection: recovery takes seconds

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

  // Kinds: overview, news, gone; state ("live", "disconnected", "hidden"); open, with true if not the first
  // time: earlier news may be missing.
  on(kind, listener) {
    if (!this.#listeners.has(kind)) this.#listeners.set(kind, new Set());
    this.#listeners.get(kind).add(listener);
    return () => this.#listeners.get(kind).delete(listener);
  }

  #emit(kind, message) {
    for (const listener of this.#listeners.get(kind) ?? []) listener(message);
  }

  // Follow a layer of one stream, or no stream.
  follow(name, layer = 0) {
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
    if (document.visibilityState === "hidden") return this.#emit("state", "hidden");
    const source = new EventSource(this.#path);
    this.#source = source;
    source.addEventListener("open", () => { this.#emit("state", "live"); this.#emit("open", this.#again); this.#again = true; });
    source.addEventListener("error", () => {
      this.#emit("state", "disconnected");
      // An EventSource reconnects by itself, except after a status other than 200.
      if (source.readyState === EventSource.CLOSED && source === this.#source) this.#timer = setTimeout(() => this.#open(), RETRY_MS);
    });
    source.addEventListener("overview", (event) => { this.overview = JSON.parse(event.data); this.#emit("overview", this.overview); });
    for (const kind of ["news", "gone"]) source.addEventListener(kind, (event) => this.#emit(kind, JSON.parse(event.data)));
  }
}
