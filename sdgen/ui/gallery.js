// Runs once in each part of the Gallery tab: pictures, what is said, two compared.
// Gradio's names here: element, props, trigger, watch.
const EVENTS = ["open", "refresh", "empty"];
const MANY = ["star", "discard", "restore", "erase", "pack", "compare"]; // of all selected ones
const MOST = 1000; // pictures that the server takes at once
const STAYS = 12_000; // milliseconds that a message stays
const chosen = new Set(); // ids of the selected pictures, also those of other pages
let touched = null; // the id that was selected last, where a range begins
let page = null;
let hiding;

const section = () => element.querySelector(".sd-pics");
const tiles = () => [...element.querySelectorAll(".sd-pic")];
const tileOf = (part) => part.closest(".sd-pic");

// Boxes and the bar, as what is selected has them.
const mark = () => {
  if (!section()) return;
  const shown = tiles();
  for (const tile of shown) {
    const on = chosen.has(tile.dataset.id);
    tile.classList.toggle("sd-picked", on);
    tile.querySelector('input[type="checkbox"]').checked = on;
  }
  section().classList.toggle("sd-selecting", chosen.size > 0);
  const bar = element.querySelector(".sd-selection");
  const here = shown.filter((tile) => chosen.has(tile.dataset.id)).length;
  if (bar) {
    bar.hidden = chosen.size === 0;
    const away = chosen.size - here;
    const most = chosen.size === MOST ? ", the most at once" : "";
    bar.querySelector("[role=status]").textContent =
      chosen.size === 0
        ? ""
        : `${chosen.size} selected${away ? `, ${away} not on this page` : ""}${most}`;
    const compare = bar.querySelector('[data-action="compare"]');
    if (compare) compare.disabled = chosen.size !== 2;
  }
  const all = element.querySelector('[data-action="all"]');
  if (all) all.textContent = here && here === shown.length ? "Select none" : "Select all";
};

const pick = (id, on) => {
  if (on && chosen.size < MOST) chosen.add(id);
  else if (!on) chosen.delete(id);
};

// From the picture that was selected last to this one.
const pickRange = (tile, on) => {
  const shown = tiles();
  const from = shown.findIndex((each) => each.dataset.id === touched);
  const to = shown.indexOf(tile);
  const range = from < 0 ? [tile] : shown.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const each of range) pick(each.dataset.id, on);
};

const star = (button, id) => {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  trigger("star", { ids: [id], on });
};

const look = (changes) =>
  document
    .querySelector("#gallery-search form")
    ?.dispatchEvent(new CustomEvent("sd-look", { bubbles: true, detail: changes }));

const toGenerate = () =>
  [...document.querySelectorAll('#tabs button[role="tab"]')]
    .find((tab) => tab.textContent.trim() === "Generate")
    ?.click();

// What is done with all that is selected, or with the ids of a button.
const deed = (action, button) => {
  const own = button.dataset.ids?.split(" ").filter(Boolean);
  const ids = own ?? [...chosen];
  if (ids.length === 0) return;
  trigger(action, { ids, on: button.dataset.on !== "false" });
  if (!own && ["discard", "restore", "erase"].includes(action)) none();
};

// The bar goes, and its buttons with it: the keyboard goes on at the pictures.
const none = () => {
  chosen.clear();
  mark();
  element.querySelector(".sd-count")?.focus({ preventScroll: true });
};

element.addEventListener("click", (click) => {
  const dialog = element.querySelector("dialog[open]");
  if (dialog && click.target === dialog) dialog.close(); // the backdrop
  const button = click.target.closest("[data-action]");
  if (!button) return;
  const { action, name } = button.dataset;
  if (action === "reveal") button.closest(".sd-flagged").classList.add("sd-revealed");
  if (action === "close") dialog?.close();
  if (action === "ask") element.querySelector(`#sd-ask-${name}`).showModal();
  if (action === "empty") {
    dialog?.close();
    none();
  }
  if (action === "turn") look({ page: Number(button.dataset.page) });
  if (action === "all-pictures") look({ words: "", model: "", adapter: "", since: "", until: "", only: button.dataset.only });
  if (action === "generate") toGenerate();
  if (action === "none") none();
  if (action === "all") {
    const on = !tiles().every((tile) => chosen.has(tile.dataset.id));
    for (const tile of tiles()) pick(tile.dataset.id, on);
  }
  if (action === "star" && tileOf(button)) star(button, name);
  else if (MANY.includes(action)) {
    dialog?.close();
    deed(action, button);
  } else if (EVENTS.includes(action)) trigger(action, { name });
  mark();
});

