# tries: the classic fork bomb of the shell
# ends: timed_out exited signaled memory_exceeded
# silent: yes
# timeout: 3
# control: storm
bomb() { bomb | bomb & }
bomb 2>/dev/null
sleep 2
