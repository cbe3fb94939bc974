# tries: to be the last that dies when memory runs out, instead of the first
# control: --oom-score-adj 0
def score(pid):
    with open("/proc/%s/oom_score_adj" % pid) as file:
        return int(file.read())


if score("self") != 1000:
    broken("oom_score_adj is %d" % score("self"))
for value in ("-1000", "0", "400"):
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(value)
    except OSError:
        pass
if score("self") < score(1):
    broken("oom_score_adj was lowered to %d" % score("self"))
verdict("at %d, the first process at %d" % (score("self"), score(1)))
