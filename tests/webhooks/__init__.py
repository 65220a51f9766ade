"""A storm of webhooks: what is sent, what must be left of it, and who receives it.

The parts:

    events      the events of a mill, what its files make of them, and what must be there at the end
    deliveries  how they arrive: doubled, shuffled, forged and stale
    failing     a store that fails as often as an event wants
    receiver    a process that receives them, until it is killed
"""
