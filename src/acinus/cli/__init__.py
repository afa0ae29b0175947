"""The command line: parse, call one function, show; faults become sentences.

Enters: the words after ``acinus``. Leaves: results on standard output, progress
and faults on standard error, and an exit status. Each command is one thin file;
nothing heavy is loaded before a command needs it, so that ``--help`` answers at
once. Cyclopts' own error panels were rejected: a fault is one sentence that can
be read in a log.
"""

from acinus.cli.entry import main

__all__ = ["main"]
