// Run the tests in Pyodide, with the wheels of a folder: what `ports.sh pyodide` calls.
//
//     node pyodide.mjs CHECKOUT WHEELS [what pytest is given]
//
// Threads and processes are not there, nor numpy unless WHEELS has one built for Pyodide: tests of these are left
// out.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { loadPyodide } from "pyodide";

const [checkout, wheels, ...options] = process.argv.slice(2);
// Node would print the whole of Pyodide, which is one line, with an error.
process.on("uncaughtException", (error) => {
  console.log(String(error).slice(0, 3000));
  process.exit(9);
});

function copy(from, to) {
  python.FS.mkdirTree(to);
  for (const name of readdirSync(from)) {
    const path = `${from}/${name}`;
    if (statSync(path).isDirectory()) copy(path, `${to}/${name}`);
    else python.FS.writeFile(`${to}/${name}`, readFileSync(path));
  }
}

const python = await loadPyodide();
for (const name of ["docs", "examples", "tests"]) copy(`${checkout}/${name}`, `/checkout/${name}`);
for (const name of ["pyproject.toml", "README.md"]) {
  python.FS.writeFile(`/checkout/${name}`, readFileSync(`${checkout}/${name}`));
}
copy(wheels, "/wheels");
python.globals.set("options", python.toPy(options));
process.exitCode = python.runPython(`
import importlib.util, os, pathlib, sys, zipfile

for wheel in pathlib.Path("/wheels").glob("*.whl"):
    zipfile.ZipFile(wheel).extractall("/package")
sys.path.insert(0, "/package")
os.chdir("/checkout")

import pytest

HAS_NUMPY = importlib.util.find_spec("numpy") is not None
# They need threads or processes; without numpy, also what is compared with it and shown with it.
LEFT_OUT = ["test_faults.py"]
if not HAS_NUMPY:
    LEFT_OUT += [
        "test_fuzz.py", "README.md", "compile.md", "derivatives.md", "differences.md",
        "test_for_a_compiled_loss_it_is_said_what_to_do",
    ]


class LeaveOut:
    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        report = yield
        if report.failed and not HAS_NUMPY and "No module named 'numpy'" in str(report.longrepr):
            report.outcome, report.longrepr = "skipped", (str(collector.path), 1, "Skipped: it needs numpy")
        return report

    def pytest_collection_modifyitems(self, config, items):
        left_out = [item for item in items if any(name in item.nodeid for name in LEFT_OUT)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


int(pytest.main(
    ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-m", "not processes and not distribution", *options],
    plugins=[LeaveOut()],
))
`);
