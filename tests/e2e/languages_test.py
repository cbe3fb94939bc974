"""Every language of the catalogue, with real runs; and that a program cannot tell a
waiting interpreter from one that was started for it."""

import base64
import os
import re
import time
import unittest

import same_programs
from lib.service import ROOT, Service, manifest, short_form, wait_for

IMAGE = "paddock-sandbox:all"
ROOMY = "{cpu: '2', memory: 1Gi, pids: 128, disk: 128Mi}"

# Each says hello, what it was given, and ends with 7.
HELLO = {
    "python": """import os, sys
print("hello", ",".join(sys.argv[1:]), "stdin=" + sys.stdin.read(), "env=" + os.environ["NAME"])
print("oops", file=sys.stderr)
sys.exit(7)
""",
    "javascript": """const fs = require('fs');
console.log('hello', process.argv.slice(2).join(','), 'stdin=' + fs.readFileSync(0),
  'env=' + process.env.NAME);
console.error('oops');
process.exit(7);
""",
    "typescript": """import * as fs from 'fs';
const given: string[] = process.argv.slice(2);
console.log('hello', given.join(','), `stdin=${fs.readFileSync(0)}`, 'env=' + process.env.NAME);
console.error('oops');
process.exit(7);
""",
    "bash": """IFS=,
echo "hello $* stdin=$(cat) env=$NAME"
echo oops >&2
exit 7
""",
    "c": """#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    char line[100];
    printf("hello %s,%s", argv[1], argv[argc - 1]);
    printf(" stdin=%s", fgets(line, sizeof line, stdin));
    printf(" env=%s\\n", getenv("NAME"));
    fprintf(stderr, "oops\\n");
    return 7;
}
""",
    "cpp": """#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>
int main(int argc, char **argv)
{
    std::vector<std::string> given(argv + 1, argv + argc);
    std::string line;
    std::getline(std::cin, line);
    std::cout << "hello " << given[0] << "," << given[1] << " stdin=" << line
              << " env=" << std::getenv("NAME") << std::endl;
    std::cerr << "oops" << std::endl;
    return 7;
}
""",
    "java": """import java.util.Scanner;
public class Main {
    public static void main(String[] given) {
        System.out.println("hello " + String.join(",", given) + " stdin="
            + new Scanner(System.in).nextLine() + " env=" + System.getenv("NAME"));
        System.err.println("oops");
        System.exit(7);
    }
}
""",
    "go": """package main
import ("fmt"; "io"; "os"; "strings")
func main() {
    in, _ := io.ReadAll(os.Stdin)
    fmt.Printf("hello %s stdin=%s env=%s\\n", strings.Join(os.Args[1:], ","), in, os.Getenv("NAME"))
    fmt.Fprintln(os.Stderr, "oops")
    os.Exit(7)
}
""",
    "ruby": """puts "hello #{ARGV.join(',')} stdin=#{STDIN.read} env=#{ENV['NAME']}"
warn "oops"
exit 7
""",
    "php": """<?php
echo "hello ", implode(",", array_slice($argv, 1)), " stdin=", stream_get_contents(STDIN),
  " env=", getenv("NAME"), "\\n";
fwrite(STDERR, "oops\\n");
exit(7);
""",
    "perl": """print "hello ", join(",", @ARGV), " stdin=", <STDIN>, " env=$ENV{NAME}\\n";
print STDERR "oops\\n";
exit 7;
""",
    "lua": """print("hello " .. table.concat({...}, ",") .. " stdin=" .. io.read("a") .. " env="
  .. os.getenv("NAME"))
io.stderr:write("oops\\n")
os.exit(7)
""",
    "r": """line <- readLines(file("stdin"), warn = FALSE)
cat("hello ", paste(commandArgs(TRUE), collapse = ","), " stdin=", line, " env=",
    Sys.getenv("NAME"), "\\n", sep = "")
message("oops")
quit(status = 7)
""",
}
COMPILED = {"typescript", "c", "cpp", "java", "go"}
GIVEN = {"args": ["a b", "c"], "stdin": "given", "env": {"NAME": "v=1"}}


