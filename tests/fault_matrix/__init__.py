"""Everything that can go wrong with one exchange, for every kind of request, and what must be known of it afterwards.

The parts:

    places     where on this machine the gateway is, and where it is not
    rows       the table: what happens, and what it may be taken for
    bank       a host with three request types, and one case of the table carried out on it
    memory     what a hostile answer costs
"""
