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
# would run its script. At the end, what a program can see of an interpreter's
# end happens here in the interpreter's order (Python/pylifecycle.c,
# Py_FinalizeEx); tearing down the standard library, which it cannot see, is
# left out: that is most of the time that a small program takes.
import atexit
import gc
import importlib
import os
import sys
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
    while part := os.read(GO_FD, 65536):
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


def system_exit(error):
    """The exit status that SystemExit means (Python/pythonrun.c)."""
    code = getattr(error, "code", error)
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    try:
        print(code, file=sys.stderr, flush=True)
    except Exception:
        pass
    return 1


def flush():
    """False where stdout could not be written."""
    ok = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if stream is None or getattr(stream, "closed", False):
            continue
        try:
            stream.flush()
        except Exception:
            if name == "stdout":
                ok = False
                pdspare.unraisable(stream)
    return ok


def shut_down_threads():
    threading = sys.modules.get("threading")
    if threading:
        try:
            threading._shutdown()
        except Exception:
            pdspare.unraisable(threading)


def clear_module(namespace):
    for name in list(namespace):
        if name[0:1] == "_" and name[1:2] != "_":
            namespace[name] = None
    for name in list(namespace):
        if name != "__builtins__":
            namespace[name] = None


def program_modules():
    """What the program imported, in order, __main__ first: the end of sys.modules.
    (Looking at the others would copy the memory that each of them is in.)"""
    names = []
    for name in reversed(sys.modules):
        if name in KEPT:
            break
        names.append(name)
    return ["__main__", *reversed(names)]


def clear_program_modules():
    dropped = []
    for name in program_modules():
        module = sys.modules.get(name)
        sys.modules[name] = None
        if module is not None:
            try:
                dropped.append(weakref.ref(module))
            except TypeError:
                pass
        del module
    gc.collect()
    for reference in reversed(dropped):
        module = reference()
        if isinstance(module, type(sys)):
            clear_module(module.__dict__)
        del module
    gc.collect()


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


def finish(status):
    """What a program can see of its interpreter's end; the status to exit with."""
    save_figures()
    shut_down_threads()
    atexit._run_exitfuncs()
    ok = flush()
    sys.setswitchinterval(1e6)  # daemon threads run no more
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    clear_program_modules()
    return status if flush() and ok else 120


def rehearse(path):
    """Touch now, while nobody waits, the memory that a program will touch: after a
    fork every first write to a page copies it."""
    namespace = make_main(path).__dict__
    pdspare.rehearse(namespace)
    take(b"1\0a\0PADDOCK_SPARE=\0")
    del os.environb[b"PADDOCK_SPARE"]
    take(b"0\0")
    flush()
    program_modules()
    clear_module(namespace)


def wait():
    """Called with no frame below, as the program will be; returns when it is there."""
    threading = sys.modules.get("threading")
    if threading and hasattr(threading._main_thread, "_set_tstate_lock"):
        threading._main_thread._set_tstate_lock()
    rehearse(sys.modules["__main__"].__file__)
    message = read_go()
    refresh_randomness()
    take(message)


def run(path):
    if not pdspare:
        plain_interpreter(SCRIPT, take(read_go()))
    pdspare.run(os.fsencode(path), sys.modules["__main__"].__dict__, wait, system_exit, finish)


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
    KEPT.update(sys.modules)
    del KEPT["__main__"]
    if kind == "zygote":
        compile("", "", "exec")  # what is made at the first use is made once for all
        gc.collect()
        gc.freeze()
        pdspare.serve(ZYGOTE_FD)
    run(path)


KEPT = {}
main()
