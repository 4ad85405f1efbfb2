# An app under load: writes numbered lines as long as it lives, and its last number when it is told to end.
# Perl, since it is in every Debian and starts fast where all is emulated.
use strict;
$| = 1;
my $number = 0;
my $ended = 0;
$SIG{TERM} = sub { $ended = 1 };
until ($ended) {
    print "line ", $number++, "\n" for 1 .. 5;
    select undef, undef, undef, $ENV{PAUSE};
}
print "end $number\n";
