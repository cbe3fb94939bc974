# tries: writing core_pattern, sysrq, release_agent and sysctls; reading kcore
# control: --security-opt systempaths=unconfined
paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger",
         "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname", "/proc/sys/fs/binfmt_misc/register",
         "/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state",
         "/proc/1/oom_score_adj", "/proc/self/uid_map", "/proc/self/setgroups"]
for folder, _, files in os.walk("/sys/fs/cgroup"):
    paths += [os.path.join(folder, name) for name in files
              if name in ("release_agent", "cgroup.procs", "memory.max", "memory.limit_in_bytes", "devices.allow")]
for path in paths:
    try:
        os.close(os.open(path, os.O_WRONLY))
        if path.startswith("/proc/self/"):
            continue  # opening is no harm: writing is refused once the map is set
        broken("%s is writable" % path)
    except OSError:
        pass
for path in ("/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware/dmi/tables/DMI"):
    try:
        with open(path, "rb") as file:
            if file.read(1):
                broken("%s tells of the host" % path)
    except OSError:
        pass
verdict()
