# What a program prints goes out as it is printed, also where that is no terminal.
package PaddockLive;

sub import {
    $| = 1;
    shift @INC;    # -I
    delete $INC{"PaddockLive.pm"};
    delete $main::{"PaddockLive::"};
}

1;