def pool(**spec):
    spec.setdefault("minSize", "1")
    return manifest("x", image=IMAGE, maxSize="1", resources=ROOMY, **spec)


def pools(**named):
    return {name: text.replace("{name: x}", "{name: %s}" % name) for name, text in named.items()}


def ways():
    """Cold: the plain interpreter. The others: waiting ones, of either kind."""
    return pools(cold=pool(warm="{spares: 0, zygote: false}"),
                 zygote=pool(warm="{spares: 1, zygote: true}"),
                 spare=pool(warm="{spares: 1, zygote: false}"))


def outcome(answer):
    """What must be the same; addresses differ from run to run."""
    def plain(value):
        return re.sub(r"0x[0-9a-f]{6,}", "0x0", value) if isinstance(value, str) else value
    return {key: plain(answer[key]) for key in ("stdout", "stderr", "exit_code", "signal", "status")}


def started(service, how, code, language, **more):
    """A run in the pool of that name that was started in that way."""
    for attempt in range(40):
        answer = service.execute(code, language, pool=how, **more)
        if answer["start"] == how or how == "cold":
            return answer
        time.sleep(0.1 * (attempt + 1))  # a busy machine starts an interpreter in seconds
    raise AssertionError("no run of %s was started as a %s: %s" % (language, how, answer))


