// Runs once in the panel of chosen adapters. The component's value is the list of what is chosen:
// [{name, scale, text_scale, put}]; the server draws the rows, and strengths are kept here.
// Gradio's names here: element, props, trigger, watch.
const EVENTS = ["dismiss", "proof"];
const chosen = () => (Array.isArray(props.value) ? props.value : []);
const opened = new Set(); // names whose facts are shown; drawing the rows again would close them
const rowOf = (part) => part.closest(".sd-adapter");

// A slider reaches as far as strengths are usual; one beyond it makes it longer, never smaller.
const show = (row, part, strength) => {
  const most = row.querySelector(`input[type="number"][data-part="${part}"]`)?.max;
  for (const input of row.querySelectorAll(`input[data-part="${part}"]`)) {
    if (input.type === "range" && Math.abs(strength) > Number(input.max)) {
      [input.min, input.max] = [`-${most}`, most];
    }
    if (input !== document.activeElement || input.type === "range") input.value = strength;
  }
};

// The rows as the value has them.
const fill = () => {
  for (const row of element.querySelectorAll(".sd-adapter")) {
    const use = chosen().find((each) => each.name === row.dataset.name);
    if (!use) continue;
    const apart = typeof use.text_scale === "number";
    show(row, "scale", use.scale);
    show(row, "text_scale", apart ? use.text_scale : use.scale);
    const box = row.querySelector('input[data-part="apart"]');
    if (box) box.checked = apart;
    row.querySelector(".sd-text-strength")?.toggleAttribute("hidden", !apart);
    const facts = row.querySelector("details");
    if (facts) facts.open = opened.has(use.name);
  }
};

const change = (name, part, value) => {
  props.value = chosen().map((use) => (use.name === name ? { ...use, [part]: value } : use));
  fill();
};

const strengthOf = (input) => {
  const strength = Number.parseFloat(input.value);
  if (!Number.isFinite(strength)) return null;
  return Math.min(Number(input.max), Math.max(Number(input.min), strength));
};

element.addEventListener("input", (event) => {
  const { part } = event.target.dataset;
  if (part !== "scale" && part !== "text_scale") return;
  const strength = strengthOf(event.target);
  if (strength !== null) show(rowOf(event.target), part, strength);
});

element.addEventListener("change", (event) => {
  const { part } = event.target.dataset;
  const row = rowOf(event.target);
  if (!part || !row) return;
  const use = chosen().find((each) => each.name === row.dataset.name);
  if (!use) return;
  if (part === "apart") {
    change(use.name, "text_scale", event.target.checked ? use.scale : null);
    return;
  }
  const strength = strengthOf(event.target);
  if (strength !== null) change(use.name, part, strength);
  event.target.value = strength ?? use[part] ?? use.scale;
});

element.addEventListener(
  "toggle",
  (event) => {
    const name = rowOf(event.target)?.dataset.name;
    if (event.target.open) opened.add(name);
    else opened.delete(name);
  },
  true,
);

// Trigger words go into the prompt, and out of it, as it is in this moment: what somebody types
// meanwhile is not lost on a way to the server and back. As sdgen/ui/triggers.py does it.
const patternOf = (trigger) => {
  const words = trigger.trim().split(/\s+/);
  const plain = words.map((word) => word.replace(/[\^$.*+?()[\]{}|/\\]/g, "\\$&")).join("\\s+");
  const sign = "[\\p{L}\\p{M}\\p{N}_\\u200c\\u200d]";
  return new RegExp(`(?<!${sign})${plain}(?!${sign})`, "iu");
};

const takenOut = (prompt, found) => {
  const before = prompt.slice(0, found.index);
  const after = prompt.slice(found.index + found[0].length);
  if (!before.trim()) return after.replace(/^\s*,?\s*/, "");
  if (!after.trim()) return before.replace(/\s*,?\s*$/, "");
  if (/,\s*$/.test(before) && /^\s*,/.test(after)) return before.replace(/\s*,\s*$/, "") + after;
  return /\s$/.test(before) ? `${before.trimEnd()} ${after.trimStart()}` : before + after;
};

const chip = (button) => {
  const { word } = button.dataset;
  const box = document.querySelector("#prompt textarea");
  const found = patternOf(word).exec(box.value);
  if (found) box.value = takenOut(box.value, found);
  else box.value = box.value.trim() ? `${word.trim()}, ${box.value}` : word.trim();
  box.dispatchEvent(new Event("input", { bubbles: true }));
  button.setAttribute("aria-pressed", String(!found));
  const { name } = rowOf(button).dataset;
  const put = chosen().find((use) => use.name === name)?.put ?? [];
  const rest = put.filter((each) => each !== word);
  change(name, "put", found ? rest : [...rest, word]);
};

element.addEventListener("click", (click) => {
  const button = click.target.closest("[data-action]");
  if (button?.dataset.action === "chip") chip(button);
  if (!button || !EVENTS.includes(button.dataset.action)) return;
  const name = rowOf(button)?.dataset.name ?? "";
  trigger(button.dataset.action, { name, word: button.dataset.word ?? "" });
});

watch(["value", "rows"], fill);
fill();
