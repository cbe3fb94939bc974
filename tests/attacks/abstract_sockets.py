# tries: reaching sockets of the agent, of spares and of other runs
# control: exec
# steps: listen reach
import socket, time
NAME = "\0paddock-attack"
if STEP == "listen":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            server = socket.socket(socket.AF_UNIX)
            server.bind(NAME)
            server.listen()
            for fd in range(3):
                os.close(fd)
            time.sleep(60)
        os._exit(0)
    os.wait()
    time.sleep(0.1)
    held("planted")
else:
    try:
        with open("/proc/net/unix") as file:
            for line in file.read().splitlines()[1:]:
                path = line.split()[7:]
                if path:
                    broken("a socket: %s" % path[0])
    except OSError:
        pass
    try:
        s = socket.socket(socket.AF_UNIX)
        s.connect(NAME)
        broken("an earlier run answers")
    except OSError:
        pass
    verdict()
