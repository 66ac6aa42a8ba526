"""Check what the extension modules of wheels link (`check_wheel.py WHEEL...`).

A wheel is for one version of CPython, so it may use more than the limited API; but only what that version
exports, only the private names below, and no shared library beyond the C library's. Linux only.
"""

import io
import sys
import sysconfig
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile

LIBRARIES = ("libc.", "libm.", "ld-linux", "libpthread.")
SEARCHED = ("DT_RPATH", "DT_RUNPATH")
# Some interpreters give their extension modules a search path to their own directory, which is empty.
OF_THE_INTERPRETER = sysconfig.get_config_var("LIBDIR")
# Macros of Python.h stand for these, and CPython exports them to every extension module.
OF_THE_HEADERS = {
    "_PyObject_GC_New",
    "_PyObject_MakeTpCall",
    "_PyThreadState_UncheckedGet",
    "_PyTrash_begin",
    "_PyTrash_cond",
    "_PyTrash_end",
    "_PyTrash_thread_deposit_object",
    "_PyTrash_thread_destroy_chain",
    "_PyUnicode_IsWhitespace",
    "_PyUnicode_Ready",
    "_Py_CheckFunctionResult",
    "_Py_Dealloc",
    "_Py_FalseStruct",
    "_Py_NoneStruct",
    "_Py_NotImplementedStruct",
    "_Py_TrueStruct",
    "_Py_ascii_whitespace",
}
# Cython uses these, in the versions of CPython that have them.
OF_CYTHON = {
    "_PyByteArray_empty_string",
    "_PyDict_GetItem_KnownHash",
    "_PyDict_NewPresized",
    "_PyDict_Pop",
    "_PyDict_Pop_KnownHash",
    "_PyFloat_FormatAdvancedWriter",
    "_PyList_Extend",
    "_PyLong_FormatAdvancedWriter",
    "_PyObject_ClearManagedDict",
    "_PyObject_GenericGetAttrWithDict",
    "_PyObject_GetDictPtr",
    "_PyObject_VisitManagedDict",
    "_PyUnicodeWriter_Dealloc",
    "_PyUnicodeWriter_Finish",
    "_PyUnicodeWriter_Init",
    "_PyUnicode_FastCopyCharacters",
}
# Finds a class's attribute without calling __get__ of a descriptor, for which there is no public function.
OURS = {"_PyType_Lookup"}
PRIVATE = OF_THE_HEADERS | OF_CYTHON | OURS


def complaints(name: str, content: bytes) -> list[str]:
    """Return what is wrong with one extension module."""
    file = ELFFile(io.BytesIO(content))
    tags = list(file.get_section_by_name(".dynamic").iter_tags())
    needed = [tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"]
    searched = [getattr(tag, tag.entry.d_tag[3:].lower()) for tag in tags if tag.entry.d_tag in SEARCHED]
    symbols = list(file.get_section_by_name(".dynsym").iter_symbols())
    undefined = {symbol.name for symbol in symbols if symbol.entry.st_shndx == "SHN_UNDEF"}
    exported = {symbol.name for symbol in symbols if symbol.entry.st_shndx != "SHN_UNDEF"}
    private = {symbol for symbol in undefined if symbol.startswith("_Py")} - PRIVATE
    start = "PyInit_" + name.split("/")[-1].split(".")[0]
    found = [f"needs the library {library}" for library in needed if not library.startswith(LIBRARIES)]
    found += [f"looks for libraries in {path}" for path in searched if path != OF_THE_INTERPRETER]
    found += [f"uses {symbol}, which is private to CPython" for symbol in sorted(private)]
    found += [f"exports {symbol}" for symbol in sorted(exported - {start, "_init", "_fini"})]
    if file.get_section_by_name(".debug_info"):
        found.append("holds debugging information")
    return [f"{name} {complaint}" for complaint in found]


def main() -> int:
    """Print what is found, and return whether anything was wrong."""
    wrong = []
    for path in map(Path, sys.argv[1:]):
        with zipfile.ZipFile(path) as wheel:
            modules = [name for name in wheel.namelist() if name.endswith(".so")]
            wrong += [complaint for name in modules for complaint in complaints(name, wheel.read(name))]
        print(f"{path.name}: {path.stat().st_size:,} bytes, {len(modules)} extension modules")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
