"""Programs whose every byte of output and whose end must be the same, whether their
interpreter was started for them or waited for them: (name, code, what is given)."""

GIVEN = {"args": ["a", "b c", "", "-x", "\u00e9"], "stdin": "one\ntwo",
         "env": {"NAME": "v=1", "OTHER": "\u00e9\nz"}}
ASCII = dict(GIVEN, args=["a", "b c", "-x"])


def programs(*pairs, **given):
    return [(name, code, dict(GIVEN, **given)) for name, code in pairs]


# ---- Python ----

_PLAIN = programs(
    ("names", """
import sys
print(__name__, __file__, __doc__, __package__, __spec__, __cached__, __loader__.__class__)
print(__loader__.path, __loader__.name, sorted(globals()), __builtins__)
print(sys.argv, sys.orig_argv, sys.executable, sys.flags, sys.path, sys.prefix, sys.warnoptions)
print(sys.modules['__main__'].__dict__ is globals(), sys._xoptions, __annotations__)
"""),
    ("docstring", '"""What it does."""\nprint(__doc__)\n'),
    ("annotations", "x: int = 1\ny: 'str'\nprint(__annotations__, vars().get('y'))"),
    ("future", "from __future__ import annotations\nx: nowhere = 1\nprint(__annotations__)"),
    ("environment", "import os\nfor n in sorted(os.environ): print(n, repr(os.environ[n]))\n"
                    "print(os.getcwd(), sorted(os.listdir()), os.getenv('PADDOCK_SPARE'))\n"
                    "os.system('env | sort | grep -v ^_=')"),
    ("descriptors", "import os\nos.system('ls -l /proc/self/fd | wc -l')\n"
                    # One far up, the spare's way to say that it is done, may be there.
                    "print(os.dup(0), sorted(n for n in os.listdir('/proc/self/fd') if int(n) < 1000))"),
    ("process", "import os, signal\nprint(os.getpid() == int(os.readlink('/proc/self')),\n"
                "  os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.getuid(), os.umask(0))\n"
                "print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE),\n"
                "  signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
                "import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE),\n"
                "  resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_STACK))"),
    ("status", "import os\nfor l in open('/proc/self/status'):\n"
               "    if l.split(':')[0] in ('Uid','Gid','Groups','SigBlk','SigIgn','SigCgt','CapInh',\n"
               "      'CapPrm','CapEff','CapBnd','CapAmb','NoNewPrivs','Seccomp','Threads','Umask'):\n"
               "        print(l, end='')"),
    ("modules", "import sys\nprint('re' in sys.modules, 'json' in sys.modules, 'pdspare' in sys.modules,\n"
                "  'sitecustomize' in sys.modules, [n for n in sys.modules if 'paddock' in n])\n"
                "import json, re, collections, decimal, datetime\nprint(json.__file__, re.__name__)"),
    ("traceback", "def f(x):\n    return 1 / x\n\n\ndef g():\n    f(0)\n\n\ng()\n"),
    ("chained traceback", "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('v') from e\n"),
    ("during traceback", "try:\n    {}['a']\nexcept KeyError:\n    [][1]\n"),
    ("exception group", "raise ExceptionGroup('eg', [ValueError(1), TypeError('t')])\n"),
    ("exception note", "e = ValueError('x')\ne.add_note('a note')\nraise e\n"),
    ("syntax error", "print('never')\nx = = 1\n"),
    ("indentation error", "if True:\nprint(1)\n"),
    ("tab error", "if True:\n\tx = 1\n        y = 2\n"),
    ("unterminated", "print('abc\n"),
    ("bad encoding", "# -*- coding: nowhere -*-\nprint(1)\n"),
    ("latin-1", "# -*- coding: latin-1 -*-\nprint(ascii('\u00e9'))\n"),
    ("bom", "\ufeffprint('bom')\n"),
    ("crlf", "print('a')\r\nx = '''b\r\nc'''\r\nprint(repr(x))\r\nraise ValueError\r\n"),
    ("no newline", "print('end')"),
    ("empty", "\n"),
    ("comment", "# nothing\n"),
    ("syntax warning", "x = 1\nif x is 1: print('same')\nprint('\\d')\n"),
    ("deprecation warning", "import warnings\nwarnings.warn('old', DeprecationWarning)\n"
                            "warnings.warn('u')\nprint(warnings.filters)\n"),
    ("unclosed file", "open('/etc/passwd')\nimport gc\ngc.collect()\nprint('x')\n"),
    ("exit 3", "import sys\nsys.exit(3)\n"),
    ("exit none", "import sys\nsys.exit()\n"),
    ("exit text", "import sys\nsys.exit('a text')\n"),
    ("exit large", "import sys\nsys.exit(2**40 + 5)\n"),
    ("exit huge", "import sys\nsys.exit(2**80)\n"),
    ("exit negative", "import sys\nsys.exit(-1)\n"),
    ("exit true", "import sys\nsys.exit(True)\n"),
    ("exit float", "import sys\nsys.exit(1.5)\n"),
    ("exit tuple", "import sys\nsys.exit((1, 2))\n"),
    ("exit object", "class E(SystemExit): pass\nraise E('sub', 4)\n"),
    ("quit", "quit(4)\n"),
    ("exit built-in", "exit('said')\n"),
    ("exit in finally", "import sys\ntry:\n    1 / 0\nfinally:\n    sys.exit(6)\n"),
    ("exit changed code", "e = SystemExit(1)\ne.code = 9\nraise e\n"),
    ("exit bad str", "class X:\n    def __str__(self): raise ValueError('no str')\nraise SystemExit(X())\n"),
    ("os._exit", "import os\nprint('lost?', end='')\nos._exit(5)\n"),
    ("os.abort", "import os\nos.abort()\n"),
    ("kill self", "import os, signal\nprint('a')\nos.kill(os.getpid(), signal.SIGKILL)\n"),
    ("term self", "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"),
    ("int self", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(1)\n"),
    ("keyboard interrupt", "raise KeyboardInterrupt\n"),
    ("handler", "import os, signal\nsignal.signal(signal.SIGUSR1, lambda n, f: print('got', n, f.f_lineno))\n"
                "os.kill(os.getpid(), signal.SIGUSR1)\nprint('after')\n"),
    ("segfault", "import ctypes\nctypes.string_at(0)\n"),
    ("faulthandler", "import faulthandler, os, signal\nfaulthandler.enable()\n"
                     "def f():\n    os.kill(os.getpid(), signal.SIGABRT)\nf()\n"),
    ("atexit", "import atexit\natexit.register(print, 'one')\natexit.register(print, 'two')\nprint('zero')\n"),
    ("atexit error", "import atexit\n@atexit.register\ndef f():\n    raise ValueError('at exit')\n"
                     "atexit.register(print, 'first')\n"),
    ("atexit exit", "import atexit, sys\natexit.register(sys.exit, 9)\natexit.register(print, 'x')\n"),
    ("atexit after error", "import atexit\natexit.register(print, 'bye')\n1 / 0\n"),
    ("atexit registers", "import atexit\natexit.register(lambda: atexit.register(print, 'late'))\n"),
    ("threads", "import threading\nturn = [threading.Event() for _ in range(4)]\ndef f(n):\n"
                "    turn[n].wait()\n    print('t', n)\n    turn[n + 1].set()\n"
                "for n in range(3): threading.Thread(target=f, args=(n,)).start()\nprint('main')\nturn[0].set()\n"),
    ("thread error", "import threading\ndef f(): 1 / 0\nt = threading.Thread(target=f, name='T')\n"
                     "t.start()\nt.join()\nprint('main goes on')\n"),
    ("daemon thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
                      "print('ends')\n"),
    ("main thread", "import threading, _thread\nprint(threading.main_thread() is threading.current_thread(),\n"
                    "  threading.get_ident() == threading.main_thread().ident, threading.active_count(),\n"
                    "  threading.main_thread(), threading.get_native_id() == __import__('os').getpid())\n"
                    .replace("threading.main_thread(), ", "threading.main_thread().name, ")),
    ("main joined", "import threading, time\ndef f():\n    threading.main_thread().join()\n    print('main is done')\n"
                    "threading.Thread(target=f).start()\nprint('ending')\n"),
    ("threading atexit", "import threading, atexit\nthreading._register_atexit(print, 'threads end')\n"
                         "atexit.register(print, 'exit')\n"),
    ("executor", "from concurrent.futures import ThreadPoolExecutor\ne = ThreadPoolExecutor(2)\n"
                 "print(list(e.map(lambda x: x * x, range(5))))\ne.submit(print, 'last')\n"),
    ("thread local", "import threading\nclass L(threading.local):\n    def __init__(self): self.x = 1\n"
                     "l = L()\nl.x = 2\nt = threading.Thread(target=lambda: print(l.x))\nt.start(); t.join(); print(l.x)\n"),
    ("condition", "import threading, queue\nq = queue.Queue()\n"
                  "threading.Thread(target=lambda: [q.put(i) for i in range(3)]).start()\n"
                  "print([q.get() for _ in range(3)])\n"),
    ("input at end", "print(input())\nprint(input('? '))\ninput()\n"),
    ("stdin", "import sys\nprint(repr(sys.stdin.read()), sys.stdin.read(), sys.stdin.encoding,\n"
              "  sys.stdin.errors, sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.stdin.name,\n"
              "  sys.stdout.line_buffering, sys.stdout.write_through, sys.stdin.isatty(), sys.stdout.fileno())\n"),
    ("closed stdout", "import sys\nprint('a')\nsys.stdout.close()\n"),
    ("closed stdout fd", "import os\nprint('a')\nos.close(1)\nprint('b')\n"),
    ("closed stderr", "import sys\nsys.stderr.close()\n1 / 0\n"),
    ("no stdout", "import sys\nsys.stdout = None\nprint('a')\nsys.stderr.write('e')\n"),
    ("own stdout", "import sys\nclass O:\n    def write(self, s): sys.__stdout__.write(s.upper())\n"
                   "    def flush(self): sys.__stdout__.write('F')\nsys.stdout = O()\nprint('abc')\n"),
    ("flush fails", "import sys\nclass O:\n    def write(self, s): pass\n    def flush(self): raise ValueError('fl')\n"
                    "sys.stdout = O()\n"),
    ("bytes out", "import sys\nsys.stdout.buffer.write(b'abc\\x7f\\n')\nsys.stdout.write('t')\n"),
    ("surrogate", "print('\\udc80')\n"),
    ("recursion", "def f(n): return f(n + 1)\nf(0)\n"),
    ("recursion depth", "import sys\nprint(sys.getrecursionlimit())\nn = 0\ndef f():\n    global n\n    n += 1\n    f()\n"
                        "try:\n    f()\nexcept RecursionError as e:\n    print(n, e)\n"),
    ("frames", "import sys, inspect, traceback\nprint(sys._getframe().f_back, len(inspect.stack()),\n"
               "  inspect.stack()[0][1:5], inspect.currentframe().f_code.co_name, inspect.getfile(lambda: 0))\n"
               "def f(): traceback.print_stack()\nf()\nprint(inspect.getsource(f))\n"
               "try:\n    sys._getframe(1)\nexcept ValueError as e:\n    print(e)\n"),
    ("excepthook", "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__, a[2].tb_lineno)\n1 / 0\n"),
    ("excepthook fails", "import sys\ndef h(*a): raise TypeError('in hook')\nsys.excepthook = h\n1 / 0\n"),
    ("excepthook exits", "import sys\nsys.excepthook = lambda *a: sys.exit(8)\n1 / 0\n"),
    ("unraisable", "class D:\n    def __del__(self): raise ValueError('in del')\nd = D()\ndel d\nprint('on')\n"),
    ("del at exit", "class D:\n    def __init__(self, n): self.n = n\n    def __del__(self): print('del', self.n)\n"
                    "a = D('global')\n_b = D('private')\ndef f(): pass\nf.d = D('attribute')\nprint('end')\n"),
    ("del order", "class D:\n    def __init__(self, n): self.n = n\n    def __del__(self): print('del', self.n)\n"
                  "z = D(1)\na = D(2)\n_z = D(3)\n__x = D(4)\nx = [D(5)]\nm = D(6)\n"),
    ("del cycle", "class D:\n    def __del__(self): print('cycle')\nd = D()\nd.me = d\ndel d\nprint('end')\n"),
    ("del sees globals", "import os\nG = 5\nclass D:\n    def __del__(self): print(G, os is not None, print)\nd = D()\n"),
    ("del imports", "class D:\n    def __del__(self):\n        import json\n        print(json.dumps([1]))\nd = D()\n"),
    ("del in module", "import sys, types\nclass D:\n    def __del__(self): print('module del')\n"
                      "m = types.ModuleType('m')\nm.d = D()\nsys.modules['m'] = m\ndel m\n"),
    ("del attribute of sys", "import sys, builtins\nclass D:\n    def __init__(self, n): self.n = n\n"
                             "    def __del__(self): print('del', self.n)\nsys.mine = D('sys')\n"),
    ("del on builtins", "import builtins\nclass D:\n    def __del__(self): print('builtins del')\nbuiltins.mine = D()\n"),
    ("del on a module", "import json\nclass D:\n    def __del__(self): print('json del')\njson.mine = D()\n"),
    ("del raises at exit", "class D:\n    def __del__(self): raise ValueError('late')\nd = D()\n"),
    ("del after error", "class D:\n    def __del__(self): print('gone')\ndef f():\n    d = D()\n    1 / 0\nf()\n"),
    ("del last traceback", "import sys\nclass D:\n    def __del__(self): print('gone', hasattr(sys, 'last_type'))\n"
                           "def f():\n    d = D()\n    raise ValueError('v')\nf()\n"),
    ("weakref at exit", "import weakref\nclass D: pass\nd = D()\nweakref.finalize(d, print, 'finalized')\n"
                        "e = D()\nr = weakref.ref(e, lambda _: print('ref gone'))\nprint('end')\n"),
    ("generator at exit", "def g():\n    try:\n        yield 1\n    finally:\n        print('closed')\nx = g()\nnext(x)\n"),
    ("buffered file", "f = open('/tmp/o', 'w')\nf.write('kept')\nimport atexit\n"
                      "atexit.register(lambda: (f.flush(), print(open('/tmp/o').read())))\n"),
    ("logging", "import logging\nlogging.basicConfig(level=10, format='%(levelname)s %(name)s %(threadName)s %(process)d'\n"
                "  .replace('%(process)d', '') + ' %(message)s %(filename)s %(lineno)d %(module)s')\n"
                "logging.info('hi')\nlogging.getLogger('a.b').error('bad')\n"
                "h = logging.StreamHandler()\nh.close = lambda: print('handler closed')\nlogging.getLogger().addHandler(h)\n"),
    ("memory handler", "import logging, logging.handlers\nl = logging.getLogger()\n"
                       "l.addHandler(logging.handlers.MemoryHandler(99, target=logging.StreamHandler()))\n"
                       "l.warning('kept until shutdown')\n"),
    ("asyncio", "import asyncio\nasync def f(n):\n    await asyncio.sleep(0.001 * n)\n    return n\n"
                "async def main():\n    print(await asyncio.gather(*(f(n) for n in range(5))))\nasyncio.run(main())\n"),
    ("never awaited", "async def f(): pass\nf()\nprint('x')\n"),
    ("subprocess", "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'import sys; print(sys.argv, sys.stdin.read())', 'q'],\n"
                   "  capture_output=True, input=b'in').stdout)\nsubprocess.run(['sh', '-c', 'cat; echo $NAME; exit 3'])\n"),
    ("fork", "import os, sys\nprint('before', flush=True)\npid = os.fork()\nif pid == 0:\n    print('child', flush=True)\n    sys.exit(3)\n"
             "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"),
    ("fork atexit", "import atexit, os\natexit.register(lambda: print('exit', os.getpid() == P, flush=True))\nP = os.getpid()\n"
                    "pid = os.fork()\nif pid: os.waitpid(pid, 0)\n"),
    ("exec", "import os, sys\nos.execv(sys.executable, ['p', '-c', 'import sys; print(sys.argv, open(0).read())', 'z'])\n"),
    ("multiprocessing", "import multiprocessing as m\ndef f(x): return x * x\n"
                        "if __name__ == '__main__':\n    m.set_start_method('fork')\n    q = m.SimpleQueue()\n"
                        "    p = m.Process(target=q.put, args=(f(7),))\n    p.start(); p.join()\n"
                        "    print(q.get(), p.exitcode, m.current_process().name)\n"),
    ("multiprocessing spawn", "import multiprocessing as m\ndef f(q): q.put(__name__)\n"
                              "if __name__ == '__main__':\n    c = m.get_context('spawn')\n    q = c.SimpleQueue()\n"
                              "    p = c.Process(target=f, args=(q,))\n    p.start()\n    print(q.get())\n    p.join()\n"
                              "    print(p.exitcode)\n"),
    ("import main", "import sys\nx = 5\nif __name__ == '__main__':\n    import main\n    print(main.x, main.__name__, main is sys.modules['main'])\n"),
    ("own module", "import helper\nprint(helper.__file__, helper.X, sorted(__import__('sys').path_importer_cache))\n"),
    ("package resources", "import importlib.resources, importlib.util, pkgutil, sys\n"
                          "print(importlib.util.find_spec('nowhere'), importlib.util.find_spec('helper').origin,\n"
                          "  [m.name for m in pkgutil.iter_modules(['.'])], pkgutil.get_data('helper', 'helper.py')[:5])\n"),
    ("pickle", "import pickle\nclass A:\n    def __init__(self): self.x = 1\nb = pickle.dumps(A())\nprint(b, pickle.loads(b).x)\n"),
    ("dataclass repr", "import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int = 3\nprint(P(), P.__module__, repr(P))\n"),
    ("doctest", "def f():\n    '''\n    >>> f()\n    2\n    '''\n    return 1\nimport doctest\ndoctest.testmod()\n"),
    ("unittest", "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 2)\n"
                 "import sys\nsys.argv[1:] = []\ntry:\n    unittest.main()\nexcept SystemExit as e:\n    print(e.code)\n"
                 .replace("unittest.main()", "unittest.main(testRunner=unittest.TextTestRunner(stream=open('/dev/null', 'w')))")),
    ("argparse", "import argparse\np = argparse.ArgumentParser()\np.add_argument('n', type=int)\np.parse_args()\n"),
    ("linecache", "import linecache, tokenize\nprint(linecache.getline(__file__, 1), tokenize.open(__file__).read()[:20])\n"),
    ("gc", "import gc\nprint(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.garbage, gc.callbacks)\n"),
    ("gc freeze", "import gc\nprint(gc.get_freeze_count() >= 0)\nclass A: pass\na = A(); a.a = a; del a\nprint(gc.collect() >= 1)\n"),
    ("tracing", "import sys\nprint(sys.gettrace(), sys.getprofile(), sys.getswitchinterval(), sys.getallocatedblocks() > 0,\n"
                "  sys.displayhook, sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__,\n"
                "  sys.breakpointhook is sys.__breakpointhook__, sys.dont_write_bytecode, sys.pycache_prefix)\n"),
    ("settrace", "import sys\ndef t(f, e, a):\n    if f.f_code.co_filename == __file__: print(e, f.f_code.co_name, f.f_lineno)\n    return t\n"
                 "def f():\n    x = 1\n    return x\nsys.settrace(t)\nf()\nsys.settrace(None)\n"),
    ("audit", "import sys\nsys.addaudithook(lambda e, a: print(e, a[:1]) if e == 'open' and a[0] == '/etc/hostname' else None)\n"
              "try:\n    open('/etc/hostname')\nexcept OSError: pass\n"),
    ("locale", "import locale, sys, time\nprint(locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding(),\n"
               "  sys.getfilesystemencodeerrors(), locale.setlocale(locale.LC_ALL), time.tzname, '\u00e9')\n"),
    ("interactive names", "print(exit, quit, copyright.__class__, help, _ if '_' in globals() else None)\n"),
    ("builtins", "import builtins\nprint(sorted(set(dir(builtins))), '__debug__' in dir(builtins))\n"),
    ("contextvars", "import contextvars, decimal\nc = contextvars.ContextVar('c', default=1)\nprint(c.get(), len(contextvars.copy_context()),\n"
                    "  decimal.getcontext())\n"),
    ("int limit", "import sys\nprint(sys.get_int_max_str_digits(), sys.int_info)\nint('1' * 5000)\n"),
    ("memory error", "x = bytearray(1 << 60)\n"),
    ("stop async", "raise StopIteration(5)\n"),
    ("generator exit", "raise GeneratorExit\n"),
    ("base exception", "class B(BaseException): pass\nraise B('base')\n"),
    ("error without str", "class B(Exception):\n    def __str__(self): raise ValueError\nraise B\n"),
    ("assertion", "x = 1\nassert x == 2, 'unequal'\n"),
    ("name error", "pritn('x')\n"),
    ("attribute suggestion", "import sys\nsys.exti(1)\n"),
    ("import error", "import nowhere.at_all\n"),
    ("carets", "d = {'a': {'b': None}}\nprint(d['a']['b']['c'] + 1)\n"),
    ("exec compile", "exec(compile('def f():\\n  raise ValueError(1)\\nf()', '<mine>', 'exec'))\n"),
    ("runpy", "import runpy\nprint(runpy.run_path('helper.py')['X'])\n"),
    ("code", "import code\ncode.InteractiveInterpreter().runsource('print(1+1)')\n"),
    ("breakpoint", "breakpoint()\nprint('after')\n"),
    ("del argv", "import sys\ndel sys.argv, sys.path[0]\nprint('x')\n"),
    ("del stdout", "import sys\ndel sys.stdout\nprint('x')\n"),
    ("del modules", "import sys\nsys.modules.clear()\nprint('x')\n"),
    ("clear main", "globals().clear()\n"),
    ("replace main", "import sys, types\nsys.modules['__main__'] = types.ModuleType('other')\nprint(__name__)\n"),
    ("patched builtins", "import builtins\nbuiltins.print = None\nbuiltins.open = None\nimport sys\nsys.stdout.write('w')\n"),
    ("patched os", "import os\nos._exit = None\nos.read = None\nos.environ = {}\nprint('p')\n"),
    ("chdir", "import os\nos.chdir('/tmp')\n1 / 0\n"),
    ("remove itself", "import os\nos.remove(__file__)\ndef f():\n    raise ValueError('source is gone')\nf()\n"),
    ("change itself", "open(__file__, 'w').write('raise SystemExit(1)\\n')\n1 / 0\n"),
    ("tracemalloc", "import tracemalloc\nprint(tracemalloc.is_tracing())\ntracemalloc.start()\nx = [1] * 10\nprint(tracemalloc.get_traced_memory()[0] > 0)\n"),
    ("sqlite", "import sqlite3\nc = sqlite3.connect(':memory:')\nprint(c.execute('select 1+1').fetchall())\n"),
    ("ctypes", "import ctypes\nprint(ctypes.CDLL(None).strlen(b'abc'), ctypes.pythonapi.Py_IsInitialized())\n"),
    ("ctypes callback", "import ctypes\nC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)\n"
                        "l = (ctypes.c_int * 3)(3, 1, 2)\nd = lambda p: ctypes.c_int.from_address(p).value\n"
                        "ctypes.CDLL(None).qsort(l, 3, 4, C(lambda a, b: d(a) - d(b)))\nprint(list(l))\n"),
    ("signals and alarm", "import signal, time\nsignal.signal(signal.SIGALRM, lambda *a: (_ for _ in ()).throw(TimeoutError('late')))\n"
                          "signal.setitimer(signal.ITIMER_REAL, 0.05)\ntime.sleep(5)\n"),
    ("alarm death", "import signal, time\nsignal.alarm(1)\ntime.sleep(5)\n"),
    ("broken pipe", "import os, sys\nr, w = os.pipe()\nos.close(r)\ntry:\n    os.write(w, b'x')\nexcept BrokenPipeError as e:\n    print(e)\n"),
    ("tempfile", "import tempfile, os\nprint(tempfile.gettempdir(), os.listdir('/tmp'), os.listdir('/dev/shm'))\n"),
    ("getrefcount", "x = object()\nimport sys\nprint(sys.getrefcount(x), sys.getrefcount(__name__) > 1)\n"),
    ("type names", "class A: pass\nprint(A, A(), A.__qualname__)\n".replace("A(), ", "")),
)
_HELPER = {"files": [{"path": "helper.py", "content": "X = 5\n"}]}
_BIG = dict(GIVEN, stdin="0123456789abcdef" * 65536)

PYTHON = [(name, code, dict(given, **_HELPER)) for name, code, given in _PLAIN] + [
    ("big stdin", "import sys, hashlib\nd = sys.stdin.buffer.read()\nprint(len(d), hashlib.sha256(d).hexdigest())\n", _BIG),
    ("unread stdin", "print('not read')\n", _BIG),
    ("lines of stdin", "import sys\nprint(sum(1 for _ in sys.stdin), sys.stdin.readline() == '')\n",
     dict(GIVEN, stdin="line\n" * 20000)),
    ("no stdin", "import sys\nprint(repr(sys.stdin.read()))\ninput()\n", {}),
    ("no arguments", "import sys\nprint(sys.argv, sys.orig_argv)\n", {}),
    ("many arguments", "import sys\nprint(sys.argv)\n", {"args": [str(i) for i in range(200)]}),
    ("odd stdin", "import sys\nprint(ascii(sys.stdin.read()))\n", {"stdin": "\u0000\u00ff\ud7ff\r\n\r\u2028\ue000"}),
    ("big output", "import sys\nfor i in range(20000): print(i, 'x' * 20)\nprint('e' * 9999, file=sys.stderr)\n", {}),
    ("long program", "x = [\n" + "  1,\n" * 20000 + "]\nprint(len(x))\n1 / 0\n", {}),
]

# ---- the others ----

OTHERS = {
    "javascript": programs(
        ("names", "console.log(process.argv, process.execArgv, process.title, __filename, __dirname, require.main === module,\n"
                  "  module.id, module.filename, module.paths, module.children, module.parent, Object.keys(require.cache));\n"
                  "console.log(process.env, process.argv0, process.execPath, this === module.exports)"),
        ("globals", "console.log(Object.getOwnPropertyNames(globalThis).sort().join())"),
        ("error", "function f() { null.x }\nf()"),
        ("thrown text", "throw 'text'"),
        ("syntax error", "console.log(1)\nlet = = 1"),
        ("rejection", "Promise.reject(new Error('x'))"),
        ("exit code", "process.exitCode = 3; process.on('exit', c => console.log('bye', c))"),
        ("stdin", "process.stdin.on('data', d => console.log(String(d))).on('end', () => console.log('end'))"),
        ("stdin at once", "console.log(require('fs').readFileSync(0, 'utf8'))"),
        ("modules", "import('fs').then(m => console.log(typeof m.readFileSync)); console.log(require('./helper').X)"),
        ("module syntax", "import fs from 'fs'; console.log(fs)"),
        ("trace", "console.trace('here'); console.log(new Error('e').stack)"),
        ("child", "console.log(require('child_process').execFileSync(process.execPath, ['-p', 'process.argv.length']).toString())"),
        ("forked", "const {fork} = require('child_process');\nif (process.argv[2] === 'c') console.log('child', process.execArgv, process.argv)\n"
                   "else fork(__filename, ['c'])"),
        ("worker", "const {Worker, isMainThread, workerData} = require('worker_threads');\n"
                   "if (isMainThread) new Worker(__filename, {workerData: 5}); else console.log('worker', workerData, process.execArgv)"),
        ("descriptors", "console.log(require('fs').readdirSync('/proc/self/fd').length)"),
        ("killed", "process.kill(process.pid, 'SIGTERM'); setTimeout(() => 0, 5000)"),
        ("timers", "setTimeout(() => console.log(2), 1500); setImmediate(() => console.log(1)); process.nextTick(() => console.log(0))"),
        ("shebang", "#!/usr/bin/env node\nconsole.log('shebang'); throw new Error('line 2')"),
        ("not awaited", "await 1"),
        ("empty", " "),
    ),
    "bash": programs(
        ("names", "echo \"$#\" \"$@\" $0 \"$BASH_SOURCE\" $LINENO \"$-\" \"$?\" \"$!\" \"$NAME\" \"$OTHER\" $SHLVL $BASHOPTS $SHELLOPTS \"$_\""),
        ("variables", "declare -p | grep -v -E '(BASHPID|BASH_ARG[CV]|BASH_ARGV0|RANDOM|SRANDOM|EPOCH[A-Z]*|PPID|SECONDS|PIPESTATUS|_)(=|$)'"),
        ("environment", "env | sort; pwd; ls; ls /proc/self/fd | wc -l; umask; ulimit -a"),
        ("functions", "declare -F; alias; trap; jobs; hash; type cd; caller; set -o; shopt"),
        ("error", "nosuchcommand; cd /nowhere; echo $?"),
        ("syntax error", "echo a\nif then\n"),
        ("unset", "set -u\necho $nowhere"),
        ("errexit", "set -e\ntrap 'echo at exit $?' EXIT\nfalse\necho never"),
        ("exit", "trap 'echo bye' EXIT; exit 300"),
        ("killed", "kill -TERM $$"),
        ("stdin", "read a; echo \"[$a]\"; cat; read b; echo $?"),
        ("arrays", "a=(1 2 3); echo ${a[@]:1} ${#a[@]}; declare -A m=([x]=1); echo ${m[x]}; mapfile -t l <<< $'a\\nb'; echo ${l[1]}"),
        ("shift", "shift 2; echo $1 $#; set --; echo $#"),
        ("here", "cat <<X\n$NAME $((1+1)) $(echo sub)\nX"),
        ("background", "sleep 0.05 & wait $!; echo $? ${PIPESTATUS[@]}; true | false; echo ${PIPESTATUS[@]}"),
        ("seconds", "echo $SECONDS"),
        ("shebang", "#!/bin/bash -x\necho hi"),
        ("no newline", "echo a"),
    ),
    "ruby": programs(
        ("names", "p ARGV, $0, $PROGRAM_NAME, __FILE__, __dir__, __method__, self, $*, $LOAD_PATH, ARGV.map(&:encoding), ARGV.map(&:frozen?)\n"
                  "p $LOADED_FEATURES, Encoding.default_external, Encoding.default_internal, $VERBOSE, $DEBUG, $;, $,, $/"),
        ("main", "puts 'main' if __FILE__ == $0; p caller, binding.local_variables, global_variables.sort, self.class.instance_methods(false)"),
        ("environment", "p ENV.to_h; p Dir.pwd, Dir.children('.').sort; system('ls /proc/self/fd | wc -l')"),
        ("error", "def f\n  raise ArgumentError, 'x'\nend\nf"),
        ("chained", "begin\n  Integer('x')\nrescue => e\n  raise 'again'\nend"),
        ("suggestion", "[].frist"),
        ("highlight", "nil.foo + 1"),
        ("syntax error", "puts 1\nx = = 1"),
        ("exit", "at_exit { puts 'bye'; exit 4 }\nexit 3"),
        ("exit!", "at_exit { puts 'never' }\nexit! 3"),
        ("abort", "abort 'no'"),
        ("stdin", "p STDIN.read, STDIN.eof?, gets"),
        ("gets", "ARGV.clear\np gets, gets, gets"),
        ("data", "p DATA.read, DATA.lineno, DATA.class\n__END__\nhello\n"),
        ("killed", "Process.kill(:TERM, $$); sleep 1"),
        ("interrupted", "Process.kill(:INT, $$); sleep 1"),
        ("threads", "Thread.new { puts 't' }.join\nThread.new { raise 'in thread' }.join"),
        ("warning", "warn 'w'\nX = 1\nX = 2"),
        ("require", "require_relative 'helper'\nrequire 'json'\nputs JSON.dump([1]), HELPER"),
        ("finalizer", "ObjectSpace.define_finalizer('x'.dup, proc { puts 'final' })"),
        ("shebang", "#!/usr/bin/ruby -w\nx = 5\nputs 'shebang'"),
        ("magic comment", "# frozen_string_literal: true\n'a' << 'b'"),
        ("begin", "puts 1\nBEGIN { puts 0 }\nEND { puts 2 }"),
        ("utf8", "puts 'h\u00e9llo'.size, 'h\u00e9llo'"),
    ),
    "php": programs(
        ("names", "<?php var_dump($argv, $argc, __FILE__, __DIR__, __LINE__, $_SERVER['argv'], $_SERVER['argc'], $_SERVER['SCRIPT_NAME'],\n"
                  "  $_SERVER['PHP_SELF'], PHP_SAPI, getcwd(), get_included_files()[0]);"),
        ("globals", "<?php var_dump(array_keys(get_defined_vars()), array_keys($GLOBALS), get_defined_functions()['user']);"),
        ("environment", "<?php $e = getenv(); ksort($e); var_dump($e, getenv('NAME')); foreach ($_SERVER as $k => $v)\n"
                        "  if (!str_starts_with($k, 'REQUEST_TIME')) echo $k, '=', json_encode($v), \"\\n\"; var_dump($_ENV, $_GET); system('env | sort');"),
        ("time", "<?php var_dump(time() - $_SERVER['REQUEST_TIME'] < 2);"),
        ("error", "<?php\nfunction f() { throw new RuntimeException('x'); }\nf();"),
        ("warning", "<?php echo $nowhere; echo [][1]; trigger_error('mine', E_USER_WARNING); 1 % 0;"),
        ("syntax error", "<?php echo 1;\necho 1 +;"),
        ("trace", "<?php function f() { debug_print_backtrace(); var_dump(count(debug_backtrace())); } f(); debug_print_backtrace();"),
        ("exit", "<?php register_shutdown_function(fn() => print('bye')); exit(3);"),
        ("exit text", "<?php exit('said');"),
        ("stdin", "<?php var_dump(fgets(STDIN), stream_get_contents(STDIN), feof(STDIN));"),
        ("text", "hello <?= 1 + 1 ?> there\n"),
        ("shebang", "#!/usr/bin/php\n<?php echo __LINE__;"),
        ("strict", "<?php declare(strict_types=1); namespace A; class B { function __destruct() { echo 'gone'; } } $b = new B; var_dump($b, __NAMESPACE__);"),
        ("include", "<?php include 'helper.php'; var_dump(X, basename(get_included_files()[count(get_included_files()) - 1]));"),
        ("classes", "<?php class Z {} var_dump(array_slice(get_declared_classes(), -1), spl_object_id(new Z), ini_get('memory_limit'), error_reporting());"),
        ("killed", "<?php posix_kill(posix_getpid(), 15); sleep(2);"),
        ("memory", "<?php ini_set('memory_limit', '4M'); $a = str_repeat('x', 1 << 24);"),
        ("halt", "<?php echo file_get_contents(__FILE__, false, null, __COMPILER_HALT_OFFSET__); __halt_compiler();data"),
    ),
    "perl": programs(
        ("names", "print \"@ARGV|$0|$^X|\", __FILE__, '|', __LINE__, '|', __PACKAGE__, '|', join(',', sort keys %INC), '|', join(',', @INC), \"\\n\";\n"
                  "print time - $^T < 2, $^W, ${^TAINT}, $;, $,, \"\\n\""),
        ("environment", "print map { \"$_=$ENV{$_}\\n\" } sort keys %ENV; system('env | sort; ls /proc/self/fd | wc -l'); print `pwd; ls`"),
        ("die", "sub f { die 'x' }\nf();"),
        ("die object", "die { code => 5 }"),
        ("die status", "$! = 5; die \"no line\\n\""),
        ("strict", "use strict;\nuse warnings;\n$x = 1;"),
        ("warnings", "use warnings; my $x; print 'a' . $x; warn 'mine'"),
        ("syntax error", "print 1;\nprint 1 +;"),
        ("exit", "END { print 'bye' }\nexit 3"),
        ("stdin", "print scalar <STDIN>; print <STDIN>; print defined <STDIN> ? 1 : 0"),
        ("arguments as files", "print $ARGV[0]; shift while @ARGV; print <>"),
        ("data", "print <DATA>, $.;\n__DATA__\nhello\nyou\n"),
        ("end", "print __LINE__, \"\\n\"; print <main::DATA>;\n__END__\nrest\n"),
        ("caller", "print defined caller() ? 1 : 0; use Carp; sub f { Carp::cluck('here') } f(); BEGIN { print 'begin ' } INIT { print 'init ' }"),
        ("shebang", "#!/usr/bin/perl -w\nmy $x;\nprint 'a' . $x, __LINE__"),
        ("shebang options", "#!/usr/bin/perl -lan\nprint $F[0]"),
        ("utf8", "use utf8; print length('\u00e9'), \"\\n\"; no utf8; print length('\u00e9')"),
        ("modules", "use List::Util 'sum'; use Data::Dumper; $Data::Dumper::Sortkeys = 1; print Dumper({a => 1, b => [1, 2]}), sum(1..4); require './helper.pl'; print $X"),
        ("killed", "kill TERM => $$; sleep 2"),
        ("fork", "$| = 1; if (my $p = fork) { waitpid $p, 0; print $? >> 8 } else { print 'child '; exit 4 }"),
        ("destroy", "package D; sub new { bless {} } sub DESTROY { print 'gone' } package main; our $d = D->new; print 'end '"),
        ("format", "format STDOUT =\n@<<< @>>>\n'a', 5\n.\nwrite"),
        ("eval", "eval { die 'in' }; print $@; eval 'die'; print $@; print eval '__LINE__'"),
    ),
    "lua": programs(
        ("names", "print(...) for i = -9, 9 do if arg[i] then print(i, arg[i]) end end print(#arg, _VERSION, package.path, package.cpath)"),
        ("globals", "local n = {} for k in pairs(_G) do n[#n + 1] = k end table.sort(n) print(table.concat(n, ',')) for k in pairs(package.loaded) do n[#n + 1] = k end print(#n)"),
        ("environment", "print(os.getenv('NAME'), os.getenv('OTHER'), os.getenv('LUA_INIT'), os.getenv('PADDOCK_SPARE')) os.execute('env | sort; ls /proc/self/fd | wc -l')"),
        ("error", "local function f() error('x') end\nf()"),
        ("error object", "error({})"),
        ("error with tostring", "error(setmetatable({}, {__tostring = function() return 'mine' end}))"),
        ("syntax error", "print(1)\nx = = 1"),
        ("exit", "os.exit(7, true)"),
        ("close", "local x <close> = setmetatable({}, {__close = function() print('closed') end}) setmetatable({}, {__gc = function() print('gc') end})"),
        ("stdin", "print(io.read('l')) print(io.read('a')) print(io.read('l'))"),
        ("traceback", "print(debug.traceback('t')) print(debug.getinfo(1).source, debug.getinfo(1).short_src, debug.getinfo(2) and debug.getinfo(2).what)"),
        ("require", "print(require('helper').X, package.loaded.helper ~= nil) require('nowhere')"),
        ("shebang", "#!/usr/bin/lua\nprint('shebang') error('line 2')"),
        ("killed", "os.execute('kill -TERM $PPID') io.read('a') while true do end"),
        ("returns", "return 5"),
    ),
    "r": programs(
        ("names", "cat(commandArgs(), '\\n'); cat(commandArgs(TRUE), '\\n'); print(search()); print(ls(all.names = TRUE)); print(interactive()); print(getwd()); print(list.files())"),
        ("environment", "cat(Sys.getenv('NAME'), Sys.getenv('OTHER'), Sys.getenv('PADDOCK_SPARE', 'none'), '\\n'); e <- Sys.getenv(); print(e[names(e) != 'R_SESSION_TMPDIR'])"),
        ("base", "print(length(ls(baseenv(), all.names = TRUE))); print(loadedNamespaces()); print(names(getLoadedDLLs())); print(sessionInfo())"),
        ("options", "o <- options(); print(names(o)); print(o$warn); print(o$defaultPackages); print(o$digits); print(o$repos)"),
        ("stop", "f <- function() stop('x')\nf()"),
        ("warning", "warning('w'); print(1:3); message('m'); as.integer('x')"),
        ("syntax error", "print(1)\nx = = 1"),
        ("incomplete", "f <- function( {"),
        ("quit", "quit(status = 7)"),
        ("last", ".Last <- function() cat('last\\n')\nreg.finalizer(globalenv(), function(e) cat('finalized\\n'), onexit = TRUE)\ncat('end\\n')"),
        ("stdin", "print(readLines(file('stdin'), warn = FALSE)); print(readline('? '))"),
        ("statistics", "print(summary(lm(dist ~ speed, cars))); print(table(c(1, 1, 2)))"),
        ("seed", "print(exists('.Random.seed')); set.seed(1); print(runif(3)); print(RNGkind())"),
        ("calls", "f <- function() sys.calls(); print(f()); print(sys.nframe()); print(environmentName(environment()))"),
        ("source", "source('helper.R'); print(X)"),
        ("killed", "tools::pskill(Sys.getpid()); Sys.sleep(2)"),
        ("plot", "plot(1:3); print(file.exists('Rplots.pdf')); invisible(dev.off())"),
        **ASCII),
}

_FILES = {"javascript": ("helper.js", "exports.X = 5\n"), "ruby": ("helper.rb", "HELPER = 5\n"),
          "php": ("helper.php", "<?php const X = 5;\n"), "perl": ("helper.pl", "$X = 5; 1;\n"),
          "lua": ("helper.lua", "return {X = 5}\n"), "r": ("helper.R", "X <- 5\n"),
          "bash": ("helper.sh", "X=5\n")}
OTHERS = {language: [(name, code, dict(given, files=[{"path": _FILES[language][0],
                                                       "content": _FILES[language][1]}]))
                     for name, code, given in listed]
          for language, listed in OTHERS.items()}
