// The ranked grid and the side-by-side view. Knows hits, not how they were found.

import { show } from "./api.js";
import * as marks from "./marks.js";

const byId = (id) => document.getElementById(id);
const grid = byId("grid");
const compare = byId("compare");

let hits = [];
let queryUrl = "";
let chosen = 0;
let searchWith = () => {};

export function onSearchWith(handler) { searchWith = handler; }

export function time(text) {
  if (!text) return "";
  return new Date(text).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

function label(hit) {
  const parts = [hit.camera && `camera ${hit.camera}`, hit.captured_at && time(hit.captured_at)];
  return parts.filter(Boolean).join(" · ") || hit.item_id;
}

// where scores are calibrated a person reads the probability, elsewhere the similarity
function strength(hit) {
  return hit.probability === null ? hit.score.toFixed(3) : `${Math.round(100 * hit.probability)} %`;
}

function card(hit, index) {
  const item = document.createElement("li");
  item.className = `card ${hit.modality}`;
  item.dataset.person = hit.person || "";
  item.dataset.item = hit.item_id;
  const button = document.createElement("button");
  button.type = "button";
  button.title = `Compare ${hit.item_id} with the query`;
  const image = document.createElement("img");
  image.alt = `Hit ${hit.rank}: ${hit.item_id}`;
  image.loading = "lazy";
  show(image, hit.thumbnail);
  const rank = document.createElement("span");
  rank.className = "rank";
  rank.textContent = hit.rank;
  const modality = document.createElement("span");
  modality.className = "modality";
  modality.textContent = hit.modality;
  button.append(image, rank, modality);
  const score = document.createElement("div");
  score.className = "score";
  const meter = document.createElement("meter");
  meter.min = 0; meter.max = 1; meter.value = Math.max(0, hit.probability ?? hit.score);
  const number = document.createElement("b");
  number.textContent = strength(hit);
  number.title = `similarity ${hit.score.toFixed(3)}`;
  score.append(meter, number);
  const where = document.createElement("p");
  where.textContent = label(hit);
  const who = document.createElement("p");
  who.className = "who";
  who.textContent = hit.person ? `labelled ${hit.person}` : hit.item_id;
  item.append(button, score, where, who, judge(hit));
  button.addEventListener("click", () => open(index));
  return item;
}

function judge(hit) {
  const row = document.createElement("div");
  row.className = "judge";
  row.append(...[[true, "✓", "This person"], [false, "✗", "Not this person"]].map(([same, sign, words]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = same ? "same" : "other";
    button.textContent = sign;
    button.title = words;
    button.setAttribute("aria-label", `${words}: ${hit.item_id}`);
    button.addEventListener("click", () => marks.toggle(hit, same));
    return button;
  }));
  return row;
}

// Show on every card, and beside the two pictures, what was judged.
function showMarks() {
  const press = (buttons, item) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", marks.of(item) === button.classList.contains("same"));
    }
  };
  for (const one of grid.children) press(one.querySelectorAll(".judge button"), one.dataset.item);
  byId("marks-hint").hidden = !hits.length || !byId("marks").hidden;
  if (compare.open) press([byId("compare-same"), byId("compare-other")], hits[chosen].item_id);
}
marks.onChange(showMarks);

export function draw(found, query) {
  hits = found;
  queryUrl = query;
  grid.replaceChildren(...hits.map(card));
  showMarks();
}

function open(index) {
  chosen = Math.min(Math.max(index, 0), hits.length - 1);
  const hit = hits[chosen];
  byId("compare-query").src = queryUrl;
  const picture = byId("compare-hit");
  picture.onerror = () => { picture.onerror = null; show(picture, hit.thumbnail); };
  show(picture, hit.image || hit.thumbnail);
  const removed = hit.expires_at ? ` · is removed ${time(hit.expires_at)}` : "";
  byId("compare-caption").textContent = `Rank ${hit.rank} · ${strength(hit)} · ${label(hit)} · ${hit.item_id}${removed}`;
  byId("compare-previous").disabled = chosen === 0;
  byId("compare-next").disabled = chosen === hits.length - 1;
  if (!compare.open) compare.showModal();
  showMarks();
}

byId("compare-previous").addEventListener("click", () => open(chosen - 1));
byId("compare-next").addEventListener("click", () => open(chosen + 1));
byId("compare-close").addEventListener("click", () => compare.close());
byId("compare-same").addEventListener("click", () => marks.toggle(hits[chosen], true));
byId("compare-other").addEventListener("click", () => marks.toggle(hits[chosen], false));
byId("compare-search").addEventListener("click", () => { compare.close(); searchWith(hits[chosen]); });
compare.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") open(chosen - 1);
  if (event.key === "ArrowRight") open(chosen + 1);
});
