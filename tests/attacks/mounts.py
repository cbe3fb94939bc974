# tries: mounting, unmounting, another root, the new mount calls
# control: --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined
os.makedirs("/tmp/m", exist_ok=True)
if call("mount", b"none", b"/tmp/m", b"tmpfs", 0, None) >= 0:
    broken("a tmpfs was mounted")
if call("mount", b"/etc", b"/tmp/m", None, 4096, None) >= 0:
    broken("a folder was bound")
if call("mount", None, b"/", None, 32 | 4096, None) >= 0:
    broken("the root was remounted writable")
for path in (b"/proc", b"/sys", b"/dev", b"/workspace", b"/tmp", b"/tmp/m"):
    if call("umount2", path, 2) >= 0:
        broken("%s was unmounted" % path.decode())
if call("pivot_root", b"/tmp", b"/tmp/m") >= 0:
    broken("pivot_root")
if call("chroot", b"/tmp") >= 0:
    broken("chroot")
for name, args in (("fsopen", (b"tmpfs", 0)), ("open_tree", (-100, b"/", 1))):
    if call(name, *args) >= 0:
        broken(name)
verdict()
