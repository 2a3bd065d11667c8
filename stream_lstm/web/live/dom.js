// Elements out of plain words. Text is only ever set as text, so that what sensors say is never markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

export const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

// A name that came from a sensor: its direction stays its own.
export const named = (text) => el("bdi", { title: text, class: "name" }, text);

// Set a text only where it has changed: less to lay out, and a reader's selection stays.
export function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

export function toggle(place, name, on) {
  place.classList.toggle(name, Boolean(on));
}

export async function ask(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  const text = query.size ? `${path}?${query}` : path;
  const answer = await fetch(text, { headers: { Accept: "application/json" } });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(told.error || answer.statusText || `status ${answer.status}`), { status: answer.status });
  return told;
}
