"""The commands of setuptools that build the package: what is generated goes where the build is.

A build in place, which editable installs are, generates files and modules beside the sources. Any other build
copies the sources into the folder of the build, and leaves the checkout as it is.
"""

import json
import multiprocessing
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from needs import is_writable, require_compiler, require_known_python
from render import render_all
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {".pyx", ".pxd", ".pxi", ".h", ".py"}
# Generated files of these kinds are for Cython only, and not part of a wheel.
ONLY_COMPILED = {".pxd", ".pxi"}
# With FASTGRAD_QUICK a build takes some 60 % of the time, and gives the same bits.
QUICK = ["/Od" if sys.platform == "win32" else "-O1"]


def copy_if_changed(source: Path, target: Path) -> None:
    """Copy a file unless its copy is the same: that keeps its date, and is not compiled again."""
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


class BuildModules(build_ext):
    """Generate, translate and compile; compile everything if the last build had other flags."""

    def finalize_options(self) -> None:
        """Name the folders of a build in place, so that the next one and editable installs find its files."""
        super().finalize_options()
        # Only in place, so that no wheel is built like this; a build that counts lines has its own flags.
        in_place = self.inplace or self.editable_mode
        wanted = os.environ.get("FASTGRAD_QUICK") and not os.environ.get("FASTGRAD_COVERAGE")
        self.quick = bool(in_place and wanted)
        if in_place:
            system = f"{self.plat_name}-{sys.implementation.cache_tag}{'-quick' * self.quick}"
            self.build_temp = str(Path("build", f"temp.{system}"))
            self.build_lib = str(Path("build", f"lib.{system}"))

    def run(self) -> None:
        """Build all modules, and record the flags."""
        require_known_python()
        require_compiler()
        in_place = self.inplace or self.editable_mode
        tree = Path() if in_place else Path(self.get_finalized_command("build").build_base, "tree")
        package = tree / "src" / "fastgrad"
        if in_place and not is_writable(ROOT / package):
            sys.exit(
                f"fastgrad cannot be built in place, as {str(ROOT / package)!r} cannot be written; without "
                "--inplace and --editable it is built elsewhere."
            )
        if not in_place:
            for file in (ROOT / "src" / "fastgrad").rglob("*"):
                if file.suffix in SOURCES:
                    copy_if_changed(file, package / file.relative_to(ROOT / "src" / "fastgrad"))
        if self.quick:
            for module in self.extensions:
                module.extra_compile_args = [*module.extra_compile_args, *QUICK]
                module.define_macros = [*module.define_macros, ("FASTGRAD_QUICK", "1")]
        self.remove_former_modules(Path(self.build_lib))
        if in_place:
            self.remove_former_modules(package.parent)
        generated = render_all(ROOT / package)
        self.translate(tree)

        flags = [
            [module.define_macros, module.extra_compile_args, module.extra_link_args]
            for module in self.extensions
        ]
        flags.append([os.environ.get(name) for name in ("CC", "CFLAGS", "LDFLAGS")])
        record = Path(self.build_temp) / "flags.json"
        if not record.exists() or record.read_text() != json.dumps(flags):
            self.force = True
        # Until all are built, the modules may have different flags.
        record.unlink(missing_ok=True)
        super().run()
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(flags))
        if not in_place:
            for file in generated:
                if file.suffix not in ONLY_COMPILED:
                    copy_if_changed(file, Path(self.build_lib, "fastgrad", file.relative_to(ROOT / package)))

    def remove_former_modules(self, folder: Path) -> None:
        """Remove what an earlier build made and this does not: Python imports it before a .py of its name."""
        current = {folder / self.get_ext_filename(module.name) for module in self.extensions}
        for module in folder.glob(f"fastgrad/**/*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            if module not in current:
                module.unlink()

    def translate(self, tree: Path) -> None:
        """Have Cython write the C of every module, in as many processes as there are compilers later."""
        from Cython.Build import cythonize

        for module in self.extensions:
            module.sources = [str(tree / source) for source in module.sources]
            module.depends = [str(tree / file) for file in module.depends]
        # Importing these modules leaves the global interpreter lock off: docs/threads.md.
        options = {"compiler_directives": {"freethreading_compatible": True}}
        if sys.platform == "linux":
            # Other ways to start a process run setup.py in it.
            multiprocessing.set_start_method("fork", force=True)
            options["nthreads"] = self.parallel
        translated = cythonize(self.extensions, include_path=[str(tree / "src")], **options)
        for module, made in zip(self.extensions, translated, strict=True):
            module.sources, module.depends = made.sources, made.depends


class BuildPython(build_py):
    """Build the Python modules, and put the examples into the package: `python -m fastgrad examples`."""

    def run(self) -> None:
        """Copy the files."""
        super().run()
        if not self.editable_mode:
            for file in sorted((ROOT / "examples").iterdir()):
                target = Path(self.build_lib, "fastgrad", "examples", file.name)
                if file.suffix == ".py":
                    copy_if_changed(file, target)
                elif file.suffix == ".ipynb":
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(without_outputs(file.read_text("utf-8")), "utf-8")


def without_outputs(notebook: str) -> str:
    """Return a notebook without its outputs, whose pictures are larger than the rest of a wheel."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
