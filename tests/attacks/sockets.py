# tries: sockets of every family, DNS, the metadata services of clouds
# control: --network host --security-opt seccomp=unconfined
import socket
for family in range(46):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, kind).close()
        except OSError:
            continue
        if family != socket.AF_UNIX:
            broken("a socket of family %d" % family)
            break
for address in ("169.254.169.254", "169.254.170.2", "127.0.0.1", "10.0.0.1"):
    try:
        s = socket.socket()
        s.settimeout(0.2)
        s.connect((address, 80))
        broken("connected to %s" % address)
    except socket.timeout:
        broken("%s was tried" % address)
    except OSError:
        pass
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", ("127.0.0.1", 53))
    broken("a DNS query was sent")
except OSError:
    pass
for name in os.listdir("/sys/class/net") if os.path.isdir("/sys/class/net") else []:
    if name != "lo":
        broken("a network interface: %s" % name)
verdict()
