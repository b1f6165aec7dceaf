// Hits that were judged by eye: they show the person, or somebody else. Knows no search; says what it is to be asked with.

import { show } from "./api.js";

const byId = (id) => document.getElementById(id);

const marked = new Map();   // item id → { thumbnail, same }
let searched = "";          // the marks that the answer on the page was found with
let changed = () => {};

const items = (same) => [...marked].filter(([, mark]) => mark.same === same).map(([item]) => item);
const now = () => JSON.stringify([items(true), items(false)]);

export const like = () => items(true);
export const unlike = () => items(false);
export function onChange(handler) { changed = handler; }

// What an item is judged to be: true, false, or undefined if it is not.
export const of = (item) => marked.get(item)?.same;

// Judge a hit; the same again takes it back.
export function toggle(hit, same) {
  if (of(hit.item_id) === same) marked.delete(hit.item_id);
  else marked.set(hit.item_id, { thumbnail: hit.thumbnail, same });
  draw();
}

export function clear() {
  marked.clear();
  searched = now();
  draw();
}

// An answer is on the page that was found with so much.
export function answered({ more_like: likes, less_like: unlikes }) {
  searched = JSON.stringify([likes, unlikes]);
  draw();
}

function draw() {
  const waiting = now() !== searched;
  byId("marks").hidden = !marked.size && !waiting;
  const counts = [[items(true).length, "this person"], [items(false).length, "not this person"]];
  const said = counts.filter(([count]) => count).map(([count, words]) => `${count} ${words}`).join(", ");
  byId("marks-told").textContent = waiting ? `Marked: ${said || "nothing any more"}` : `Found with ${said}`;
  byId("again").disabled = !waiting;
  byId("marked").replaceChildren(...[...marked].map(([item, { thumbnail, same }]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = same ? "same" : "other";
    button.title = `Take back that ${item} is ${same ? "" : "not "}this person`;
    const image = document.createElement("img");
    image.alt = item;
    show(image, thumbnail);
    button.append(image);
    button.addEventListener("click", () => { marked.delete(item); draw(); });
    return button;
  }));
  changed();
}
