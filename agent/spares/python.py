# Keeps a Python interpreter waiting for its program: started as
#
#     python3 -u /paddock/spares/python.py main.py
#
# PADDOCK_SPARE=exec:   this process waits itself.
# PADDOCK_SPARE=zygote: this process imports PADDOCK_PRELOAD and forks children
#                       into cells; each child waits.
#
# When arguments and environment have come, pdspare (agent/pdspare/pdspare.c)
# leaves every frame of this file behind and runs the program as the interpreter
# would run its script. The interpreter's end, most of the time that a small program
# takes, is left out where nothing can be seen of it: no exception, nothing
# registered, and no object that would do anything when it goes.
import _thread
import atexit
import gc
import importlib
import os
import sys
import types
import warnings
import weakref
from importlib.machinery import SourceFileLoader


def plain_interpreter(script, arguments):
    """Where pdspare does not load: the interpreter itself, started late."""
    os.execv(sys.executable, [sys.executable, "-u", script, *arguments])


try:
    import pdspare
except ImportError:
    pdspare = None

GO_FD, READY_FD, ZYGOTE_FD, DONE_FD = 3, 4, 3, 1000  # agent/confine.h
SCRIPT = sys.argv[1]


def make_main(path):
    main = type(sys)("__main__")
    main.__builtins__ = sys.modules["builtins"]
    main.__annotations__ = {}
    main.__loader__ = SourceFileLoader("__main__", path)
    main.__file__ = path
    main.__cached__ = None
    return main


def restore(path):
    """Make this process look as if it had just been started with SCRIPT."""
    sys.path[0] = os.path.dirname(path)
    sys.path_importer_cache.pop(os.path.dirname(__file__), None)
    sys.path_importer_cache.pop(__file__, None)
    sys.path_importer_cache[path] = None  # where Python looked whether it is an archive
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = [sys.orig_argv[0], "-u", SCRIPT]
    sys.argv[:] = [SCRIPT]
    for name in ("PADDOCK_SPARE", "PADDOCK_PRELOAD"):
        os.environ.pop(name, None)


def preload(names):
    for name in filter(None, names.split(",")):
        try:
            importlib.import_module(name)
        except Exception as error:
            print("paddock: preload of %s: %s" % (name, error), file=sys.stderr)
    # A thread would not survive the fork, and what it held would stay held.
    if len(os.listdir("/proc/self/task")) != 1:
        print("paddock: a preloaded module started a thread", file=sys.stderr)
        os._exit(1)


def read_go():
    parts = []
    os.write(READY_FD, b"R")
    os.dup2(READY_FD, DONE_FD, inheritable=False)
    os.close(READY_FD)
    while part := os.read(GO_FD, 4096):  # room for more would be memory never touched before
        parts.append(part)
    os.close(GO_FD)
    return b"".join(parts)


def take(message):
    message = message.split(b"\0")
    count = int(message[0])
    arguments = [os.fsdecode(argument) for argument in message[1 : 1 + count]]
    for entry in message[1 + count : -1]:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    sys.argv[1:] = arguments
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[3:] = arguments
    return arguments


def refresh_randomness():
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random:
        numpy_random.seed()


def save_figures():
    """What matplotlib has open is left behind as a file each."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums() if pyplot else ():
        path = "figure-%d.png" % number
        try:
            if not os.path.lexists(path):
                pyplot.figure(number).savefig(path)
        except Exception as error:
            print("paddock: figure %d: %s" % (number, error), file=sys.stderr)


def may_go_unseen(kind):
    """Whether an object of this class can vanish without a trace: no __del__, and no
    class of C that is not known here, since that might flush or close something."""
    for ancestor in MRO(kind):
        if ancestor in PLAIN:
            continue
        namespace = NAMESPACE(ancestor)
        name = MODULE(ancestor)
        if "__del__" in namespace or name in UNKNOWN_MODULES:
            return False
        if name not in PLAIN_MODULES:
            module = sys.modules.get(name)
            if type(getattr(module, "__loader__", None)) is not SourceFileLoader:
                return False
    return True


def is_spent(kind, item):
    """Objects of some classes are harmless when they are done."""
    if kind is weakref.ref:
        return item.__callback__ is None
    return MODULE(kind) == "_io" and item.closed


def is_nothing_left():
    """Whether a program can see nothing of its interpreter's end: then that can be left
    out. Only what was made since the program began is looked at."""
    threading, warnings = sys.modules.get("threading"), sys.modules.get("warnings")
    objects = gc.get_objects()
    if (len(objects) > OBJECTS_MAX or atexit._ncallbacks() or _thread._count() or gc.callbacks
            or sys.stdout is not STDOUT or sys.stderr is not STDERR or STDOUT.closed
            or (threading and (len(threading._active) != 1 or threading._threading_atexits))
            or (warnings and len(warnings.filters) != N_FILTERS)):
        return False
    verdicts = {}
    for item in objects:
        kind = type(item)
        if kind not in PLAIN and not verdicts.get(kind):
            verdicts[kind] = may_go_unseen(kind)
            if not (verdicts[kind] or is_spent(kind, item)):
                return False
        is_class = kind is type or (kind not in PLAIN and issubclass(kind, type))
        if is_class and MODULE(item) == "__main__" and not may_go_unseen(item):
            return False
    return True


def before_the_end():
    """The interpreter's own end follows, and is to find everything."""
    gc.unfreeze()


