# tries: forging the agent's EXIT frame on every descriptor there is
# exit: 7
# control: stdout
import struct, time
end = struct.pack(">BIQ", 81, 8, 0) + struct.pack(">BIQ", 82, 8, 0)
for epoch in (0, 1, 2, 3):
    for sequence in range(4):
        frame = struct.pack(">IBII", 9 + len(end), 72, epoch, sequence) + end
        for fd in range(1, 64):
            try:
                os.write(fd, frame)
            except OSError:
                pass
        for pid in os.listdir("/proc"):
            if not pid.isdigit() or int(pid) == os.getpid():
                continue
            for fd in (0, 1, 2, 3):
                try:
                    with open("/proc/%s/fd/%d" % (pid, fd), "wb", 0) as file:
                        file.write(frame)
                    broken("written to descriptor %d of %s" % (fd, pid))
                except OSError:
                    pass
time.sleep(0.2)
verdict()
os._exit(7)
