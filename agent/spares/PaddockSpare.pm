# Keeps a Perl interpreter waiting for its program: perl opens its script, then
# uses this module (-M), and reads the script when this is done. So its file must
# be there, an empty line, when perl starts. No other module is loaded on the way.
package PaddockSpare;

sub import {
    open(my $ready, ">&=", 4) or exit 1;
    open(my $go, "<&=", 3) or exit 1;
    syswrite($ready, "R");
    close($ready);
    my ($count, @rest) = split(/\0/, do { local $/; <$go> }, -1);
    close($go);
    pop @rest;
    push @ARGV, splice(@rest, 0, $count);
    delete $ENV{PADDOCK_SPARE};
    for (@rest) {
        my ($name, $value) = split(/=/, $_, 2);
        $ENV{$name} = $value;
    }
    shift @INC;    # -I
    delete $INC{"PaddockSpare.pm"};
    delete $main::{"PaddockSpare::"};
    $^T = time;
    $| = 1;    # as PaddockLive does
}

1;
