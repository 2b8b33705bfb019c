// Runs once in each HTML component of the Train tab: presses and edits become its events.
// Gradio's names here: element, trigger.
const EVENTS = ["open", "caption"];

element.addEventListener("click", (click) => {
  const button = click.target.closest("[data-action]");
  if (!button) return;
  const { action, name, words } = button.dataset;
  if (action === "use") useInGenerate(words);
  else if (EVENTS.includes(action)) trigger(action, { name });
});

element.addEventListener("change", (change) => {
  const box = change.target.closest("[data-caption]");
  if (box) trigger("caption", { name: box.dataset.caption, text: box.value });
});

// The adapter's trigger and tag, in the prompt of the Generate tab.
function useInGenerate(words) {
  const tabs = [...document.querySelectorAll('button[role="tab"]')];
  tabs.find((tab) => tab.textContent.trim() === "Generate")?.click();
  const put = (triesLeft) => {
    const box = document.querySelector("#prompt textarea");
    if (!box) return triesLeft && setTimeout(put, 100, triesLeft - 1);
    if (!box.value.includes(words)) box.value = `${box.value.trim()} ${words}`.trim();
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
  };
  put(30);
}
