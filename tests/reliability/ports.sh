#!/usr/bin/env bash
# Build the package for an architecture or a CPython that this machine does not have, and run the suite there.
#
#     ports.sh arm64 | s390x          Debian forky's Python, emulated by qemu (about 10 times slower)
#     ports.sh i386                   Debian trixie's Python, natively on a processor of 64 bits
#     ports.sh 3.14 | 3.15            Debian forky's python3.14 or python3.15
#     ports.sh pyodide                the npm package in Node, by Debian forky's Emscripten; without numpy
#     ports.sh free-threaded          python3.14t: the one on the PATH, or built from SOURCE, a file of Debian's
#     ports.sh thread-sanitizer       the tests of threads, CPython and the package both compiled with it
#
# What follows the name is given to pytest. Runs as root on Debian, with debootstrap, and for another
# architecture with qemu-user-static, binfmt_misc and Debian's cross compiler, for an emulated one takes too
# long; roots are kept in PORTS (/var/tmp/fastgrad-ports).
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
ports=${PORTS:-/var/tmp/fastgrad-ports}
# Where this system's own packages come from.
mirror=$(apt-get indextargets --format '$(SITE)' | grep -v security | head -n 1)
# A free-threaded CPython is compiled from this.
source=${SOURCE:-python3.14_3.14.7.orig.tar.xz}
free_threaded=${source%%_*}t
port=$1
shift
needed="pytest hypothesis micrograd mpmath numpy"
# What the tests need of Python alone, tested where numpy is Debian's or is none; the last hypothesis without a
# module in Rust.
pure="pytest pluggy iniconfig packaging pygments hypothesis<6.150 sortedcontainers micrograd mpmath tqdm graphviz"
mkdir -p "$ports"

# Copy the checkout, without what builds left in it, to a directory.
copy_checkout() {
    rm -rf "$1"
    mkdir -p "$1"
    git -C "$top" ls-files -z --cached --others --exclude-standard \
        | (cd "$top" && xargs -0 ls -d 2>/dev/null) | tar -C "$top" -c -T - | tar -C "$1" -x
    # The tests are of the installed package.
    rm -rf "$1.tests"
    mkdir "$1.tests"
    cp -r "$1"/{README.md,docs,examples,pyproject.toml,tests} "$1.tests"
}