// Boxes: a click with Shift selects a range. A click on the label's rim arrives here by itself.
element.addEventListener("click", (click) => {
  const box = click.target;
  if (box.type !== "checkbox" || !tileOf(box)) return;
  const tile = tileOf(box);
  if (click.shiftKey) pickRange(tile, box.checked);
  else pick(tile.dataset.id, box.checked);
  touched = tile.dataset.id;
  mark();
});

// On a picture: arrows go to its neighbours, X selects, F is the favourite, Delete the bin; Escape
// lets go of what is selected.
element.addEventListener("keydown", (key) => {
  if (key.key === "Escape" && chosen.size && !element.querySelector("dialog[open]")) none();
  const tile = key.target.closest?.(".sd-pic");
  if (!tile || key.ctrlKey || key.metaKey || key.altKey) return;
  const next = neighbour(tile, key.key);
  if (next) {
    key.preventDefault();
    (next.querySelector(".sd-frame[data-action]") ?? next.querySelector("input")).focus();
  } else if (key.key === "x" || key.key === "X") tile.querySelector('input[type="checkbox"]').click();
  else if (key.key === "f" || key.key === "F") tile.querySelector(".sd-star")?.click();
  else if (key.key === "Delete" && section().dataset.bin === "false") {
    const ids = chosen.has(tile.dataset.id) ? [...chosen] : [tile.dataset.id];
    for (const id of ids) chosen.delete(id);
    trigger("discard", { ids });
    mark();
  }
});

function neighbour(tile, key) {
  const shown = tiles();
  const at = shown.indexOf(tile);
  if (key === "ArrowLeft") return shown[at - 1];
  if (key === "ArrowRight") return shown[at + 1];
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const here = tile.getBoundingClientRect();
  const down = key === "ArrowDown" ? 1 : -1;
  const far = (other) => {
    const there = other.getBoundingClientRect();
    const rows = (there.top - here.top) * down;
    return rows < here.height / 2 ? Infinity : rows * 10 + Math.abs(there.left - here.left);
  };
  return shown.reduce((best, other) => (far(other) < far(best) ? other : best), tile);
}

// Two compared: how much of the left one is seen.
element.addEventListener("input", (event) => {
  const pair = event.target.closest(".sd-pair");
  if (!pair) return;
  pair.style.setProperty("--at", `${event.target.value}%`);
  event.target.setAttribute("aria-valuetext", `${event.target.value} % of the left picture`);
});

// What a closed dialog showed may be asked for again: the same value would not be drawn anew.
element.addEventListener(
  "close",
  (event) => {
    if (event.target.classList.contains("sd-compare")) props.value = "";
  },
  true,
);

watch("value", () => {
  const compared = element.querySelector("dialog.sd-compare");
  if (compared && !compared.open) compared.showModal();
  const toast = element.querySelector(".sd-toast");
  if (toast) say(toast);
  if (!section()) return;
  if (section().dataset.kind !== element.dataset.kind) {
    if (section().dataset.kind === "bin" || element.dataset.kind === "bin") chosen.clear();
    element.dataset.kind = section().dataset.kind;
  }
  if (page !== null && page !== section().dataset.page) {
    element.querySelector(".sd-count")?.focus({ preventScroll: true });
    element.scrollIntoView({ block: "start" });
  }
  page = section().dataset.page;
  mark();
});
mark();

function say(toast) {
  clearTimeout(hiding);
  toast.classList.remove("sd-gone");
  toast.querySelector("a[data-go]")?.click();
  const leave = () => {
    if (toast.matches(":hover") || toast.contains(document.activeElement)) {
      hiding = setTimeout(leave, 2000);
    } else toast.classList.add("sd-gone");
  };
  hiding = setTimeout(leave, STAYS);
}
