
// In the Gallery tab, after actions.js: what fills the form leads to it.
element.addEventListener("click", (click) => {
  const action = click.target.closest("[data-action]")?.dataset.action;
  if (!["reuse", "again", "grid"].includes(action)) return;
  [...document.querySelectorAll('#tabs button[role="tab"]')]
    .find((tab) => tab.textContent.trim() === "Generate")
    ?.click();
  if (action !== "grid") return;
  setTimeout(() => document.getElementById("grid")?.scrollIntoView({ block: "center" }), 400);
});
