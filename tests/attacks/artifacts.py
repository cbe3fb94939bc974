# tries: files of the image and the host as artifacts, by links, pipes and races
# artifacts: **
# secret: root:x:0
# control: follow
if os.path.exists("main.py"):
    os.unlink("main.py")  # which tells of the secret itself
for name, target in (("link.txt", "/etc/passwd"), ("folder", "/etc"), ("self.txt", "/proc/self/environ"),
                     ("root", "/"), ("up.txt", "../etc/passwd"), ("chain.txt", "link.txt")):
    os.symlink(target, name)
try:
    os.link("/etc/passwd", "hard.txt")
except OSError:
    pass
os.mkfifo("pipe.txt")
os.mkdir("swap")
for _ in range(100):
    os.rename("swap", "swapped")
    os.symlink("/etc", "swap")
    os.unlink("swap")
    os.rename("swapped", "swap")
os.symlink("/etc/passwd", "swap/inner.txt")
for name in ("a" * 255, "line\nbreak", "\x1b[31mred", "..hidden", "-rf"):
    with open(name, "w") as file:
        file.write("mine")
for depth in range(1, 60):
    os.mkdir("d")
    os.chdir("d")
if os.fork() == 0:
    os.setsid()
    os.chdir("/workspace")
    while True:  # until it is killed: a race with whoever reads
        try:
            os.symlink("/etc/passwd", "race.new")
            os.rename("race.new", "race.txt")
            with open("race.new", "w") as file:
                file.write("mine")
            os.rename("race.new", "race.txt")
        except OSError:
            pass
import time
time.sleep(0.1)
held("the caller looks at what came")
