// Python, in a thread of its own: loads it, runs the page's programs and sends what they print and show.

// The most characters that a program may print: an endless loop would fill the page's memory.
const MOST = 1e6;
let left = MOST;
let python = null;
const send = (...message) => self.postMessage(message);

function printer(stream) {
  const decoder = new TextDecoder();
  return {
    write(bytes) {
      const text = decoder.decode(bytes, { stream: true });
      if (left > 0) send("print", left > text.length ? stream : "stderr", left > text.length ? text : "\nNo more is shown.\n");
      left -= text.length;
      return bytes.length;
    },
    // Every line is seen as soon as it is printed.
    isatty: true,
  };
}

async function load({ pyodide, packages }) {
  const { loadPyodide } = await import(`${pyodide}pyodide.mjs`);
  python = await loadPyodide({ indexURL: pyodide, env: { HOME: "/home/pyodide", NO_COLOR: "1" } });
  python.setStdout(printer("stdout"));
  python.setStderr(printer("stderr"));
  const wheels = packages.filter((name) => name.endsWith(".whl"));
  const names = packages.filter((name) => !name.endsWith(".whl"));
  const quiet = { messageCallback() {}, errorCallback: (text) => send("print", "stderr", `${text}\n`) };
  await python.loadPackage(wheels, quiet);
  if (names.length) {
    await python.loadPackage("micropip", quiet);
    await python.pyimport("micropip").install(names);
  }
  python.registerJsModule("page", { show: (mime, content, place) => send("show", mime, content, place) });
  python.FS.writeFile("/home/pyodide/notebook.py", await (await fetch("notebook.py")).text());
  await python.pyimport("notebook").prepare();
  send("ready");
}

async function run(program) {
  const start = performance.now();
  left = MOST;
  // Packages that Pyodide provides: numpy, matplotlib and many more.
  await python.loadPackagesFromImports(program, { messageCallback() {} }).catch(() => {});
  await python.pyimport("notebook").run(program);
  send("finished", (performance.now() - start) / 1000);
}

self.onmessage = async ({ data: { sources, program } }) => {
  try {
    await (sources ? load(sources) : run(program));
  } catch (error) {
    send(sources ? "failed" : "died", String(error));
  }
};
