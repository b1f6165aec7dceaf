// Talks to the server: one function per call. Knows no page.

let apiKey = sessionStorage.getItem("vireid-key") || "";
let askForKey = async () => "";
let asking = null;      // the one question for a key that is open, whoever waits for its answer

export function onKeyNeeded(ask) { askForKey = ask; }

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}`);
    this.reason = body.reason || "UNKNOWN";
    this.status = status;
  }
}

function headers(extra = {}) {
  return apiKey ? { ...extra, authorization: `Bearer ${apiKey}` } : extra;
}

async function call(path, options = {}) {
  let response;
  const used = apiKey;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch {
    throw new Problem(0, { detail: "The server does not answer. Is it still running?", reason: "SERVER_UNREACHABLE" });
  }
  if (response.status === 401 && (apiKey !== used || await keyGiven())) return call(path, options);
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new Problem(response.status, body);
  }
  return response;
}

// Ask for a key until the server takes one or the user gives up; false then.
async function keyGiven() {
  asking ??= askForKey(apiKey !== "").finally(() => { asking = null; });
  const given = await asking;
  if (given) sessionStorage.setItem("vireid-key", given);
  apiKey = given || apiKey;
  return Boolean(given);
}

const json = async (path, options) => (await call(path, options)).json();
const gallery = (name) => `/v1/galleries/${encodeURIComponent(name)}`;

export const info = () => json("/v1/info");
export const galleries = async () => (await json("/v1/galleries")).galleries;
export const facets = (name) => json(`${gallery(name)}/facets`);
export const items = (name, query) => json(`${gallery(name)}/items?${new URLSearchParams(query)}`);
export const job = (id) => json(`/v1/jobs/${encodeURIComponent(id)}`);
export const createGallery = (name) => json("/v1/galleries", {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name }),
});

export const search = (name, wanted) => json(`${gallery(name)}/search`, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted),
});

export const embed = (image, modality) => json(`/v1/embed?modality=${modality}`, {
  method: "POST", headers: { "content-type": image.type || "application/octet-stream" }, body: image,
});

export async function picture(path) {
  return (await call(path)).blob();
}

// Put a picture into an <img>; with a key the browser cannot ask by itself.
export async function show(image, path) {
  if (!apiKey) { image.src = path; return; }
  image.src = URL.createObjectURL(await picture(path));
}

// Upload with the bytes' progress, which fetch does not tell.
export function upload(name, body, type, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${gallery(name)}/items:upload`);
    for (const [key, value] of Object.entries(headers(type ? { "content-type": type } : {}))) {
      request.setRequestHeader(key, value);
    }
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Problem(0, { detail: "The connection broke; upload again: what is there already is not stored twice." }));
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { body = { detail: request.responseText }; }
      if (request.status === 202) resolve(body); else reject(new Problem(request.status, body));
    };
    request.send(body);
  });
}
