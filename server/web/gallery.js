// What there is to know of the gallery that is searched: what it lacks, how long it keeps, how its scores are made.

const byId = (id) => document.getElementById(id);

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

// A length of time in the largest unit that divides it.
export function span(seconds) {
  const [word, length] = UNITS.find(([, each]) => seconds % each === 0);
  return many(seconds / length, word);
}

export function describe(gallery) {
  const facts = byId("gallery-facts");
  const lost = byId("gallery-lost");
  facts.hidden = !gallery;
  lost.hidden = !gallery || !gallery.lost;
  if (!gallery) return;
  facts.textContent = [
    many(gallery.items, "image"),
    gallery.retention_s
      ? `each is removed ${span(gallery.retention_s)} after it was added, or earlier where it says so`
      : "kept until they are removed, or as long as each says",
    gallery.stores_images ? "" : "the images themselves are not kept",
    gallery.centring ? "centred: scores are not to be compared with other galleries’" : "",
  ].filter(Boolean).join(" · ");
  lost.textContent = `Not complete: ${many(gallery.lost, "image")} of this gallery could not be saved when it was damaged. `
    + "Who is not found here may have been among them.";
}
