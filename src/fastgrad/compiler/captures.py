"""What a function reads from outside, names and containers: it is traced anew when one has changed."""

from __future__ import annotations

import functools
import gc
import inspect
import numbers
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, TypeAlias

from fastgrad.compiler.generators import draws_from_system, state_of
from fastgrad.compiler.program import Programs
from fastgrad.compiler.watch import ABSENT, Contents, Snapshot, Watch, class_table, dotted_names
from fastgrad.engine import TracingError, Value, _require_known

__all__ = ["Name", "Reads", "changed_data"]

# Cell: a closure's cell, its contents and its name. Name: a scope, a name in it, and the object it is bound
# to.
Cell: TypeAlias = tuple[Any, object, str]
Name: TypeAlias = tuple[dict[str, Any], str, object]
# A function, its code, its defaults and its keyword-only defaults.
Parts: TypeAlias = tuple[FunctionType, CodeType, object, object]

# The packages whose names count as fixed, like those of the standard library (the folder below).
FIXED = ("fastgrad", "numpy")
LIBRARY = str(Path(os.__file__).parent)
# An object's attribute is watched from the first look on if it is one of these. Another object may be what
# the function itself keeps there: it is watched if the trace has left it in its place.
SETTINGS = (
    numbers.Number,
    str,
    type(None),
    Value,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    type,
    ModuleType,
)
# What reads attributes by their names as texts.
BY_TEXT = {"getattr", "hasattr", "attrgetter", "vars", "__dict__"}
# What may contain other things from one call to the next; a tuple, in what it has.
CONTAINERS = (list, tuple, dict, set)
# What a container has that need not be looked into.
PLAIN = (numbers.Number, str, bytes, type(None), Value)
# Numbers of a list that `print` shows.
MOST_SHOWN = 4
# The most objects in all containers whose contents are compared before each call, which takes microseconds;
# and as how many objects a container counts, beside what it has.
MOST_CONTENTS = 10_000
OF_A_CONTAINER = 16
# The global generator: the functions of the module `random` are its methods.
GENERATOR = random.random.__self__  # type: ignore[attr-defined]


