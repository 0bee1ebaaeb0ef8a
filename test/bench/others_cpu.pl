#!/usr/bin/perl
# CPU time that processes other than ours have used so far, and the wall clock,
# both in seconds: others_cpu.pl pid...
#
# Ours are the given processes and their descendants; kernel threads are
# not counted.  The time of a process that has ended is in its parent's account
# of children, so the sum over all processes loses nothing.
use strict;
use warnings;
use POSIX ();
use Time::HiRes ();

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my %ours = map { $_ => 1 } @ARGV;
my (%parent, %used);

for my $path (glob '/proc/[0-9]*/stat')
{
	open(my $in, '<', $path) or next;
	my $line = <$in> // next;
	# pid (name) state ppid ..., where the name may hold anything
	my ($pid, $rest) = $line =~ /^(\d+) \(.*\) \S (.*)/s or next;
	my @field = split ' ', $rest;
	$parent{$pid} = $field[0];
	# user and system time, of the process and of its ended children
	$used{$pid} = $field[10] + $field[11] + $field[12] + $field[13];
}

sub root_is_ours
{
	my ($pid) = @_;
	while ($pid and not $ours{$pid})
	{
		$pid = $parent{$pid};
	}
	return $pid;
}

my $sum = 0;
for my $pid (keys %used)
{
	next if $pid == 2 or $parent{$pid} == 2 or root_is_ours($pid);
	$sum += $used{$pid};
}
printf "%.2f %.3f\n", $sum / $ticks, Time::HiRes::time();
