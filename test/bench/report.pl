#!/usr/bin/perl
# The table of a benchmark run: report.pl results commands
#
# results:  name|what|unit|bar|figure|against|ratio|least|greatest|verdict
# commands: name|side|text
use strict;
use warnings;

sub records
{
	my ($path, $fields) = @_;
	open(my $in, '<', $path) or die "$path: $!";
	return map { chomp; [ split /\|/, $_, $fields ] } <$in>;
}

# 1234567.8 -> 1,234,568; small figures keep three digits
sub figure
{
	my ($n) = @_;
	return $n if $n !~ /^[\d.]+$/;
	return sprintf('%.3g', $n) if $n < 100 and $n != int($n);
	my $s = sprintf('%.0f', $n);
	1 while $s =~ s/^(\d+)(\d{3})/$1,$2/;
	return $s;
}

sub print_table
{
	my @rows = @_;
	my @width;
	for my $row (@rows)
	{
		for my $i (0 .. $#$row)
		{
			my $length = length $row->[$i];
			$width[$i] = $length if $length > ($width[$i] // 0);
		}
	}
	splice @rows, 1, 0, [ map { '-' x $_ } @width ];
	for my $row (@rows)
	{
		print '| ', join(' | ', map { sprintf "%-$width[$_]s", $row->[$_] } 0 .. $#width), " |\n";
	}
}

my ($results, $commands) = @ARGV;
my @table = (
	[ 'row', 'what : against what', 'figure', 'against', 'unit', 'median', 'min .. max', 'bar', '' ]
);
my %count;

for (records($results, 10))
{
	my ($name, $what, $unit, $bar, $a, $b, $median, $least, $greatest, $verdict) = @$_;
	my $absolute = $b eq '-';
	my $form = $absolute ? '%.4g' : '%.2f';
	push @table,
	  [
		$name, $what, figure($a), figure($b), $unit,
		sprintf($form, $median),
		sprintf("$form .. $form", $least, $greatest),
		$bar, $verdict
	  ];
	$count{$verdict}++;
}

print_table(@table);
printf "\n%d bars met, %d missed\n", $count{PASS} // 0, $count{MISS} // 0;
print "\nCommands (figure: queue, against: heap)\n";
printf "%-20s %-6s %s\n", @$_ for records($commands, 3);
