// Runs once when the page is there: what is live, the open tab, keys, dropping a picture anywhere,
// light and dark.
() => {
  const live = document.createElement("script");
  live.src = "sdgen/live.js"; // a file of its own, as a SharedWorker has to be one
  document.head.append(live);

  // The open tab is part of the address: a reload stays there, and a link can name it. Generate is
  // the plain address.
  const TAB = '#tabs button[role="tab"]';
  const nameOf = (tab) => tab.textContent.trim().toLowerCase();
  document.addEventListener("click", (click) => {
    const tab = click.target.closest(TAB);
    if (!tab) return;
    const { pathname, search } = location;
    const first = tab === document.querySelector(TAB);
    history.replaceState(history.state, "", pathname + search + (first ? "" : `#tab=${nameOf(tab)}`));
  });
  const asked = location.hash.startsWith("#tab=") && location.hash.slice("#tab=".length);
  if (asked) [...document.querySelectorAll(TAB)].find((tab) => nameOf(tab) === asked)?.click();

  const isShown = (element) => element !== null && element.getClientRects().length > 0;
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
    const generate = document.getElementById("generate");
    if (!isShown(generate)) return; // another tab
    key.preventDefault();
    document.activeElement?.dispatchEvent(new Event("change", { bubbles: true }));
    generate.click();
  });

  // A picture dropped anywhere goes to the one place that reads recipes, an adapter to its own.
  // Places that take files themselves are left alone, and so are other tabs.
  const takesFiles = (target) => target.closest(".block")?.querySelector("input[type=file]");
  const placeOf = (file) => (file.name.endsWith(".safetensors") ? "#adapter-file" : "#drop");
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
    if (!carriesFile(drop) || takesFiles(drop.target)) return;
    drop.preventDefault();
    const [file] = drop.dataTransfer.files;
    if (!file || !isShown(document.getElementById("columns"))) return;
    const input =
      document.querySelector(`${placeOf(file)} input[type=file]`) ??
      document.querySelector("#drop input[type=file]");
    if (!input) return;
    input.files = drop.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
