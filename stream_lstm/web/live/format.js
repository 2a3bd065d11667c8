// Numbers, times and shares as text.

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const small = new Intl.NumberFormat("en", { notation: "scientific", maximumSignificantDigits: 4 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const NONE = "–";

export function number(value) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "object") return Object.entries(value).map(([name, v]) => `${name} ${number(v)}`).join(", ");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e9) ? small.format(value) : plain.format(value);
}

export const count = (value) => (value === null || value === undefined ? NONE : whole.format(value));
export const rate = (value) => (value < 10 ? plain.format(Math.round(value * 10) / 10) : value < 1e5 ? whole.format(value) : compact.format(value));
export const percent = (value, digits = 0) => (value === null || value === undefined ? NONE : `${(value * 100).toFixed(digits)} %`);
export const ratio = (value) => (value === null || value === undefined ? NONE : typeof value === "object" ? number(value) : value.toFixed(2));
export const time = (seconds) => (seconds ? dateTime.format(new Date(seconds * 1000)) : NONE);

export function span(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds < 10 ? plain.format(Math.round(seconds * 10) / 10) : whole.format(seconds)} s`;
  if (seconds < 7_200) return `${whole.format(seconds / 60)} min`;
  if (seconds < 172_800) return `${whole.format(seconds / 3_600)} h`;
  return `${whole.format(seconds / 86_400)} days`;
}

// Arrival times are whole seconds.
export function ago(seconds, now) {
  if (!seconds) return NONE;
  const past = Math.floor(Math.max(now - seconds, 0));
  return past < 1 ? "now" : `${span(past)} ago`;
}

export function bytes(value) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let n = 0;
  while (value >= 1_000 && n < units.length - 1) { value /= 1_000; n += 1; }
  return `${value >= 100 || n === 0 ? whole.format(value) : plain.format(Math.round(value * 10) / 10)} ${units[n]}`;
}

// A value ± the half-width of its interval.
export function around(value, interval) {
  if (value === null || value === undefined) return NONE;
  if (typeof value === "object") return Object.entries(value).map(([name, v]) => `${name} ${around(v, interval?.[name])}`).join(", ");
  if (!interval) return number(value);
  const half = (interval[1] - interval[0]) / 2;
  return `${number(value)} ± ${half && (half < 1e-4 || half >= 1e9) ? small.format(half) : short.format(half)}`;
}

// The number of one target, in a value that may be an object by name.
export const of = (value, target) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value[target] ?? null : value);
