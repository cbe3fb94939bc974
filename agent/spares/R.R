# Keeps R waiting for its program: R opens its script, then runs this as its site
# profile (R_PROFILE), and reads the script when this is done. So the file must be
# there, an empty line, when R starts. The default packages are attached ahead.
local({
    command <- c(commandArgs()[1], "--no-echo", "--no-restore", "--vanilla", "--file=main.R")
    .First.sys()
    library <- "/paddock/spares/pdwait.so"
    dyn.load(library)
    .C("pd_r_wait", length(command), command)
    dyn.unload(library)
})
