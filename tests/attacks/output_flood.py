# tries: a hundred megabytes of output
# ends: output_exceeded exited
# silent: yes
# timeout: 20
# control: --memory 256m
line = b"y" * 1023 + b"\n"
for _ in range(100):
    os.write(1, line * 32)
    for _ in range(31):
        os.write(1, line * 32)
broken("all of it arrived")
