# tries: to be the last that dies when memory runs out, instead of the first
# control: --oom-score-adj 0
def score():
    with open("/proc/self/oom_score_adj") as file:
        return int(file.read())


def is_in_cell():
    with open("/proc/self/uid_map") as file:
        return file.read().split()[2] == "1"


if score() != 1000:
    broken("oom_score_adj is %d" % score())
for value in ("-1000", "0", "400", "999") if is_in_cell() else ():
    # Without a cell the file is the program's own, and the floor the engine's.
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(value)
    except OSError:
        pass
    if score() != 1000:
        broken("oom_score_adj was lowered to %d" % score())
verdict("at %d" % score())
