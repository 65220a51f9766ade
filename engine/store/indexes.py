"""Which indexes hold every record of their type.

Hides: that a file may gain an index, or a unique key, after its records were written. Every write fills all indexes
that its record type declares; an index that was declared later is not searched, and a unique key that was declared
later is not relied on, until `fill` has visited the older records.
"""