class Reads:
    """The names that a compiled function and its callees read, each with the object it was bound to then.

    Names are globals, variables of closures, and attributes in dotted names: `self.scale`, `helpers.act`.
    Of the lists, dicts, tuples and arrays that names lead to, the contents are read as well.
    """

    def __init__(self, compiled: Programs[Any] | None = None) -> None:
        self.cells: dict[int, Cell] = {}
        self.names: dict[tuple[int, str], Name] = {}
        self.functions: dict[int, Parts] = {}
        # By id: containers that names lead to, of which `size` counts the objects. And attributes whose
        # objects are of no kind in SETTINGS.
        self.containers: dict[int, object] = {}
        self.size = 0
        self.held: dict[tuple[int, str], Name] = {}
        # By id: objects without a dict, with the names of their slots.
        self.slots: dict[int, tuple[object, set[str]]] = {}
        # Attributes that code reads of its own variables, which have no value yet when it begins, and of what
        # it finds in containers or gets from functions.
        self.later: dict[tuple[str, ...], CodeType] = {}
        # By the id of a scope: the name of the object or function whose scope it is.
        self.owners: dict[int, str] = {}
        # Whether code that ran names a function of the global generator of `random` or numpy.
        self.names_random = False
        self.names_numpy = False
        # By id: other generators that names lead to, each with its state when it was found.
        self.generators: dict[int, tuple[object, object]] = {}
        # Whether code that ran drew from the system.
        self.drew_from_system = False
        # All keyed by id: objects that may be functions; functions, by their code; code that ran, with its
        # names; code nested in such code; code whose function is not found yet.
        self.reached: dict[int, object] = {}
        self.by_code: dict[int, list[FunctionType]] = {}
        self.ran: dict[int, tuple[CodeType, list[tuple[str, ...]]]] = {}
        self.inside: set[int] = set()
        self.unknown: dict[int, CodeType] = {}
        self.reach(compiled)

    def call(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Return function(*arguments, **named), and note the names that it reads."""
        watch = Watch(self.enter, GENERATOR)
        try:
            return watch.call(function, arguments, named)
        except Exception as error:
            advise(error, watch.failed)
            raise
        finally:
            self.names_random = self.names_random or watch.drew
            self.find_unknown()
            self.find_later()

    def add(self, other: Reads) -> None:
        """Add the names that another trace of the same function has read."""
        self.cells |= other.cells
        self.names |= other.names
        self.functions |= other.functions
        self.containers |= other.containers
        self.held |= other.held
        for key, (thing, slots) in other.slots.items():
            self.slots.setdefault(key, (thing, set()))[1].update(slots)
        self.owners |= other.owners

    def snapshot(self) -> Snapshot:
        """Return the names with their objects, to be compared with the objects at a later time."""
        held = [each for each in self.held.values() if each[0].get(each[1], ABSENT) is each[2]]
        return Snapshot(
            list(self.cells.values()),
            [*map(settled, self.names.values()), *held],
            list(self.functions.values()),
            [
                *[Contents(container) for container in self.containers.values()],
                *[Contents(thing, tuple(slots)) for thing, slots in self.slots.values()],
            ],
        )

    def names_of(self, parameters: Sequence[Value]) -> list[str]:
        """Return a line that names the parameters which a name is bound to; no line without any."""
        names = {id(contents): name for name, contents in self.data()}
        known = [f"p{at} = {names[id(leaf)]}" for at, leaf in enumerate(parameters) if id(leaf) in names]
        return [f"read at each call: {', '.join(known)}"] if known else []

    def fixed(self) -> list[str]:
        """Return lines with the numbers that the trace has made constants of the program, or none."""
        lines = {f"  {name} = {brief(thing)}" for name, thing in self.data() if is_fixed_number(thing)}
        return ["fixed by the trace:", *sorted(lines)] if lines else []

    def data(self) -> Iterator[tuple[str, object]]:
        """Yield the names that were read, each with its object: `rate`, `Model.scale`, `act(slope)`."""
        for _, contents, name in self.cells.values():
            yield name, contents
        for scope, name, bound in self.names.values():
            owner = self.owners.get(id(scope))
            yield (name if owner is None else f"{owner}.{name}"), bound
        for function, code, defaults, _ in self.functions.values():
            given = defaults if isinstance(defaults, tuple) else ()
            # More defaults may have been assigned to a function than it has parameters.
            names = code.co_varnames[: code.co_argcount]
            for name, default in zip(reversed(names), reversed(given), strict=False):
                yield f"{function.__name__}({name})", default

    def enter(self, frame: FrameType) -> bool:
        """Note the names that the code of a new frame reads; return whether it need not be seen again."""
        code, scope = frame.f_code, frame.f_globals
        if id(code) not in self.ran:
            if scope is vars(random):
                # All generators share the code of their methods: each call's `self` is looked at.
                self.is_global_generator(frame.f_locals.get("self"))
                self.drew_from_system = self.drew_from_system or draws_from_system(frame)
                return False
            if is_fixed(scope):
                return True
            paths = dotted_names(code)
            self.ran[id(code)] = code, [path for path in paths if path[0] in ("local", "free")]
            self.inside |= {id(constant) for constant in code.co_consts if isinstance(constant, CodeType)}
            self.find_function(frame)
            for where, name, *attributes in paths:
                if where == "global":
                    self.follow(self.read(scope, name), attributes, code)
                elif where == "import":
                    self.follow(module_named(name, scope), attributes, code)
                elif where == "found":
                    self.later[name, *attributes] = code
            for name in attributes_named(code):
                self.later[name,] = code
        variables = None
        again = False
        for _, name, *attributes in self.ran[id(code)][1]:
            variables = frame.f_locals if variables is None else variables
            thing = variables.get(name)
            if has_attributes(thing):
                again = True
                # What the function has made itself may have a generator with a seed of its own.
                self.follow(thing, attributes, code, id(thing) in self.reached)
            elif thing is None:
                self.later[tuple(attributes)] = code
        return not again

    def read(self, scope: dict[str, Any], name: str) -> object:
        """Note a name, and return what it is bound to."""
        bound = scope.get(name, ABSENT)
        self.names.setdefault((id(scope), name), (scope, name, bound))
        return bound

    def follow(
        self, thing: object, attributes: Sequence[str], code: CodeType, generators: bool = True
    ) -> None:
        """Note the attributes in a dotted name that begins with this object."""
        self.reach(thing, generators)
        for attribute in attributes:
            thing = self.attribute(thing, attribute)
            self.reach(thing, generators)
        if thing is random:
            self.names_random = True
        if isinstance(thing, ModuleType) and (
            thing.__name__ == "numpy.random" or (thing.__name__ == "numpy" and "random" in code.co_names)
        ):
            self.names_numpy = True

    def attribute(self, thing: object, name: str) -> object:
        """Note an attribute, and return it; ABSENT if it is computed or cannot be found."""
        if isinstance(thing, ModuleType):
            scope = vars(thing)
            return scope.get(name, ABSENT) if is_fixed(scope) else self.read(scope, name)
        if not has_attributes(thing):
            return ABSENT
        if is_slot(thing, name):
            self.slots.setdefault(id(thing), (thing, set()))[1].add(name)
            return getattr(thing, name, ABSENT)
        own: Any = getattr_dict(thing) if not isinstance(thing, type) else {}
        if own and name in own:
            found = own[name]
            if isinstance(found, SETTINGS):
                self.read(own, name)
            else:
                self.held.setdefault((id(own), name), (own, name, found))
            self.owners[id(own)] = type(thing).__name__
            return found
        found = self.in_class(thing if isinstance(thing, type) else type(thing), name)
        if found is ABSENT or not isinstance(found, (FunctionType, *SETTINGS)):
            # The function of a property is seen when it runs.
            self.reach(found)
            return ABSENT
        if not isinstance(thing, type) and own is not None:
            self.read(own, name)
        return found

    def in_class(self, kind: type, name: str) -> object:
        """Note an attribute of a class, and that classes before it lack it; return it or ABSENT."""
        tables = []
        for each in kind.__mro__:
            table = class_table(each)
            if table is None or is_fixed(getattr(sys.modules.get(each.__module__), "__dict__", {})):
                continue
            tables.append(table)
            if name in table:
                self.owners[id(table)] = each.__name__
                return [self.read(table, name) for table in tables][-1]
        return ABSENT

    def reach(self, thing: object, generators: bool = True) -> None:
        """Remember the functions behind an object, so that they are found when their code runs.

        generators: whether to note the generators of random numbers that it has.
        """
        waiting = [thing]
        while waiting:
            thing = waiting.pop()
            if id(thing) in self.reached:
                continue
            self.reached[id(thing)] = thing
            waiting += self.contents(thing)
            if isinstance(thing, FunctionType):
                self.by_code.setdefault(id(thing.__code__), []).append(thing)
            if generators:
                self.see_generator(thing)
            waiting += behind(thing)

    def contents(self, thing: object) -> list[object]:
        """Note a container, if it is not too large; return what in it may have more behind it."""
        kind: Any = next((each for each in CONTAINERS if isinstance(thing, each)), None)
        if kind is None and not is_array(thing):
            return []
        # What a class of the user's makes of its length, and of a loop over it, is not asked for.
        given: Any = thing
        size = OF_A_CONTAINER + (given.size if kind is None else kind.__len__(given))
        if self.size + size > MOST_CONTENTS:
            return []
        self.size += size
        if not isinstance(thing, tuple):
            self.containers[id(thing)] = thing
        if kind is None:
            return []
        items = list(dict.values(given) if kind is dict else kind.__iter__(given))
        # There may be thousands of a few classes.
        others = {each for each in set(map(type, items)) if not issubclass(each, PLAIN)}
        return [item for item in items if type(item) in others] if others else []

    def find_later(self) -> None:
        """Note the attributes that code has read of objects which names or containers lead to."""
        seen = 0
        others = (FunctionType, type, ModuleType, Programs)
        while self.later and seen < len(self.reached):
            objects = list(self.reached.values())
            for thing in objects[seen:]:
                if has_attributes(thing) and not isinstance(thing, others):
                    for attributes, code in self.later.items():
                        self.follow(thing, attributes, code)
            seen = len(objects)

    def see_generator(self, thing: object) -> None:
        """Note an object that is a generator of random numbers, or a method of one."""
        if isinstance(thing, (MethodType, BuiltinFunctionType)):
            thing = thing.__self__
        if not self.is_global_generator(thing) and id(thing) not in self.generators:
            state = state_of(thing)
            if state is not None:
                self.generators[id(thing)] = thing, state

    def is_global_generator(self, thing: object) -> bool:
        """Note a global generator; return whether the object is one."""
        numpy = sys.modules.get("numpy.random.mtrand")
        if thing is GENERATOR:
            self.names_random = True
        elif numpy is not None and thing is getattr(numpy, "_rand", numpy):
            self.names_numpy = True
        else:
            return False
        return True

    def drew(self) -> bool:
        """Return whether the function drew from a generator that is not a global one."""
        return self.drew_from_system or any(
            state_of(generator) != state for generator, state in self.generators.values()
        )

    def find_function(self, frame: FrameType) -> None:
        """Find the function whose code begins to run, and note the names that lead to it."""
        code, scope = frame.f_code, frame.f_globals
        if id(code) in self.inside or not code.co_flags & inspect.CO_OPTIMIZED:
            return
        if code.co_argcount:
            first = frame.f_locals.get(code.co_varnames[0])
            for each in (type(first), first):
                if isinstance(each, type) and self.leads_to(code, each):
                    # `super()` may call a method that other classes of the order override.
                    for kind in each.__mro__:
                        self.in_class(kind, code.co_name)
        if id(code) not in self.by_code and code.co_name in scope:
            self.reach(scope[code.co_name])
            if id(code) in self.by_code:
                self.read(scope, code.co_name)
        for function in self.by_code.get(id(code), ()):
            self.note(function)
        if id(code) not in self.by_code:
            self.unknown[id(code)] = code

    def leads_to(self, code: CodeType, kind: type) -> bool:
        """Return whether a class, or one that it inherits from, has this code under its name."""
        for each in kind.__mro__:
            self.reach(vars(each).get(code.co_name))
        return id(code) in self.by_code

    def find_unknown(self) -> None:
        """Note the functions that ran but that no name leads to, such as those in lists."""
        codes = list(self.unknown.values())
        for function in gc.get_referrers(*codes) if codes else ():
            if isinstance(function, FunctionType):
                self.note(function)
        self.unknown.clear()

    def note(self, function: FunctionType) -> None:
        """Note a function that runs, and the contents of its closure."""
        code, named = function.__code__, function.__kwdefaults__
        self.reach(function.__defaults__)
        self.reach(named)
        parts = function, code, given(function.__defaults__), given(named)
        self.functions[id(function)] = parts
        for name in named or ():
            self.read(named, name)  # type: ignore[arg-type]
            self.owners[id(named)] = function.__name__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            contents = contents_of(cell)
            self.cells.setdefault(id(cell), (cell, contents, name))
            self.reach(contents)


def attributes_named(code: CodeType) -> Iterator[str]:
    """Yield the attributes that code may read by a text that is written in it: `getattr(layer, "scale")`."""
    if not BY_TEXT.isdisjoint(code.co_names):
        for constant in code.co_consts:
            for each in constant if isinstance(constant, tuple) else (constant,):
                if isinstance(each, str) and each.isidentifier():
                    yield each


def settled(read: Name) -> Name:
    """Return a name with the object that it is compared with at the next call.

    A function that keeps a result, as in `self.h = h`, finds a placeholder of an earlier trace there. It has
    not used it, as that would have been refused; so a name is what this trace has left.
    """
    scope, name, bound = read
    return (scope, name, scope.get(name, ABSENT)) if is_placeholder(bound) else read


def is_placeholder(thing: object) -> bool:
    """Return whether something is a Value of a trace that is over."""
    if isinstance(thing, Value):
        try:
            _require_known(thing)
        except TracingError:
            return True
    return False


def changed_data(snapshot: Snapshot) -> list[str]:
    """Return the names that are bound to other data than in a snapshot; changed functions do not count."""
    now = [(cell_name, contents, contents_of(cell)) for cell, contents, cell_name in snapshot.cells]
    now += [(name, bound, scope.get(name, ABSENT)) for scope, name, bound in snapshot.names]
    code = (FunctionType, type, ModuleType, Programs, type(ABSENT))
    changed = [
        name
        for name, before, after in now
        if after is not before and not isinstance(before, code) and not isinstance(after, code)
    ]
    names = {id(bound): name for name, _, bound in now}
    for each in snapshot.contents:
        if not each.is_current():
            kind = type(each.thing).__name__
            changed.append(f"what is in {names.get(id(each.thing), f'a {kind} that it reads')}")
    return changed


def is_fixed_number(thing: object) -> bool:
    """Return whether something is a number, an array or a list of them, or a text."""
    if isinstance(thing, (numbers.Number, str)):
        return True
    if isinstance(thing, (list, tuple)):
        return len(thing) > 0 and all(map(is_fixed_number, thing[:MOST_SHOWN]))
    return isinstance(getattr(thing, "shape", None), tuple) and hasattr(thing, "dtype")


def is_array(thing: object) -> bool:
    """Return whether something is an array of numpy's."""
    return type(thing).__module__ == "numpy" and hasattr(thing, "tobytes") and getattr(thing, "ndim", 0) > 0


def brief(thing: Any) -> str:
    """Return a number or an array in a few words."""
    if hasattr(thing, "dtype") and thing.shape:
        return f"an array {tuple(thing.shape)} of {thing.dtype}"
    if hasattr(thing, "item"):
        thing = thing.item()
    if isinstance(thing, (list, tuple)):
        shown = ", ".join(map(brief, thing[:MOST_SHOWN]))
        more = f", .. {len(thing)} in all" if len(thing) > MOST_SHOWN else ""
        return f"[{shown}{more}]" if isinstance(thing, list) else f"({shown}{more})"
    text = repr(thing)
    return text if len(text) <= 40 else text[:37] + "..."


def advise(error: BaseException, failed: object) -> None:
    """If a function of `math` failed for a Value, say in the error what to write instead."""
    name = getattr(failed, "__name__", "")
    if not isinstance(error, RuntimeError) or getattr(failed, "__module__", None) != "math":
        return
    if name in ("pow", "fabs"):
        way = "write x ** y for math.pow(x, y)" if name == "pow" else "write abs(x) for math.fabs(x)"
    elif name in ("atan2", "hypot", "fmod"):
        way = f"write x.{name}(y) for math.{name}(x, y)"
    elif hasattr(Value, name):
        way = f"write x.{name}() for math.{name}(x)"
    else:
        way = f"Values have no {name}: compute it outside, and pass it as an argument"
    error.args = (f"math.{name} reads the number of a Value, which would be frozen into the program: {way}",)


def given(defaults: object) -> object:
    """Return the defaults as a snapshot keeps them: ABSENT for none."""
    return ABSENT if defaults is None else defaults


def contents_of(cell: Any) -> object:
    """Return what a closure's cell contains."""
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def has_attributes(thing: object) -> bool:
    """Return whether an object's attributes are watched: not those of Values, numbers and lists."""
    if isinstance(thing, Value):
        return False
    return isinstance(thing, type) or type(getattr_dict(thing)) is dict or hasattr(type(thing), "__slots__")


def is_slot(thing: object, name: str) -> bool:
    """Return whether an attribute of an object is a slot of its class, which is one of Python."""
    if isinstance(thing, type):
        return False
    found = inspect.getattr_static(type(thing), name, None)
    return isinstance(found, MemberDescriptorType) and class_table(found.__objclass__) is not None


def getattr_dict(thing: object) -> object:
    """Return the dict of an object's attributes, or None."""
    return getattr(thing, "__dict__", None)


def behind(thing: object) -> Iterator[object]:
    """Yield the objects behind a decorated or compiled function, a partial, a method or a property."""
    if isinstance(thing, FunctionType):
        # A decorator's wrapper has the decorated function in a cell.
        yield from (contents_of(cell) for cell in thing.__closure__ or ())
    elif isinstance(thing, Programs):
        yield thing.function
        yield inspect.getattr_static(type(thing.function), "__call__", None)
    elif isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, (MethodType, staticmethod, classmethod)):
        yield thing.__func__
    elif isinstance(thing, property):
        yield thing.fget
    elif isinstance(thing, functools.cached_property):
        yield thing.func


def is_fixed(scope: dict[str, Any]) -> bool:
    """Return whether a module's names count as fixed: fastgrad's, numpy's and the standard library's."""
    root = str(scope.get("__name__")).partition(".")[0]
    if "_tuple_new" in scope and root.startswith("namedtuple_"):
        # The constructor of a named tuple, to which no name leads: the search for its function would go
        # through all objects of the process.
        return True
    # Told by its file: a program may have a module with the name of one of the standard library's.
    where = str(scope.get("__file__") or LIBRARY)
    return root in FIXED or (root in sys.stdlib_module_names and where.startswith(LIBRARY))


def module_named(name: str, scope: dict[str, Any]) -> object:
    """Return a module that a function imports: first from its own package, then from the top."""
    package = scope.get("__package__")
    return sys.modules.get(f"{package}.{name}" if package else name) or sys.modules.get(name, ABSENT)
