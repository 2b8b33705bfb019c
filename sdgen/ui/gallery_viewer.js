
// In the Gallery tab, after actions.js: what fills the form leads to it, and the keyboard comes back
// to the picture that was seen last.
element.addEventListener("click", (click) => {
  const action = click.target.closest("[data-action]")?.dataset.action;
  if (!["reuse", "again", "grid"].includes(action)) return;
  [...document.querySelectorAll('#tabs button[role="tab"]')]
    .find((tab) => tab.textContent.trim() === "Generate")
    ?.click();
  if (action !== "grid") return;
  setTimeout(() => document.getElementById("grid")?.scrollIntoView({ block: "center" }), 400);
});

element.addEventListener(
  "close",
  (event) => {
    const { name } = event.target.dataset;
    const tile = `#gallery-pictures .sd-pic[data-id="${name}"] .sd-frame`;
    if (name) setTimeout(() => document.querySelector(tile)?.focus(), 0);
  },
  true,
);