# Make Debian's root for a suite and an architecture, with the packages of some Pythons, unless it is there.
make_root() {
    local root=$ports/$1 suite=$2 architecture=$3 script=/usr/share/debootstrap/scripts/$2 packages python
    shift 3
    packages=gcc,libc6-dev,ca-certificates,python3-numpy
    for python; do
        packages=$packages,$python-dev,$python-venv
    done
    if [ ! -e "$root/usr/bin/$python-config" ]; then
        [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
        debootstrap --variant=minbase --arch="$architecture" --include="$packages" \
            "$suite" "$root" $mirror "$script"
    fi
    # The host's certificates and settings of pip, so that it finds what the host's pip finds.
    cp /etc/resolv.conf "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
    mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
    mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
}

# Have the kernel run an architecture's programs by qemu.
emulate() {
    local directory=/proc/sys/fs/binfmt_misc
    [ -e $directory/register ] || mount -t binfmt_misc binfmt_misc $directory
    [ -e "$directory/qemu-$1" ] || cat "/usr/lib/binfmt.d/qemu-$1.conf" >$directory/register
}

# Compile and test with a Python of a root, in an environment of its own.
test_in_root() {
    local root=$ports/$1 python=$2 environment=/environment-$2
    shift 2
    copy_checkout "$root/checkout"
    # numpy of Debian's where there is no wheel.
    [ -e "$root$environment" ] || chroot "$root" "$python" -m venv --system-site-packages $environment
    chroot "$root" sh -c "
        set -e
        CC=gcc nice $environment/bin/pip install --quiet --only-binary numpy $needed /checkout
        cd /checkout.tests
        nice $environment/bin/python -m pytest -q -p no:cacheprovider -m 'not distribution' $*"
}

# Compile with Debian's cross compiler, and run the suite by qemu with the root's Python and numpy. What else the
# tests need is installed from here, as pip takes minutes there.
test_emulated() {
    local architecture=$1 machine=$2 root=$ports/$1 headers=$ports/headers-$1 module tag
    shift 2
    emulate "$machine"
    make_root "$architecture" forky "$architecture" python3
    copy_checkout "$root/checkout"
    python3 -m pip install --quiet --upgrade --target "$root/site" --no-deps --only-binary :all: --platform any $pure
    tag=$(chroot "$root" python3 -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
    rm -rf "$headers"
    mkdir -p "$headers/$machine-linux-gnu"
    cp -r "$root"/usr/include/python3.* "$headers"
    cp -r "$root/usr/include/$machine-linux-gnu"/python3.* "$headers/$machine-linux-gnu"
    [ -e "$ports/host" ] || python3 -m venv "$ports/host"
    "$ports/host/bin/pip" install --quiet 'cython>=3.3,<3.4'
    (
        cd "$root/checkout"
        "$ports/host/bin/python" codegen/render.py
        for source in $(find src -name '*.pyx' ! -name 'avx*'); do
            module=${source%.pyx}
            nice "$ports/host/bin/cython" -I src "$source"
            nice "$machine-linux-gnu-gcc" -O2 -ffp-contract=off -fPIC -shared -DCYTHON_USE_TYPE_SPECS=0 -Isrc/fastgrad \
                -I"$(echo "$headers"/python3.*)" -I"$headers" "$module.c" -o "$module$tag" -lm
        done
    )
    chroot "$root" sh -c "
        cd /checkout.tests
        PYTHONPATH=/checkout/src:/site nice python3 -m pytest -q -p no:cacheprovider -m 'not distribution' $*"
}

# Make a folder with what a build for Pyodide needs: CPython's headers of the same version for Linux, with the
# settings of Pyodide's own build, and these for sysconfig, too.
describe_pyodide() {
    local root=$1 folder=$2
    rm -rf "$folder"
    mkdir -p "$folder"
    cp -r "$root/usr/include/python3.14/." "$folder"
    (
        cd "$ports/pyodide"
        node --input-type=module -e '
            import { loadPyodide } from "pyodide";
            const python = await loadPyodide();
            console.log(python.runPython("import json, sysconfig; json.dumps(sysconfig.get_config_vars())"));
        '
    ) | python3 -c '
import json, re, sys

values, inside = json.load(sys.stdin), sys.argv[3]
with open(sys.argv[2] + "/pyconfig.h", "w") as header:
    for name in re.findall(r"^(?:#define|/\* #undef) (\w+)", open(sys.argv[1]).read(), re.MULTILINE):
        if values.get(name) not in (None, "") and (values[name] != 0 or name.startswith("SIZEOF")):
            print("#define", name, values[name], file=header)
kept = {name: value for name, value in values.items() if name.isupper()}
kept |= {"CC": "emcc -w", "LDSHARED": inside + "/link", "INCLUDEPY": inside, "CONFINCLUDEPY": inside}
open(sys.argv[2] + "/_sysconfigdata__pyodide.py", "w").write(f"build_time_vars = {kept}\n")
' "$root/usr/include/x86_64-linux-gnu/python3.14/pyconfig.h" "$folder" "${folder#"$root"}"
    # A module exports its PyInit function, the name of which is that of its file.
    cat >"$folder/link" <<'LINK'
#!/bin/sh
for argument; do case $argument in *-emscripten.so) module=${argument##*/} ;; esac; done
exec emcc -O2 -sSIDE_MODULE=2 -fwasm-exceptions -sSUPPORT_LONGJMP=wasm -sEXPORTED_FUNCTIONS="_PyInit_${module%%.*}" "$@"
LINK
    chmod +x "$folder/link"
}

# Make a wheel for Pyodide with Emscripten, as setuptools makes one for any system, and run the suite in Node.
test_in_pyodide() {
    local root=$ports/forky wheels=$ports/pyodide/wheels
    [ -e "$root/usr/bin/emcc" ] || chroot "$root" sh -c "
        apt-get -o Acquire::Check-Valid-Until=false update
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends emscripten"
    mkdir -p "$wheels"
    (cd "$ports/pyodide" && npm install --silent pyodide@314)
    python3 -m pip download --quiet --no-deps --python-version 3.14 --only-binary :all: --platform any \
        --dest "$wheels" $pure
    describe_pyodide "$root" "$root/pyodide"
    copy_checkout "$root/checkout"
    chroot "$root" sh -ec '
        [ -e /environment-emscripten ] || python3.14 -m venv /environment-emscripten
        /environment-emscripten/bin/pip install --quiet "setuptools>=77" "cython>=3.3,<3.4"
        cd /checkout
        export EM_CACHE=/emscripten-cache PYTHONPATH=/pyodide _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__pyodide
        export _PYTHON_HOST_PLATFORM=emscripten-wasm32
        nice /environment-emscripten/bin/python setup.py -q bdist_wheel --plat-name pyemscripten_2026_0_wasm32'
    rm -f "$wheels"/fastgrad-*.whl
    cp "$root"/checkout/dist/fastgrad-*.whl "$wheels"
    echo "The wheel is in $wheels; with pyodide of $ports/pyodide/node_modules, it is what examples/browser needs."
    cp "$top/tests/reliability/pyodide.mjs" "$ports/pyodide"
    nice node "$ports/pyodide/pyodide.mjs" "$root/checkout.tests" "$wheels" "$@"
}

# Compile CPython without the lock in a folder, with options of configure, unless that is done.
compile_free_threaded() {
    local folder=$1
    shift
    [ ! -x "$folder/python" ] || return 0
    mkdir -p "$folder"
    curl --fail --silent "$mirror/pool/main/p/${source%%_*}/$source" | tar -C "$folder" --strip-components=1 -xJ
    (cd "$folder" && ./configure --disable-gil "$@" && nice make -j2) >"$folder.log" 2>&1
}

# Install the package and what its tests need in an environment of a free-threaded Python, on the PATH or our own.
make_free_threaded() {
    local environment=$1 python
    if ! python=$(command -v "$free_threaded"); then
        python=$ports/$free_threaded/bin/$free_threaded
        if [ ! -x "$python" ]; then
            compile_free_threaded "$ports/source-$free_threaded" --prefix="$ports/$free_threaded"
            make -C "$ports/source-$free_threaded" install >>"$ports/source-$free_threaded.log" 2>&1
        fi
    fi
    copy_checkout "$ports/checkout"
    [ -e "$environment" ] || "$python" -m venv "$environment"
    "$environment/bin/pip" install --quiet --force-reinstall --no-deps "$ports/checkout"
    "$environment/bin/pip" install --quiet --only-binary hypothesis $needed tqdm graphviz pytest-run-parallel
}

case $port in
arm64)
    # A processor without pointer authentication, the emulation of which makes Python thirty times slower.
    export QEMU_CPU=cortex-a72
    test_emulated arm64 aarch64 "$@"
    ;;
s390x)
    test_emulated s390x s390x "$@"
    ;;
