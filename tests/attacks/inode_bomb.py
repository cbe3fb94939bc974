# tries: a hundred thousand files
# ends: exited memory_exceeded signaled
# silent: yes
# timeout: 30
# control: --tmpfs /tmp:size=1g --memory 1g
count = 0
for folder in ("/tmp", ".", "/dev/shm", "/var/tmp"):
    try:
        while count < 100000:
            os.close(os.open("%s/inode-%d" % (folder, count), os.O_CREAT | os.O_WRONLY))
            count += 1
        break
    except OSError:
        pass
if count >= 100000:
    broken("%d files" % count)
verdict("at %d files" % count)
