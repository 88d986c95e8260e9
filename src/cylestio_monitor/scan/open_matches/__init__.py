"""The matches that a text which still arrives may hold: where the earliest one begins that is not complete yet."""

from cylestio_monitor.scan.open_matches.automaton import RuleAutomaton, automaton_of
from cylestio_monitor.scan.open_matches.tracker import OpenMatches

__all__ = ["OpenMatches", "RuleAutomaton", "automaton_of"]
