// What is live on the page: the server's stream of HTML, put where it belongs.
//
// One SharedWorker follows the stream for all tabs of a browser, because HTTP/1.1 allows six
// connections to a server and every tab holds one of Gradio's already. Where there is no
// SharedWorker, each page follows by itself. A message is {run}, {parts} or {lost}.
(() => {
  const SILENCE = 15_000; // milliseconds; the server says something every five seconds
  const LOOK = 3_000; // milliseconds between two looks at how long it has been silent
  const LONGEST = 15_000; // milliseconds between two tries

  // Follow the stream for good; gives what begins it anew.
  const follow = (address, tell) => {
    let source, heard, waiting;
    let tries = 0;
    const open = () => {
      clearTimeout(waiting);
      waiting = undefined;
      source?.close();
      heard = Date.now();
      source = new EventSource(address);
      source.onmessage = (message) => {
        heard = Date.now();
        tries = 0;
        tell(JSON.parse(message.data));
      };
      source.onerror = () => {
        tell({ lost: true });
        if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
        tries += 1; // an answer that is no stream
        waiting ??= setTimeout(open, Math.min(LONGEST, 500 * 2 ** tries));
      };
    };
    setInterval(() => {
      if (waiting === undefined && Date.now() - heard > SILENCE) open(); // a phone that slept
    }, LOOK);
    open();
    return open;
  };

  if ("SharedWorkerGlobalScope" in self) {
    const pages = new Set();
    const tell = (message) => pages.forEach((page) => page.postMessage(message));
    let open;
    self.onconnect = ({ ports: [page] }) => {
      page.onmessage = ({ data }) => {
        if (data === "left") pages.delete(page);
        if (data !== "came") return;
        pages.add(page);
        // Anew for each page: so it hears all there is, and as whom its cookie says.
        if (open) open();
        else open = follow(new URL("live", self.location.href), tell);
      };
    };
    return;
  }

  // --- the page

  const LOST =
    '<div class="sd-notice" role="status"><p>The connection is lost. Your queue goes on by ' +
    "itself, and this page finds it again.</p></div>";
  const PATIENCE = 3_000; // milliseconds without a connection before it is said
  const newest = {}; // part -> HTML
  let run, losing;

  // Make an element like another one, keeping what is the same: focus, loaded pictures, and what
  // a screen reader has spoken. Children with a data-key are known by it, others by their place.
  const become = (have, want) => {
    if (have.nodeType !== Node.ELEMENT_NODE) {
      if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      return;
    }
    if (have.classList.contains("sd-revealed")) want.classList.add("sd-revealed");
    for (const { name, value } of want.attributes) {
      if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    }
    for (const { name } of [...have.attributes]) {
      if (!want.hasAttribute(name)) have.removeAttribute(name);
    }
    becomeInside(have, want);
  };

  const becomeInside = (have, want) => {
    const keyed = new Map([...have.children].map((child) => [child.dataset.key, child]));
    let at = have.firstChild;
    for (const wanted of [...want.childNodes]) {
      const key = wanted.dataset?.key;
      const old = key ? keyed.get(key) : at?.dataset?.key ? null : at;
      if (old?.nodeName !== wanted.nodeName) {
        have.insertBefore(wanted, at);
        continue;
      }
      if (old === at) at = at.nextSibling;
      else have.insertBefore(old, at);
      become(old, wanted);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  // The focus stays on what had it; where that is gone, on what stands there now.
  const put = (place, html) => {
    const focus = document.activeElement;
    const at = [...place.querySelectorAll("button")].indexOf(focus);
    const wanted = document.createElement("template");
    wanted.innerHTML = html;
    becomeInside(place, wanted.content);
    if (at >= 0 && document.activeElement !== focus) {
      const buttons = place.querySelectorAll("button");
      const next = focus.isConnected ? focus : buttons[Math.min(at, buttons.length - 1)];
      (next ?? document.getElementById("generate"))?.focus({ preventScroll: true });
    }
    const idle = !document.querySelector('.sd-stage[aria-busy="true"]');
    if (idle && focus?.id === "stop") document.getElementById("generate")?.focus();
  };

  const shown = new WeakMap(); // place -> the HTML that it shows
  const fill = (root) => {
    for (const place of root.querySelectorAll("[data-live]")) {
      const html = newest[place.dataset.live];
      if (html === undefined || shown.get(place) === html) continue;
      put(place, html);
      shown.set(place, html);
    }
  };

  const say = (parts) => {
    Object.assign(newest, parts);
    fill(document);
  };

  const hear = (message) => {
    if (message.lost) {
      losing ??= setTimeout(() => say({ lost: LOST }), PATIENCE);
      return;
    }
    clearTimeout(losing);
    losing = undefined;
    if (newest.lost) say({ lost: "" });
    if (message.run) {
      if (run !== undefined && run !== message.run) window.location.reload(); // another server
      run = message.run;
    }
    if (message.parts) say(message.parts);
  };

  window.sdgenFill = fill; // for parts of the page that are drawn later
  const script = document.currentScript.src;
  const alone = () => follow(new URL("live", script), hear);
  if (!("SharedWorker" in window)) {
    alone();
    return;
  }
  const worker = new SharedWorker(script, { name: "sdgen" });
  worker.onerror = alone;
  worker.port.onmessage = ({ data }) => hear(data);
  const come = () => worker.port.postMessage("came");
  window.addEventListener("pagehide", () => worker.port.postMessage("left"));
  window.addEventListener("pageshow", (shown) => shown.persisted && come());
  come();
})();
