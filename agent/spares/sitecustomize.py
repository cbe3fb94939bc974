# Keeps a Python interpreter waiting for its program. Found by `import site`
# through PYTHONPATH, so it runs after the interpreter has started and before it
# opens its script: when this module is done, Python goes on exactly as it would
# have, and no frame of ours is below the program's.
#
# PADDOCK_SPARE=exec:   this process waits itself.
# PADDOCK_SPARE=zygote: this process imports PADDOCK_PRELOAD and forks children
#                       into cells; each child waits (agent/pdspare/pdspare.c).


def _wait():
    import os
    import sys

    def read_go(go_fd, ready_fd):
        os.write(ready_fd, b"R")
        os.close(ready_fd)
        parts = []
        while True:
            part = os.read(go_fd, 65536)
            if not part:
                break
            parts.append(part)
        os.close(go_fd)
        return b"".join(parts).split(b"\0")[:-1]

    def become_single():
        # A thread would not survive the fork, and what it held would stay held.
        if len(os.listdir("/proc/self/task")) != 1:
            os._exit(1)

    def fork_children():
        import gc
        import importlib

        import pdspare

        for name in filter(None, os.environ.pop("PADDOCK_PRELOAD", "").split(",")):
            try:
                importlib.import_module(name)
            except Exception as error:
                print("paddock: preload of %s: %s" % (name, error), file=sys.stderr)
        become_single()
        del sys.modules["pdspare"]
        gc.collect()
        gc.freeze()
        return pdspare.serve(3)

    def refresh_randomness():
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random:
            numpy_random.seed()

    kind = os.environ.pop("PADDOCK_SPARE")
    os.environ.pop("PYTHONPATH", None)
    here = os.path.dirname(os.path.abspath(__file__))
    if kind == "zygote":
        message = read_go(*fork_children())
        refresh_randomness()
    else:
        message = read_go(3, 4)
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    sys.path_importer_cache.pop(here, None)
    count = int(message[0])
    arguments = [os.fsdecode(argument) for argument in message[1 : 1 + count]]
    sys.argv[1:] = arguments
    if hasattr(sys, "orig_argv"):
        sys.orig_argv.extend(arguments)
    for entry in message[1 + count :]:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    # What this interpreter would have imported by this name comes now.
    del sys.modules["sitecustomize"]
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise


_wait()
