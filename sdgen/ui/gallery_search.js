// Runs once in the search of the Gallery tab. The component's value is what is looked for:
// {words, model, adapter, since, until, only, page, zone}; the server draws the form.
// Gradio's names here: element, props, watch.
const PAUSE = 300; // milliseconds after the last key
const ANYTHING = { words: "", model: "", adapter: "", since: "", until: "", only: "all", page: 0 };
const MORE = ["model", "adapter", "since", "until"];
const KEPT = "sdgen-gallery"; // in this tab of the browser, so that a reload loses nothing
const zone = () => -new Date().getTimezoneOffset();
const now = () => ({ ...ANYTHING, ...props.value });
const fields = () => [...(element.querySelector("form")?.elements ?? [])].filter((it) => it.name);
let typing;
let open = false; // the further filters, where the window is narrow

// The space after a word is not looked for, and yet it has to stay for the next one.
const isBeingWritten = (field, value) =>
  field === document.activeElement && (typing || field.value.trim() === value);

// The form as the value has it; what is being written stays.
const fill = () => {
  const looked = now();
  for (const field of fields()) {
    if (field.type === "radio") field.checked = field.value === looked[field.name];
    else if (!isBeingWritten(field, looked[field.name])) field.value = looked[field.name] ?? "";
  }
  const set = MORE.filter((name) => looked[name]).length;
  element.querySelector(".sd-find")?.classList.toggle("sd-open", open);
  const button = element.querySelector('[data-action="filters"]');
  button?.setAttribute("aria-expanded", String(open));
  if (button) button.lastElementChild.textContent = set ? `Filters · ${set}` : "Filters";
  const clear = element.querySelector('[data-action="clear"]');
  if (clear) clear.hidden = !set && !looked.words;
};

const look = (changes) => {
  clearTimeout(typing);
  typing = undefined;
  const next = { ...now(), page: 0, zone: zone(), ...changes };
  if (JSON.stringify(next) !== JSON.stringify(props.value)) props.value = next;
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(next));
  } catch {} // this browser keeps nothing
  fill();
};

const kept = () => {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
    return Object.fromEntries(Object.keys(ANYTHING).map((name) => [name, found[name] ?? ANYTHING[name]]));
  } catch {
    return {};
  }
};

const read = () =>
  Object.fromEntries(
    fields()
      .filter((field) => field.type !== "radio" || field.checked)
      .map((field) => [field.name, field.value.trim()]),
  );

element.addEventListener("input", (event) => {
  if (event.target.type !== "search") return;
  clearTimeout(typing);
  typing = setTimeout(() => look(read()), PAUSE);
});
element.addEventListener("change", (event) => {
  if (event.target.name) look(read());
});
element.addEventListener("submit", (event) => {
  event.preventDefault();
  look(read());
});
element.addEventListener("click", (click) => {
  const action = click.target.closest("[data-action]")?.dataset.action;
  if (action === "filters") {
    open = !open;
    fill();
  }
  if (action === "clear") look({ ...ANYTHING, only: now().only });
});
// From the pictures: another page, or all pictures again.
element.addEventListener("sd-look", (event) => look(event.detail));

watch(["value", "form"], fill);
fill();
if (now().zone === undefined) setTimeout(() => look(kept()), 0); // the first page
