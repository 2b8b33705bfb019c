// Runs once in each HTML component that holds buttons: a click becomes an event of the component.
// Gradio's names here: element, trigger, watch.
const EVENTS = ["open", "reuse", "again", "verify", "pick", "word"];

element.addEventListener("click", (click) => {
  const dialog = element.querySelector("dialog");
  if (click.target === dialog) dialog.close(); // the backdrop
  const button = click.target.closest("[data-action]");
  if (!button) return;
  const action = button.dataset.action;
  if (action === "reveal") button.closest(".sd-flagged").classList.add("sd-revealed");
  if (action === "close") dialog.close();
  if (action === "reuse" || action === "again") dialog.close();
  if (EVENTS.includes(action)) trigger(action, { name: button.dataset.name });
});

element.addEventListener("keydown", (key) => {
  const dialog = element.querySelector("dialog[open]");
  if (!dialog) return;
  const step = { ArrowLeft: ".sd-newer", ArrowRight: ".sd-older" }[key.key];
  if (step) dialog.querySelector(step).click();
});

watch("value", () => {
  const dialog = element.querySelector("dialog");
  if (dialog && !dialog.open) dialog.showModal();
  const stage = element.querySelector(".sd-stage");
  const idle = stage && stage.getAttribute("aria-busy") !== "true";
  if (idle && document.activeElement?.id === "stop") document.getElementById("generate").focus();
});
