"""Processes are killed and frozen while they move money; afterwards everything is counted.

python -m tests.chaos --kills 250 --store sqlite

files       the host under test: a bank's requests, mappers and records
gateway     the bank: executes, remembers keys as Stripe does, and fails in eight ways
clock       one time for all processes, which a night moves on
points      the named moments at which a process dies or freezes
host        an engine put together from these
orders      what is to be done, and the book of what callers were told
children    what one process does: send, work, or be careless
running     starts, kills, freezes and wakes children, then lets recovery end it
counting    what must be true afterwards, at the bank and in the store
"""
