#!/usr/bin/env perl
#
# Check the layers of src/: run by "make check-layers", after the build.
#
#   check_layers.pl SRC OBJECT...
#
# SRC is the folder of the sources, each OBJECT lies in the folder of its source.
# Fails, and names the place, if
#
#   - a file includes a header of a folder above its own,
#   - a file calls a function, or uses a variable, of a folder above its own,
#   - files call each other in a circle.
#
# What an object defines and uses is read by nm.

use strict;
use warnings;

# From the bottom up. Files outside of a folder lie above all.
my @layers = qw(base log wait topic producer group cleanup api);
my %rank;
@rank{@layers} = (0 .. $#layers);

my ($src, @objects) = @ARGV;
my @faults;

sub rank_of
{
	my ($path) = @_;
	my ($folder) = $path =~ m{(?:^|/)([^/]+)/[^/]+$};
	return @layers unless defined $folder && $folder ne 'src';
	die "folder \"$folder\" is not one of the layers: @layers\n"
	  unless exists $rank{$folder};
	return $rank{$folder};
}

# src/base/lock.o, from wherever it was built: base/lock
sub short
{
	my ($path) = @_;
	$path =~ s{^(?:.*/)?src/}{};
	$path =~ s{\.[a-z]+$}{};
	return $path;
}

sub check_includes
{
	for my $file (glob("$src/*.[ch] $src/*/*.[ch]"))
	{
		open my $in, '<', $file or die "$file: $!\n";
		while (<$in>)
		{
			next unless m{^\s*#\s*include\s+"([^"/]+)/([^"]+)"};
			next unless -e "$src/$1/$2";
			push @faults, "$file:$.: includes $1/$2, which lies above"
			  if rank_of("$1/$2") > rank_of($file);
		}
		close $in;
	}
	return;
}

# name of a symbol => the file that defines it; file => names that it uses
sub read_objects
{
	my (%defined_in, %used_by);

	for my $object (@objects)
	{
		open my $nm, '-|', 'nm', $object or die "nm: $!\n";
		while (<$nm>)
		{
			my ($kind, $name) = /([A-Za-z]) (\S+)$/ or next;
			if ($kind eq 'U')
			{
				push @{ $used_by{ short($object) } }, $name;
			}
			elsif ($kind =~ /^[A-Z]$/)
			{
				$defined_in{$name} = short($object);
			}
		}
		close $nm or die "nm failed for $object\n";
	}
	return (\%defined_in, \%used_by);
}

sub check_uses
{
	my ($defined_in, $used_by) = read_objects();
	my %calls;

	for my $file (sort keys %$used_by)
	{
		for my $name (@{ $used_by->{$file} })
		{
			my $other = $defined_in->{$name};
			next if !defined $other || $other eq $file;
			$calls{$file}{$other} = $name;
			push @faults, "$file uses $name of $other, which lies above"
			  if rank_of("src/$other.c") > rank_of("src/$file.c");
		}
	}
	return \%calls;
}

# Depth first; a file that is met again on the way to itself closes a circle.
sub check_circles
{
	my ($calls) = @_;
	my %state;
	my @way;
	my $visit;

	$visit = sub {
		my ($file) = @_;
		return if ($state{$file} // '') eq 'done';
		if (($state{$file} // '') eq 'open')
		{
			my @circle = @way;
			shift @circle while $circle[0] ne $file;
			push @faults, 'a circle: ' . join(' -> ', @circle, $file) . ' ('
			  . join(', ',
				map { $calls->{ $circle[$_] }{ $circle[$_ + 1] // $file } }
				  0 .. $#circle)
			  . ')';
			return;
		}
		$state{$file} = 'open';
		push @way, $file;
		$visit->($_) for sort keys %{ $calls->{$file} };
		pop @way;
		$state{$file} = 'done';
	};
	$visit->($_) for sort keys %$calls;
	return;
}

die "no objects given\n" unless @objects;
check_includes();
check_circles(check_uses());
print "$_\n" for @faults;
exit(@faults ? 1 : 0);
