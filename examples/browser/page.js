// The editor and the output. Python runs in a worker, so that a program without an end can be stopped.
const byId = (id) => document.getElementById(id);
const editor = byId("editor"), output = byId("output");
const PROGRAMS = { expression: "An expression", neuron: "A neuron", moons: "Two moons, live", speed: "Beside micrograd" };

let worker = null;

function say(state, text) {
  document.documentElement.dataset.state = state;
  byId("state").textContent = text;
  byId("run").disabled = state !== "ready";
  byId("stop").disabled = state !== "running";
}

// Output.

// The lines printed since the browser last drew: drawing one at a time, a loop's output takes minutes.
let printed = [];

function print(stream, text) {
  if (!printed.length) requestAnimationFrame(flush);
  if (printed.at(-1)?.stream === stream) printed.at(-1).text += text;
  else printed.push({ stream, text });
}

function flush() {
  for (const { stream, text } of printed) {
    let last = output.lastElementChild;
    if (last?.className !== stream) {
      last = output.appendChild(document.createElement("pre"));
      last.className = stream;
    }
    last.append(text);
  }
  printed = [];
  output.scrollTop = output.scrollHeight;
}

// What a notebook shows. If the place was named before, its content is replaced.
function show(mime, content, place) {
  flush();
  let element = output.querySelector(`[data-place="${place}"]`);
  if (!element) {
    element = output.appendChild(document.createElement("div"));
    element.className = "shown";
    element.dataset.place = place;
  }
  if (mime === "text/plain") element.replaceChildren(Object.assign(document.createElement("pre"), { textContent: content }));
  else element.innerHTML = content;
  output.scrollTop = output.scrollHeight;
}

// Python.

const RECEIVERS = {
  ready: () => say("ready", "Ready."),
  failed: (text) => {
    print("stderr", text);
    flush();
    say("failed", "Python could not be loaded.");
  },
  // Errors that end Python itself, such as too deep a recursion.
  died: (text) => end(`${text}\nPython is loaded anew.\n`),
  print,
  show,
  finished: (seconds) => {
    flush();
    say("ready", `Finished after ${seconds.toFixed(1)} s.`);
  },
};

async function start() {
  say("loading", "Python is loading.");
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data: [name, ...values] }) => RECEIVERS[name](...values);
  worker.onerror = (event) => RECEIVERS.failed(event.message);
  worker.postMessage({ sources: new URLSearchParams(location.search).has("local") ? await localSources() : SOURCES });
}

// `python -m http.server` lists what is in a folder.
async function localSources() {
  const listing = await (await fetch("local/")).text();
  const wheels = [...listing.matchAll(/href="([^"]+\.whl)"/g)].map((found) => new URL(`local/${found[1]}`, location).href);
  return { pyodide: new URL("local/pyodide/", location).href, packages: wheels };
}

function run() {
  if (document.documentElement.dataset.state !== "ready") return;
  flush();
  output.replaceChildren();
  say("running", "Running.");
  worker.postMessage({ program: editor.value });
}

// Only ending the worker ends a loop: an interrupt needs shared memory, which servers must allow.
function end(text) {
  worker.terminate();
  print("stderr", text);
  start();
}

function stop() {
  if (document.documentElement.dataset.state === "running") end("Stopped. Python is loaded anew.\n");
}

// The editor.

async function choose(name) {
  editor.value = await (await fetch(`programs/${name}.py`)).text();
  editor.setSelectionRange(0, 0);
  editor.scrollTop = 0;
}

// The browser's own way to type, so that what was typed can be undone.
const type = (text) => document.execCommand("insertText", false, text);

let tabLeaves = false;
editor.addEventListener("keydown", (event) => {
  if (event.key === "Tab" && !event.shiftKey && !tabLeaves) {
    event.preventDefault();
    type("    ");
  } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const line = editor.value.slice(0, editor.selectionStart).split("\n").pop();
    type("\n" + line.match(/^ */)[0] + (line.trimEnd().endsWith(":") ? "    " : ""));
  }
  tabLeaves = event.key === "Escape";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  if (event.key === "Escape") stop();
});

byId("run").onclick = run;
byId("stop").onclick = stop;
byId("program").append(...Object.entries(PROGRAMS).map(([name, title]) => new Option(title, name)));
byId("program").onchange = () => choose(byId("program").value);
choose(byId("program").value);
start();
