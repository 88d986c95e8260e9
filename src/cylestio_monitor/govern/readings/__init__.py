"""Readings of one argument value: the hosts, the folder and the number that a receiver of the text may see in it."""
