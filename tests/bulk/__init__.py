"""A run over many rows is killed again and again; afterwards everything is counted.

python -m tests.bulk --rows 100000 --kills 20

gateway     a bank that is fast, knows keys, and notes when it was called
command     the run, its deaths, and what must be true afterwards
"""
