# What a program prints goes out as it is printed, also where that is no terminal.
$stdout.sync = true
