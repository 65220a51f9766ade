"""What the engine costs, beside others doing the same work: `python -m tests.benchmarks`.

    contests     who is compared with whom, and how it is measured
    gateway      the server on this machine that all of them call
    payment      the work: one payment, its request and its answer, also written by hand
    by_hand      the whole send, written by hand
    demanded     the same with all that is demanded of the engine's
    building     check, render and encode one request
    mapping      one answer to validated records
    sending      one full send, beside clients that only send
    threads      many sends in flight at once
    receiving    webhooks
    storing      what a store writes and finds
    growing      what a call costs where there are many files, or many calls before it
    remembering  memory
    working      queued calls, sent by workers
    waiting      what a backlog of them costs
    starting     a process from nothing to its first use
    paging       the console's pages over a long journal
    profile      of what a send and a webhook are made
    timers       how that is measured
    table        what is printed

This is no test: it judges nothing but prints a mark beside each goal.
"""
