// The query: pictures of one person. Knows no search.

const byId = (id) => document.getElementById(id);

const MOST = 16;   // that the server takes together

let pictures = [];
let changed = () => {};
let choosing = false;  // whether the files that are being chosen come beside the pictures that are there

export const all = () => pictures;
export const url = () => pictures[0]?.url ?? "";
export function onChange(handler) { changed = handler; }

// A picture is a Blob; one that is of an item carries its id, for an item is never a hit of itself.
export function take(blobs, { item = "", beside = false } = {}) {
  if (!blobs.length) return;
  const news = [...blobs].map((blob) => ({ blob, item, name: blob.name ?? item, url: URL.createObjectURL(blob) }));
  if (!beside) for (const old of pictures) URL.revokeObjectURL(old.url);
  pictures = beside ? [...pictures, ...news] : news;
  draw();
  changed({ beside });
}

function leaveOut(picture) {
  URL.revokeObjectURL(picture.url);
  pictures = pictures.filter((one) => one !== picture);
  draw();
  changed({ beside: true });
}

function small(picture) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = `Leave out ${picture.name || "this image"}`;
  const image = document.createElement("img");
  image.src = picture.url;
  image.alt = `Query image ${picture.name}`;
  button.append(image);
  button.addEventListener("click", () => leaveOut(picture));
  return button;
}

function draw() {
  const several = pictures.length > 1;
  byId("preview").src = url();
  byId("preview").hidden = false;
  byId("drop-hint").hidden = true;
  byId("drop").classList.add("filled");
  byId("pictures").replaceChildren(...(several ? pictures.map(small) : []));
  byId("add").hidden = false;
  byId("add").disabled = pictures.length >= MOST;
  byId("together").hidden = !several;
}

function choose(beside) {
  choosing = beside;
  byId("file").click();
}

const drop = byId("drop");
drop.addEventListener("click", () => choose(false));
drop.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(false); }
});
byId("add").addEventListener("click", () => choose(true));
byId("file").addEventListener("click", (event) => event.stopPropagation());
byId("file").addEventListener("change", (event) => {
  take(event.target.files, { beside: choosing });
  event.target.value = "";
});
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files, { beside: Boolean(event.target.closest("#add")) });
});
document.addEventListener("paste", (event) => {
  take([...event.clipboardData.files].filter((file) => file.type.startsWith("image/")));
});
