// The page: a query, its filters, and the search that follows from them.

import * as api from "./api.js";
import * as about from "./gallery.js";
import * as results from "./results.js";
import * as upload from "./upload.js";

const byId = (id) => document.getElementById(id);
const drop = byId("drop");
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

let query = null;      // a Blob
let queryUrl = "";
let excluded = "";     // the item the query came from, never a hit of itself
let seen = null;        // the modality the server saw in the query
let galleries = [];
let latest = 0;        // an answer that was overtaken is not drawn

api.onKeyNeeded((refused) => new Promise((resolve) => {
  const dialog = byId("key");
  byId("key-refused").hidden = !refused;
  byId("key-value").value = "";
  dialog.returnValue = "";
  dialog.addEventListener("close", () => resolve(dialog.returnValue && byId("key-value").value), { once: true });
  dialog.showModal();
}));

function tell(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

// What the query was taken in: said by the user, or decided by the server once for each query.
async function taken() {
  const said = chosen("modality");
  if (said !== "auto") return said;
  seen ??= (await api.embed(query, "auto")).modality;
  return seen;
}

async function among() {
  if (chosen("among") !== "other") return chosen("among");
  return (await taken()) === "infrared" ? "visible" : "infrared";
}

async function parameters() {
  const list = new URLSearchParams({ top_k: byId("top-k").value || "24" });
  if (chosen("modality") !== "auto") list.set("modality", chosen("modality"));
  const found = await among();
  if (found) list.set("modalities", found);
  for (const chip of document.querySelectorAll("#cameras input:checked")) list.append("camera", chip.value);
  for (const side of ["from", "to"]) {
    if (byId(side).value) list.set(side, new Date(byId(side).value).toISOString());
  }
  if (excluded) list.append("exclude_item", excluded);
  return list;
}

async function search() {
  const gallery = byId("gallery").value;
  if (!query || !gallery) return;
  const turn = ++latest;
  tell("");
  document.body.classList.add("busy");
  const started = performance.now();
  try {
    const answer = await api.search(gallery, query, await parameters());
    if (turn !== latest) return;
    results.draw(answer.hits, queryUrl);
    describe(answer, performance.now() - started);
  } catch (problem) {
    if (turn !== latest) return;
    results.draw([], queryUrl);
    byId("title").textContent = "No answer";
    byId("timing").textContent = "";
    byId("seen").textContent = "";
    tell(`${problem.message} [${problem.reason}]`);
  } finally {
    if (turn === latest) document.body.classList.remove("busy");
  }
}

function describe(answer, elapsed) {
  const { hits, coverage, timing } = answer;
  byId("empty").hidden = true;
  byId("title").textContent = hits.length
    ? `${hits.length} most similar of ${coverage.items_searched}`
    : nothing(coverage);
  const parts = ["queue", "decode", "infer", "search"].map((stage) => `${stage} ${timing[`${stage}_ms`].toFixed(1)}`);
  byId("timing").textContent = `${Math.round(elapsed)} ms in all · ${parts.join(" · ")} ms`;
  const { modality, modality_confidence: confidence } = answer.query;
  const certain = chosen("modality") === "auto" ? ` (${Math.round(confidence * 100)} % sure)` : ", as you said";
  byId("seen").textContent = `Taken as ${modality}${certain}`;
  if (answer.warnings.length) tell(answer.warnings.map((warning) => warning.message).join(" "));
}

// Say why there are no hits.
function nothing(coverage) {
  if (!coverage.items_total) return "This gallery is empty";
  const narrowed = document.querySelector("#cameras input:checked") || byId("from").value || byId("to").value;
  return narrowed ? "Nothing passes these filters" : "Nothing of that kind in this gallery: search among all";
}

// On a narrow page the answer lies below the query and its filters: go there, unless some of it is seen.
function showAnswer() {
  const headline = byId("title");
  if (headline.getBoundingClientRect().top < window.innerHeight) return;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  headline.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

async function setQuery(blob, itemId = "") {
  query = blob;
  seen = null;
  excluded = itemId;
  if (queryUrl) URL.revokeObjectURL(queryUrl);
  queryUrl = URL.createObjectURL(blob);
  byId("preview").src = queryUrl;
  byId("preview").hidden = false;
  byId("drop-hint").hidden = true;
  drop.classList.add("filled");
  await search();
  showAnswer();
}

async function queryFromItem(item) {
  try {
    await setQuery(await api.picture(item.image), item.item_id);
  } catch (problem) {
    tell(`${problem.message} [${problem.reason}]`);
  }
}

async function chooseGallery() {
  const name = byId("gallery").value;
  about.describe(galleries.find((gallery) => gallery.name === name));
  if (!name) return;
  const [facets, night] = await Promise.all([
    api.facets(name),
    api.items(name, { modalities: "infrared", limit: "24" }),
  ]);
  byId("cameras").replaceChildren(...Object.entries(facets.cameras).map(([camera, count]) => {
    const chip = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = camera;
    box.addEventListener("change", search);
    const text = document.createElement("span");
    text.textContent = `camera ${camera}`;
    text.title = `${count} images`;
    chip.append(box, text);
    return chip;
  }));
  byId("night").hidden = !night.items.length;
  byId("strip").replaceChildren(...night.items.map((item) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `Search with ${item.item_id}`;
    button.dataset.person = item.person || "";
    const image = document.createElement("img");
    image.alt = `Night crop ${item.item_id}`;
    image.loading = "lazy";
    api.show(image, item.thumbnail);
    button.append(image);
    button.addEventListener("click", () => {
      queryFromItem(item);
    });
    return button;
  }));
  await search();
}

const BUILDS = {
  building_engine: "Being built", switched: "Was built", not_taken: "Built, not taken", build_failed: "Build failed",
};

function building({ engine, state, stage, done, reason }) {
  const how = state === "building_engine" ? `${stage}, ${Math.round(100 * done)} % of it done; ` : "";
  return `${engine}: ${how}${reason}`;
}

// Which engine runs and why, and which of the bundle's do not and why not.
function showEngine({ model, engine }) {
  byId("status").textContent = `${model.name} · ${engine.device}`;
  byId("status").hidden = false;
  byId("about-model").textContent = model.name;
  const facts = [
    ["Engine", `${engine.name}, ${engine.proven ? "proven" : "not proven"}`],
    ["Why", engine.reason],
    ["Runs on", `${engine.device}, ${engine.provider}, ${engine.runtime}, ${engine.precision}`],
    ...engine.not_taken.map((other) => [`Not ${other.name}`, other.reason]),
    ...(engine.building ? [[BUILDS[engine.building.state], building(engine.building)]] : []),
  ];
  byId("about-facts").replaceChildren(...facts.flatMap(([name, words]) => {
    const [term, said] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    said.textContent = words;
    return [term, said];
  }));
}
byId("status").addEventListener("click", async () => {
  try {
    showEngine(await api.info());  // another may serve by now
  } catch (problem) {
    tell(`${problem.message} [${problem.reason || "FAILED"}]`);
  }
  byId("about").showModal();
});
byId("about-close").addEventListener("click", () => byId("about").close());

async function start() {
  const [info, list] = await Promise.all([api.info(), api.galleries()]);
  galleries = list;
  showEngine(info);
  const chosen = byId("gallery").value;
  byId("gallery").replaceChildren(...list.map((gallery) => {
    const ready = gallery.state === "ready";
    const option = new Option(`${gallery.name} (${ready ? gallery.items : "failed"})`, gallery.name);
    option.disabled = !ready;
    option.title = gallery.detail;
    return option;
  }));
  if (list.some((gallery) => gallery.name === chosen)) byId("gallery").value = chosen;
  if (list.length && !list.some((gallery) => gallery.state === "ready")) {
    tell(`No gallery can be searched. ${list[0].name}: ${list[0].detail}`);
  }
  if (!list.length) tell("There is no gallery yet: “Add images” makes one.");
  await chooseGallery();
}

async function openUpload() {
  let name = byId("gallery").value;
  try {
    if (!name) {
      name = "main";
      await api.createGallery(name);
      await start();
    }
    upload.open(name, start);
  } catch (problem) {
    tell(`${problem.message} [${problem.reason}]`);
  }
}

drop.addEventListener("click", () => byId("file").click());
drop.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); byId("file").click(); }
});
byId("file").addEventListener("change", (event) => {
  if (event.target.files[0]) setQuery(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) setQuery(file);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((entry) => entry.type.startsWith("image/"));
  if (file) setQuery(file);
});
for (const id of ["modality", "search-in", "from", "to", "top-k"]) byId(id).addEventListener("change", search);
byId("clear").addEventListener("click", () => {
  for (const box of document.querySelectorAll("#cameras input")) box.checked = false;
  for (const id of ["from", "to"]) byId(id).value = "";
  document.querySelector("input[name=among][value=other]").checked = true;
  search();
});
byId("gallery").addEventListener("change", () => {
  chooseGallery().catch((problem) => tell(`${problem.message} [${problem.reason || "FAILED"}]`));
});
byId("open-upload").addEventListener("click", openUpload);
results.onSearchWith(queryFromItem);

start().catch((problem) => tell(`${problem.message} [${problem.reason || "FAILED"}]`));