class Languages(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.service = Service(short_form(0, 1), ways())
        cls.service.start()

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def check_hello(self, answer):
        self.assertEqual(answer["stdout"],
                         "hello a b,c stdin=given env=v=1\n", answer)
        self.assertEqual(answer["stderr"], "oops\n", answer)
        self.assertEqual((answer["exit_code"], answer["status"], answer["stage"]),
                         (7, "exited", "run"), answer)

    def test_each_says_hello(self):
        for language, code in HELLO.items():
            with self.subTest(language=language):
                answer = self.service.execute(code, language, pool="cold", **GIVEN)
                self.check_hello(answer)
                self.assertEqual("compile" in answer, language in COMPILED, answer)

    def test_each_interpreter_waits_for_its_program(self):
        for language in HELLO:
            if language in COMPILED:
                continue
            how = "zygote" if language == "python" else "spare"
            with self.subTest(language=language):
                self.check_hello(started(self.service, how, HELLO[language], language, **GIVEN))

    def test_environment_read_at_the_start_gets_its_own_interpreter(self):
        started(self.service, "spare", "print(1)", "python")
        answer = self.service.execute("import sys; print(sys.flags.hash_randomization)", "python",
                                      pool="spare", env={"PYTHONHASHSEED": "0"})
        self.assertEqual((answer["stdout"], answer["start"]), ("0\n", "cell"), answer)

    def test_versions_become_known(self):
        def versions():
            """a version of every language"""
            listed = self.service.request("GET", "/languages").json["languages"]
            found = {l["name"]: l["version"] for l in listed}
            return found if all(found.get(name) for name in HELLO) else None
        found = wait_for(versions, 60)
        self.assertIn("Python 3.", found["python"])
        self.assertIn("gcc", found["c"])
        self.assertRegex(found["javascript"], r"^v\d+")

    def compare(self, language, programs, how):
        for name, code, given in programs:
            with self.subTest(language=language, program=name, how=how):
                plain = self.service.execute(code, language, pool="cold", **given)
                self.assertIn(plain["start"], ("cell", "cold"))
                waited = started(self.service, how, code, language, **given)
                self.assertEqual(outcome(waited), outcome(plain), code)

    def test_a_python_program_cannot_tell_a_zygote(self):
        self.compare("python", same_programs.PYTHON, "zygote")

    def test_a_python_program_cannot_tell_a_spare(self):
        self.compare("python", same_programs.PYTHON, "spare")

    def test_other_programs_cannot_tell_a_spare(self):
        for language, programs in same_programs.OTHERS.items():
            self.compare(language, programs, "spare")

    def test_every_run_is_fresh(self):
        code = ("import os, random, secrets, tempfile, time, uuid\n"
                "print(random.random(), random.getrandbits(64), secrets.token_hex(), uuid.uuid4(),\n"
                "      os.urandom(8).hex(), tempfile.mktemp(), time.time(), sep='\\n')\n")
        for how in ("zygote", "spare", "cold"):
            with self.subTest(how=how):
                seen = [started(self.service, how, code, "python")["stdout"].split("\n")[:-1]
                        for _ in range(3)]
                for values in zip(*seen):
                    self.assertEqual(len(set(values)), 3, values)

    def test_hash_seed_and_layout_are_fresh_in_a_spare(self):
        code = "print(hash('paddock'), id(object()), sep='\\n')"
        seen = [started(self.service, "spare", code, "python")["stdout"].split("\n")[:-1]
                for _ in range(3)]
        for values in zip(*seen):
            self.assertEqual(len(set(values)), 3, values)

    def test_other_languages_are_fresh(self):
        for language, code in (("javascript", "console.log(Math.random())"),
                               ("ruby", "puts rand, Random.rand, [].hash, Object.new.inspect"),
                               ("php", "<?php echo rand(), mt_rand(), random_int(0, 1 << 60);"),
                               ("perl", "print rand()"), ("lua", "print(math.random(), {})"),
                               ("r", "cat(runif(1))"), ("bash", "echo $RANDOM$RANDOM$RANDOM")):
            with self.subTest(language=language):
                seen = {started(self.service, "spare", code, language)["stdout"] for _ in range(3)}
                self.assertEqual(len(seen), 3, seen)

    # ---- compiling ----

    def test_a_compiler_that_fails_says_why(self):
        for language, code, word in (("c", "int main(void) { return nowhere; }", "nowhere"),
                                     ("cpp", "int main() { nowhere(); }", "nowhere"),
                                     ("java", "public class Main { int x = nowhere; }", "nowhere"),
                                     ("go", "package main\nfunc main() { nowhere() }", "nowhere"),
                                     ("typescript", "const x: = 1", "Unexpected")):
            with self.subTest(language=language):
                answer = self.service.execute(code, language, pool="cold")
                self.assertFalse(answer["success"])
                self.assertEqual((answer["stage"], answer["status"]), ("compile", "exited"), answer)
                self.assertNotEqual(answer["compile"]["exit_code"], 0)
                self.assertEqual(answer["compile"]["exit_code"], answer["exit_code"])
                self.assertIn(word, answer["compile"]["output"])
                self.assertIn(word, answer["output"])

    def test_a_compiler_that_warns_does_not_mix_with_the_program(self):
        answer = self.service.execute("#warning careful\n#include <stdio.h>\n"
                                      "int main(void) { puts(\"hi\"); }", "c", pool="cold")
        self.assertTrue(answer["success"], answer)
        self.assertEqual((answer["output"], answer["stderr"], answer["stderr_bytes"]),
                         ("hi\n", "", 0), answer)
        self.assertIn("careful", answer["compile"]["output"])
        self.assertEqual(answer["compile"]["exit_code"], 0)
        self.assertGreater(answer["compile"]["time"], 0)

    def test_compiling_does_not_eat_the_time_of_the_run(self):
        code = ("#include <iostream>\n#include <map>\n#include <regex>\n"
                "int main() { std::regex r(\"a+\"); std::cout << std::regex_match(\"aa\", r); }")
        answer = self.service.execute(code, "cpp", pool="cold", timeout=0.5)
        self.assertTrue(answer["success"], answer)
        self.assertEqual(answer["stdout"], "1")
        self.assertGreater(answer["compile"]["time"], 0.5)
        self.assertLess(answer["execution_time"], 0.5)

    def test_the_run_after_compiling_has_its_limits(self):
        answer = self.service.execute("int main(void) { for (;;) ; }", "c", pool="cold", timeout=0.3)
        self.assertEqual((answer["status"], answer["stage"]), ("timed_out", "run"), answer)
        self.assertEqual(answer["compile"]["exit_code"], 0)

    def test_compiling_has_a_limit_of_its_own(self):
        code = ("#if __INCLUDE_LEVEL__ < 60\n#include __FILE__\n#include __FILE__\n#endif\n"
                "int main(void) { return 0; }")
        more = pools(brief=pool(minSize="0", run="{timeout: 1s, maxTimeout: 2s}",
                                warm="{spares: 0, zygote: false}"))
        with Service(short_form(0, 1), more) as service:
            answer = service.execute(code, "c", pool="brief", timeout=1)
        self.assertEqual((answer["status"], answer["stage"]), ("timed_out", "compile"), answer)
        self.assertGreater(answer["compile"]["time"], 1.5)

    # ---- the catalogue ----

    def test_a_language_is_added_as_the_readme_says(self):
        with open(os.path.join(ROOT, "README.md")) as file:
            shown = re.search(r"```yaml\n(  - name: awk\n.*?)```", file.read(), re.S).group(1)
        with open(os.path.join(ROOT, "conf", "languages.yaml")) as file:
            catalogue = file.read() + "\n" + shown
        service = Service(short_form(0, 1), pools(cold=pool(warm="{spares: 0, zygote: false}")))
        with open(os.path.join(service.dir, "languages.yaml"), "w") as file:
            file.write(catalogue)
        with service:
            answer = service.execute("{ print $2; n++ } END { exit n }", "awk", pool="cold",
                                     stdin="a b\nc d\n")
            self.assertEqual((answer["stdout"], answer["exit_code"]), ("b\nd\n", 2), answer)

    def test_a_broken_catalogue_is_refused(self):
        service = Service()
        with open(os.path.join(service.dir, "languages.yaml"), "w") as file:
            file.write("languages:\n  - name: awk\n    file: main.awk\n")
        service.start(wait=False)
        self.assertNotEqual(service.process.wait(20), 0)
        self.assertRegex(service.log(), r"languages\.yaml.*run")

    # ---- files ----

    def test_files_in_and_artifacts_out(self):
        binary = bytes(range(256)) * 300
        files = [{"path": "data/in/a.bin", "encoding": "base64",
                  "content": base64.b64encode(binary).decode()},
                 {"path": "lib/__init__.py", "content": ""},
                 {"path": "lib/words.py", "content": "WORD = 'h\u00e9llo'\n"},
                 {"path": "plain.txt", "content": "a\u0000b"}]
        code = ("import os\nfrom lib.words import WORD\nos.makedirs('out/deep')\n"
                "data = open('data/in/a.bin', 'rb').read()\n"
                "open('out/deep/b.bin', 'wb').write(data[::-1])\n"
                "open('out/w.txt', 'w').write(WORD + open('plain.txt').read())\n"
                "open('out/unasked.dat', 'w').write('no')\n")
        for how in ("zygote", "cold"):
            with self.subTest(how=how):
                answer = self.service.execute(code, "python", pool=how, files=files,
                                              artifacts=["out/**/*.bin", "out/*.txt", "*.none"])
                self.assertTrue(answer["success"], answer)
                got = {a["path"]: base64.b64decode(a["content"]) for a in answer["artifacts"]}
                self.assertEqual(got, {"out/deep/b.bin": binary[::-1],
                                       "out/w.txt": "h\u00e9lloa\u0000b".encode()})

    def test_files_for_a_compiled_language(self):
        files = [{"path": "inc/deep/answer.h", "content": "#define ANSWER 42\n"}]
        answer = self.service.execute('#include "inc/deep/answer.h"\n#include <stdio.h>\n'
                                      'int main(void) { FILE *f = fopen("o.txt", "w");'
                                      ' fprintf(f, "%d", ANSWER); return fclose(f); }', "c",
                                      pool="cold", files=files, artifacts=["*.txt"])
        self.assertEqual([(a["path"], base64.b64decode(a["content"])) for a in answer["artifacts"]],
                         [("o.txt", b"42")], answer)

    def test_symlinks_are_never_followed(self):
        code = ("import os\nos.symlink('/etc/passwd', 'a.txt')\nos.symlink('/etc', 'd')\n"
                "os.symlink('/proc/self/environ', 'e.txt')\nos.mkfifo('f.txt')\n"
                "os.mkdir('real')\nopen('real/g.txt', 'w').write('g')\nos.symlink('real', 'l')\n"
                "os.link('real/g.txt', 'h.txt')\n")
        answer = self.service.execute(code, "python", pool="zygote",
                                      artifacts=["**", "d/passwd", "l/g.txt", "*.txt"], timeout=20)
        self.assertTrue(answer["success"], answer)
        got = {a["path"]: base64.b64decode(a["content"])
               for a in answer["artifacts"] if "content" in a}
        got.pop("main.py", None)
        self.assertEqual(got, {"real/g.txt": b"g", "h.txt": b"g"}, answer)

    def test_artifacts_are_bounded(self):
        code = ("for i in range(100): open('f%03d.txt' % i, 'w').write('x')\n"
                "d = 'n'\nimport os\nfor i in range(60):\n    os.mkdir(d); d += '/n'\n")
        answer = self.service.execute(code, "python", pool="zygote", artifacts=["**"], timeout=20)
        whole = [a for a in answer["artifacts"] if "content" in a]
        errors = [a["error"] for a in answer["artifacts"] if "error" in a]
        self.assertLessEqual(len(whole), 64)
        self.assertTrue(any("64 files" in e for e in errors), errors)
        answer = self.service.execute("open('big.bin', 'wb').write(b'x' * (9 << 20))", "python",
                                      pool="zygote", artifacts=["*.bin"], timeout=20)
        self.assertEqual([(a["path"], "content" in a) for a in answer["artifacts"]],
                         [("big.bin", False)], answer)
        self.assertIn("8 MiB", answer["artifacts"][0]["error"])
        again = self.service.execute("print('still there')", "python", pool="zygote")
        self.assertEqual(again["stdout"], "still there\n")

    def test_paths_that_lead_out_are_refused(self):
        for path in ("/etc/x", "../x", "a/../../x", "a//b", "a/", "./x", "a/./b", "x" * 300):
            with self.subTest(path=path[:20]):
                answer = self.service.request(
                    "POST", "/execute", {"code": "print(1)", "language": "python",
                                         "files": [{"path": path, "content": "x"}]})
                self.assertEqual(answer.status, 422, answer)
                self.assertIn("files[0].path", answer.body.decode())

    # ---- figures ----

    def test_an_open_figure_is_an_artifact(self):
        code = ("import matplotlib\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\n"
                "plt.figure()\nplt.title('two')\nprint('drawn')\n")
        for how in ("zygote", "spare"):
            with self.subTest(how=how):
                answer = started(self.service, how, code, "python", artifacts=["*.png"], timeout=60)
                self.assertEqual((answer["stdout"], answer["exit_code"]), ("drawn\n", 0), answer)
                got = {a["path"]: base64.b64decode(a["content"]) for a in answer["artifacts"]}
                self.assertEqual(sorted(got), ["figure-1.png", "figure-2.png"], answer["stderr"])
                for png in got.values():
                    self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")

    def test_a_closed_figure_is_not(self):
        code = "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.close('all')\n"
        answer = started(self.service, "zygote", code, "python", artifacts=["*"], timeout=60)
        self.assertEqual([a["path"] for a in answer["artifacts"]], ["main.py"], answer)


if __name__ == "__main__":
    unittest.main()
