// The upload dialog: send, watch the job, list what was refused.

import * as api from "./api.js";
import { many } from "./gallery.js";

const byId = (id) => document.getElementById(id);
const dialog = byId("upload");
const bar = byId("upload-progress");
const state = byId("upload-state");

let name = "";
let done = () => {};

const TYPES = { zip: "application/zip", tar: "application/x-tar", gz: "application/gzip", tgz: "application/gzip" };

export function open(gallery, whenDone) {
  name = gallery;
  done = whenDone;
  byId("upload-gallery").textContent = name;
  byId("upload-errors").replaceChildren();
  state.textContent = "";
  bar.hidden = true;
  dialog.showModal();
}

function ending(file) { return file.name.split(".").pop().toLowerCase(); }

async function send(files) {
  const archives = files.filter((file) => TYPES[ending(file)]);
  const images = files.filter((file) => !TYPES[ending(file)]);
  for (const archive of archives) {
    await watch(await api.upload(name, archive, TYPES[ending(archive)], sent), archive.name);
  }
  if (images.length) {
    const form = new FormData();
    for (const image of images) form.append("files", image, image.name);
    await watch(await api.upload(name, form, "", sent), many(images.length, "image"));
  }
}

function sent(share) {
  bar.value = share * 0.5;
  state.textContent = `Sending: ${Math.round(share * 100)} %`;
}

async function watch(started, what) {
  let job = started;
  while (job.state === "queued" || job.state === "running") {
    const share = job.total ? job.done / job.total : 0;
    bar.value = 0.5 + share * 0.5;
    state.textContent = job.total ? `Embedding ${what}: ${job.done} of ${job.total}` : `Reading ${what}`;
    await new Promise((resolve) => setTimeout(resolve, 250));
    job = await api.job(job.job_id);
  }
  bar.value = 1;
  const counts = Object.entries(job.counts || {}).filter(([, n]) => n).map(([word, n]) => `${n} ${word}`);
  state.textContent = `${what}: ${job.state}. ${counts.join(", ")}`;
  const faults = [...(job.errors || []), ...(job.error ? [{ ...job.error, item: what }] : [])];
  const lines = faults.map((error) => {
    const line = document.createElement("li");
    line.textContent = `${error.item || error.name || ""}: ${error.message} [${error.reason}]`;
    return line;
  });
  byId("upload-errors").append(...lines);
}

byId("upload-close").addEventListener("click", () => dialog.close());
byId("upload-start").addEventListener("click", async () => {
  const files = [...byId("upload-files").files];
  if (!files.length) { state.textContent = "Choose files first."; return; }
  const start = byId("upload-start");
  start.disabled = true;
  bar.hidden = false;
  byId("upload-errors").replaceChildren();
  try {
    await send(files);
    await done();
  } catch (problem) {
    state.textContent = `${problem.message} [${problem.reason || "FAILED"}]`;
  } finally {
    start.disabled = false;
  }
});