def rehearse(path):
    """Touch now, while nobody waits, the memory that a program will touch: after a
    fork every first write to a page copies it."""
    namespace = make_main(path).__dict__
    pdspare.rehearse(namespace)
    if STDOUT.encoding == "utf-8":  # others may begin with a mark
        print("", end="")  # a write of nothing: nobody is told
    take(b"1\0a\0PADDOCK_SPARE=\0")
    del os.environb[b"PADDOCK_SPARE"]
    take(b"0\0")
    is_nothing_left()


def wait():
    """Called with no frame below, as the program will be; returns when it is there."""
    path = sys.modules["__main__"].__file__
    threading = sys.modules.get("threading")
    if threading and hasattr(threading._main_thread, "_set_tstate_lock"):
        threading._main_thread._set_tstate_lock()
    rehearse(path)
    gc.freeze()
    sys.modules["__main__"] = make_main(path)
    message = read_go()
    refresh_randomness()
    take(message)


def run(path):
    if not pdspare:
        plain_interpreter(SCRIPT, take(read_go()))
    pdspare.run(os.fsencode(path), wait, save_figures, is_nothing_left, before_the_end)


def main():
    path = os.path.join(os.getcwd(), SCRIPT)
    kind = os.environ["PADDOCK_SPARE"]
    if kind == "zygote":
        if not pdspare:
            os._exit(1)
        preload(os.environ.get("PADDOCK_PRELOAD", ""))
    restore(path)
    sys.modules["__main__"] = make_main(path)
    sys.modules.pop("pdspare", None)
    if kind == "zygote":
        compile("", "", "exec")  # what is made at the first use is made once for all
        gc.collect()
        gc.freeze()
        pdspare.serve(ZYGOTE_FD)
    run(path)


issubclass, len, type = issubclass, len, type  # a program may replace the built-in ones
MRO, NAMESPACE, MODULE = (type.__dict__[name].__get__
                          for name in ("__mro__", "__dict__", "__module__"))
OBJECTS_MAX = 20000  # looking at more takes longer than an interpreter's end
STDOUT, STDERR = sys.stdout, sys.stderr
N_FILTERS = len(warnings.filters)
PLAIN = {kind for kind in vars(types).values() if type(kind) is type} - {
    types.AsyncGeneratorType, types.CoroutineType, types.FrameType, types.GeneratorType,
    types.TracebackType}
PLAIN |= {object, type, dict, list, tuple, set, frozenset, property, staticmethod, classmethod,
          slice, super, range, enumerate, zip, reversed, Exception, BaseException, int, str, float,
          bytes, bytearray, complex, bool, memoryview, weakref.ref}
PLAIN |= {type(iter(kind())) for kind in (dict, list, tuple, set, str, bytes)}
PLAIN |= set(types.BuiltinFunctionType.__subclasses__())
PLAIN |= {type(view) for view in ({}.keys(), {}.values(), {}.items())}
PLAIN -= {weakref.ref}
# Of C: whose objects hold others or nothing; and Python's face of one that does more.
PLAIN_MODULES = {"__main__", "_abc", "_bisect", "_collections", "_contextvars", "_datetime",
                 "_decimal", "_frozen_importlib", "_frozen_importlib_external", "_functools",
                 "_hashlib", "_heapq", "_json", "_operator", "_pickle", "_random", "_sre", "_struct",
                 "_thread", "abc", "array", "codecs", "itertools", "math", "os",
                 "re", "time", "zlib"}
UNKNOWN_MODULES = {"sqlite3"}
main()
