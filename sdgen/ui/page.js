// Runs once when the page is there: keys, dropping a picture anywhere, light and dark.
() => {
  const THEME = "sdgen.theme";
  const remembered = localStorage.getItem(THEME);
  if (remembered) document.body.classList.toggle("dark", remembered === "dark");

  document.addEventListener("click", (click) => {
    if (!click.target.closest("#theme-toggle")) return;
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem(THEME, dark ? "dark" : "light");
  });

  document.addEventListener("keydown", (key) => {
    if (key.key !== "Enter" || !(key.ctrlKey || key.metaKey)) return;
    key.preventDefault();
    document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
    document.getElementById("generate")?.click();
  });

  // A picture dropped anywhere goes to the one place that reads recipes.
  const carriesFile = (drag) => [...(drag.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  const mark = (on) => document.getElementById("columns")?.classList.toggle("sd-dropping", on);
  document.addEventListener("dragenter", (drag) => {
    if (carriesFile(drag)) mark((depth += 1) > 0);
  });
  document.addEventListener("dragleave", (drag) => {
    if (carriesFile(drag)) mark((depth = Math.max(0, depth - 1)) > 0);
  });
  document.addEventListener("dragover", (drag) => {
    if (carriesFile(drag)) drag.preventDefault();
  });
  document.addEventListener("drop", (drop) => {
    depth = 0;
    mark(false);
    if (!carriesFile(drop) || drop.target.closest("#drop")) return;
    drop.preventDefault();
    const input = document.querySelector("#drop input[type=file]");
    if (!input || drop.dataTransfer.files.length === 0) return;
    input.files = drop.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
