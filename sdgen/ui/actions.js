// Runs once in each HTML component that holds buttons: a click becomes an event of the component.
// Gradio's names here: element, props, trigger, watch.
const EVENTS = [
  "open", "reuse", "again", "verify", "pick", "star", "discard", "restore", "halt",
  "earlier", "later", "drop_job", "cancel_all", "pause", "resume", "link",
];

// Add a word to the prompt as it is in this moment, whatever the server has heard of it so far.
const addWord = (word) => {
  const box = document.querySelector("#prompt textarea");
  box.value = `${box.value.trimEnd()} ${word}`.trim();
  box.dispatchEvent(new Event("input", { bubbles: true }));
};

const copy = async (button, text) => {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = document.createElement("textarea"); // an address without https has no clipboard
    box.value = text;
    button.after(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = words), 2000);
};

const openGrid = () => {
  const grid = document.getElementById("grid");
  const head = grid?.querySelector("button.label-wrap");
  if (head && !head.classList.contains("open")) head.click();
  grid?.scrollIntoView({ block: "center" });
};

let pressed; // in the open dialog, which the answer draws anew: the focus goes back to it
const PLACES = [".sd-newer", ".sd-older", '[data-action="star"]', '[data-action="verify"]'];

element.addEventListener("click", (click) => {
  const dialog = element.querySelector("dialog");
  if (click.target === dialog) dialog.close(); // the backdrop
  const button = click.target.closest("[data-action]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const { action, name, ids, on } = button.dataset;
  pressed = dialog?.open ? PLACES.find((place) => button.matches(place)) : undefined;
  if (action === "reveal") button.closest(".sd-flagged").classList.add("sd-revealed");
  if (["close", "reuse", "again", "grid", "discard", "restore"].includes(action)) dialog?.close();
  if (action === "word") addWord(name);
  if (action === "copy") copy(button, button.dataset.text);
  if (action === "copy-link") copy(button, new URL(`./?recipe=${name}`, location.href).href);
  const told = { name, ids: ids ? ids.split(" ") : [], on: on !== "false" };
  if (EVENTS.includes(action)) trigger(action, told);
  if (action !== "grid") return;
  trigger("reuse", told);
  openGrid();
});

element.addEventListener("keydown", (key) => {
  const dialog = element.querySelector("dialog[open]");
  if (!dialog) return;
  const step = { ArrowLeft: ".sd-newer", ArrowRight: ".sd-older" }[key.key];
  if (step) dialog.querySelector(step).click();
});

// A finger that swipes over an opened picture goes to its neighbours.
let swiped;
element.addEventListener(
  "touchstart",
  (touch) => {
    const one = touch.touches.length === 1 && touch.target.closest(".sd-viewer-image");
    swiped = one ? touch.touches[0].clientX : undefined;
  },
  { passive: true },
);
element.addEventListener("touchend", (touch) => {
  const far = swiped === undefined ? 0 : touch.changedTouches[0].clientX - swiped;
  swiped = undefined;
  if (Math.abs(far) < 60) return;
  element.querySelector(`dialog[open] ${far > 0 ? ".sd-newer" : ".sd-older"}`)?.click();
});

// What a closed dialog showed may be asked for again: the same value would not be drawn anew.
element.addEventListener(
  "close",
  (event) => {
    if (event.target.matches("dialog.sd-viewer")) props.value = "";
  },
  true,
);

watch("value", () => {
  const dialog = element.querySelector("dialog");
  if (!dialog || dialog.open) return;
  dialog.showModal();
  if (!pressed) return;
  const places = [pressed, ".sd-newer", ".sd-older"].map((place) => dialog.querySelector(place));
  places.find((button) => button && !button.disabled)?.focus();
});
window.sdgenFill?.(element); // what is live, where this is drawn later than the page
