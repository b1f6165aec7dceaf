// The page: a query, its filters, and the search that follows from them.

import * as api from "./api.js";
import * as about from "./gallery.js";
import * as marks from "./marks.js";
import * as pictures from "./pictures.js";
import * as results from "./results.js";
import * as upload from "./upload.js";

const byId = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

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

// Every picture as the server sees it; which one it refuses.
const embedded = () => Promise.all(pictures.all().map(async ({ blob, name }) => {
  try {
    return await api.embed(blob, chosen("modality"));
  } catch (problem) {
    if (pictures.all().length > 1) problem.message = `${name || "An image"}: ${problem.message}`;
    throw problem;
  }
}));

// Which kind of picture is searched, where the queries are of these kinds.
function among(kinds) {
  const said = chosen("among");
  if (said !== "other") return said ? [said] : [];
  return ["visible", "infrared"].filter((kind) => kinds.size > 1 || !kinds.has(kind));
}

function wanted(seen) {
  const [query, ...others] = seen.map(({ embedding, space_id, modality }) => ({ embedding, space_id, modality }));
  const moment = (side) => (byId(side).value ? new Date(byId(side).value).toISOString() : "");
  return {
    query,
    together: others.length ? { queries: others, by: chosen("together") } : null,
    top_k: Number(byId("top-k").value || "24"),
    filter: {
      modalities: among(new Set(seen.map(({ modality }) => modality))),
      cameras: [...document.querySelectorAll("#cameras input:checked")].map((chip) => chip.value),
      captured_from: moment("from"),
      captured_to: moment("to"),
      exclude_items: pictures.all().map(({ item }) => item).filter(Boolean),
    },
    more_like: marks.like(),
    less_like: marks.unlike(),
  };
}

async function search() {
  const gallery = byId("gallery").value;
  if (!pictures.all().length || !gallery) return;
  const turn = ++latest;
  tell("");
  document.body.classList.add("busy");
  const started = performance.now();
  try {
    const seen = await embedded();
    const asked = wanted(seen);
    const answer = await api.search(gallery, asked);
    if (turn !== latest) return;
    marks.answered(asked);
    results.draw(answer.hits, pictures.url());
    describe(seen, answer, performance.now() - started);
  } catch (problem) {
    if (turn !== latest) return;
    results.draw([], pictures.url());
    byId("title").textContent = "No answer";
    byId("timing").textContent = "";
    byId("seen").textContent = "";
    tell(`${problem.message} [${problem.reason}]`);
    showAnswer();
  } finally {
    if (turn === latest) document.body.classList.remove("busy");
  }
}

function describe(seen, answer, elapsed) {
  const { hits, coverage } = answer;
  byId("empty").hidden = true;
  byId("title").textContent = hits.length
    ? `${hits.length} most similar of ${coverage.items_searched}`
    : nothing(coverage);
  // images are embedded side by side: the slowest one's stages count
  const slowest = seen.map((one) => one.timing).reduce((a, b) => (b.total_ms > a.total_ms ? b : a));
  const parts = ["queue", "decode", "infer", "search"].map((stage) => {
    const spent = slowest[`${stage}_ms`] + answer.timing[`${stage}_ms`];
    return `${stage} ${spent.toFixed(1)}`;
  });
  byId("timing").textContent = `${Math.round(elapsed)} ms in all · ${parts.join(" · ")} ms`;
  byId("seen").textContent = taken(seen);
  const warnings = new Set([...seen, answer].flatMap((one) => one.warnings.map(({ message }) => message)));
  if (warnings.size) tell([...warnings].join(" "));
}

// What the queries were taken in: said by the user, or decided by the server.
function taken(seen) {
  const said = chosen("modality") !== "auto";
  if (seen.length === 1) {
    const [{ modality, modality_confidence: confidence }] = seen;
    return `Taken as ${modality}${said ? ", as you said" : ` (${Math.round(confidence * 100)} % sure)`}`;
  }
  const counts = ["visible", "infrared"].map((kind) => [seen.filter(({ modality }) => modality === kind).length, kind])
    .filter(([count]) => count).map(([count, kind]) => `${count === seen.length ? "all" : count} ${kind}`);
  return `${seen.length} images of one person, ${counts.join(", ")}${said ? ", as you said" : ""}`;
}

// Say why there are no hits.
function nothing(coverage) {
  if (!coverage.items_total) return "This gallery is empty";
  const narrowed = document.querySelector("#cameras input:checked") || byId("from").value || byId("to").value;
  return narrowed ? "Nothing passes these filters" : "Nothing of that kind in this gallery: search among all";
}

// The answer may begin below what is seen, where the page is narrow, or above, where hits were gone through: go there.
function showAnswer() {
  const headline = byId("title");
  const { top } = headline.getBoundingClientRect();
  if (top >= 0 && top < window.innerHeight) return;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  headline.scrollIntoView({ behavior: still ? "auto" : "smooth" });
}

pictures.onChange(async ({ beside }) => {
  if (!beside) marks.clear();  // they were about somebody else
  await search();
  if (!beside) showAnswer();  // who adds to the query may want to go on
});

async function queryFromItem(item) {
  try {
    pictures.take([await api.picture(item.image)], { item: item.item_id });
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

for (const id of ["modality", "together", "search-in", "from", "to", "top-k"]) byId(id).addEventListener("change", search);
byId("clear").addEventListener("click", () => {
  for (const box of document.querySelectorAll("#cameras input")) box.checked = false;
  for (const id of ["from", "to"]) byId(id).value = "";
  document.querySelector("input[name=among][value=other]").checked = true;
  search();
});
byId("again").addEventListener("click", async () => {
  await search();
  showAnswer();
});
byId("forget").addEventListener("click", () => { marks.clear(); search(); });
byId("gallery").addEventListener("change", () => {
  marks.clear();
  chooseGallery().catch((problem) => tell(`${problem.message} [${problem.reason || "FAILED"}]`));
});
byId("open-upload").addEventListener("click", openUpload);
results.onSearchWith(queryFromItem);

start().catch((problem) => tell(`${problem.message} [${problem.reason || "FAILED"}]`));