i386)
    make_root i386 trixie i386 python3
    needed='/checkout[test-core]'
    test_in_root i386 python3 "$@"
    ;;
3.14)
    make_root forky forky amd64 python3.14 python3.15
    needed='/checkout[test]'
    test_in_root forky python3.14 "$@"
    ;;
3.15)
    make_root forky forky amd64 python3.14 python3.15
    needed='/checkout[test-core]'
    test_in_root forky python3.15 "$@"
    ;;
pyodide)
    make_root forky forky amd64 python3.14 python3.15
    test_in_pyodide "$@"
    ;;
free-threaded)
    environment=$ports/environment-$free_threaded
    make_free_threaded "$environment"
    # Where they have no wheels, tests skip.
    "$environment/bin/pip" install --quiet --only-binary :all: matplotlib scikit-learn || true
    cd "$ports/checkout.tests"
    "$environment/bin/python" -m pytest -q -p no:cacheprovider -m 'not distribution' "$@"
    ;;
thread-sanitizer)
    compile_free_threaded "$ports/source-sanitized" --with-thread-sanitizer
    # Assertions keep the names that reports show. pip is another's: under the sanitizer it takes minutes.
    CFLAGS="-fsanitize=thread -O1" LDFLAGS=-fsanitize=thread FASTGRAD_ASSERTIONS=1 \
        make_free_threaded "$ports/environment-sanitized"
    cd "$ports/checkout.tests"
    sources=$ports/source-sanitized
    cat "$sources/Tools/tsan/suppressions_free_threading.txt" "$top/tests/reliability/tsan.supp" >"$ports/tsan.supp"
    # The first report that no list allows ends the run; backward() of one graph in several threads is a race.
    # ThreadSanitizer does not work with addresses that are too random.
    PYTHONPATH=$(echo "$ports"/environment-sanitized/lib/"$free_threaded"/site-packages) \
        TSAN_OPTIONS="suppressions=$ports/tsan.supp halt_on_error=1 allocator_may_return_null=1" \
        nice setarch -R "$sources/python" -m pytest -q -p no:cacheprovider -p no:run-parallel --capture=no \
        tests/reliability/test_threads.py -k 'not race_over_one_graph' "$@"
    ;;
*)
    sed -n '4,10s/^# *//p' "$0" >&2
    exit 2
    ;;
esac
